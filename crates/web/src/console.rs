//! What the console and uncaught errors tell the host.

use std::time::{Instant, SystemTime};

use deno_core::{OpState, op2};
use skep_observe::{Exception, Level, LogLine};

use crate::Host;
use crate::events::EventId;

/// The longest console line that is kept, in bytes.
const LONGEST_LINE: usize = 256 * 1024;

/// A console line, as the numbers in `console.js` say how loud.
#[op2(fast)]
pub(crate) fn op_console(state: &OpState, #[smi] event: u32, #[smi] level: u32, #[string] message: &str) {
    let level = match level {
        0 => Level::Debug,
        1 => Level::Info,
        2 => Level::Log,
        3 => Level::Warn,
        _ => Level::Error,
    };
    let host = state.borrow::<Host>();
    let line = LogLine { level, message: shorten(message), timestamp: SystemTime::now() };
    host.observer.log(&host.source(EventId(event)), line);
}

fn shorten(message: &str) -> String {
    if message.len() <= LONGEST_LINE {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(LONGEST_LINE);
    format!("{}… ({} bytes more)", &message[..end], message.len() - end)
}

/// An error that nobody caught.
#[op2(fast)]
pub(crate) fn op_exception(
    state: &OpState,
    #[smi] event: u32,
    #[string] name: &str,
    #[string] message: &str,
    #[string] stack: &str,
) {
    let host = state.borrow::<Host>();
    let exception = Exception {
        name: name.to_owned(),
        message: shorten(message),
        stack: shorten(stack),
        limit: None,
        timestamp: SystemTime::now(),
    };
    host.observer.exception(&host.source(EventId(event)), exception);
}

/// Milliseconds on a clock that only goes forward.
#[op2(fast)]
pub(crate) fn op_skep_now() -> f64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64() * 1e3
}
