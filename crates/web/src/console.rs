//! What the console and uncaught errors tell the host.

use std::time::{Instant, SystemTime};

use deno_core::{OpState, op2};
use skep_observe::{Exception, Level, LogLine};

use crate::Host;
use crate::events::{EventId, Events};

/// The longest console line that is kept, in bytes.
const LONGEST_LINE: usize = 256 * 1024;

/// Whether somebody wants the arguments of an event's console lines as values.
#[op2(fast)]
pub(crate) fn op_console_arguments_wanted(state: &OpState, #[smi] event: u32) -> bool {
    state.borrow::<Events>().has_details(event)
}

/// Every compatibility flag and whether it is on, as JSON.
#[op2]
#[string]
pub(crate) fn op_compatibility_flags(state: &OpState) -> String {
    serde_json::json!(state.borrow::<Host>().compatibility.states()).to_string()
}

/// A console line, as the numbers in `console.js` say how loud, and its arguments as a JSON list, empty where nobody wants them.
#[op2(fast)]
pub(crate) fn op_console(
    state: &mut OpState,
    #[smi] event: u32,
    #[smi] level: u32,
    #[string] message: &str,
    #[string] arguments: &str,
) {
    let level = match level {
        0 => Level::Debug,
        1 => Level::Info,
        2 => Level::Log,
        3 => Level::Warn,
        _ => Level::Error,
    };
    // Half a list is none.
    let arguments = (!arguments.is_empty() && arguments.len() <= LONGEST_LINE).then(|| arguments.to_owned());
    let line = LogLine { level, message: shorten(message), arguments, timestamp: SystemTime::now() };
    state.borrow_mut::<Events>().see_log(EventId(event), line);
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
    state: &mut OpState,
    #[smi] event: u32,
    #[string] name: &str,
    #[string] message: &str,
    #[string] stack: &str,
) {
    let exception = Exception {
        name: shorten(name),
        message: shorten(message),
        stack: shorten(stack),
        limit: None,
        timestamp: SystemTime::now(),
    };
    state.borrow_mut::<Events>().see_exception(EventId(event), exception);
}

/// Milliseconds on a clock that only goes forward.
#[op2(fast)]
pub(crate) fn op_skep_now() -> f64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64() * 1e3
}
