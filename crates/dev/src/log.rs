//! What happens in the Worker, as lines for a person: requests, console lines, errors.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use skep_observe::{EventRecord, Exception, Level, LogLine, Observer, Source, Trigger};
use skep_worker::Outcome;

use crate::printer::Printer;

/// Prints console lines and errors as they come.
pub(crate) struct TerminalObserver {
    pub(crate) printer: Printer,
}

impl Observer for TerminalObserver {
    fn log(&self, _: &Source, line: LogLine) {
        match line.level {
            Level::Debug | Level::Info | Level::Log => self.printer.line(&line.message),
            Level::Warn => {
                self.printer.error_line(&format!("{} {}", self.printer.paint("33;1", "▲ [WARNING]"), line.message))
            }
            Level::Error => {
                self.printer.error_line(&format!("{} {}", self.printer.paint("31;1", "✘ [ERROR]"), line.message))
            }
        }
    }

    fn exception(&self, _: &Source, exception: Exception) {
        let Exception { name, message, stack, .. } = exception;
        let head = if message.starts_with("Uncaught") { message } else { format!("{name}: {message}") };
        // A stack begins with the same words.
        let text = if stack.starts_with(&head) {
            stack
        } else if stack.is_empty() {
            head
        } else {
            format!("{head}\n{stack}")
        };
        self.printer.error_line(&format!("{} {text}", self.printer.paint("31;1", "✘ [ERROR]")));
    }

    fn finished(&self, _: &Source, record: EventRecord) {
        if let Trigger::Scheduled { cron, .. } = &record.trigger {
            let outcome = if record.outcome == Outcome::Ok { "ok" } else { "failed" };
            let time = milliseconds(record.wall);
            self.printer.line(&format!("scheduled {cron} {outcome} ({time}ms)"));
        }
    }
}

/// Prints one line for each request.
#[derive(Clone)]
pub(crate) struct RequestLog {
    printer: Arc<Printer>,
}

impl RequestLog {
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer: Arc::new(printer) }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &str, path: &str, status: StatusCode, time: Duration) {
        let mut line = String::with_capacity(48 + path.len());
        let reason = status.canonical_reason().unwrap_or_default();
        if self.printer.colors() {
            let color = match status.as_u16() {
                0..300 => "32",
                300..400 => "36",
                400..500 => "33",
                _ => "31",
            };
            // Writing to a string cannot fail.
            let _ = write!(
                line,
                "[skep] {method} {path} \u{1b}[{color}m{} {reason}\u{1b}[0m ({}ms)",
                status.as_u16(),
                milliseconds(time)
            );
        } else {
            let _ = write!(line, "[skep] {method} {path} {} {reason} ({}ms)", status.as_u16(), milliseconds(time));
        }
        self.printer.line(&line);
    }

    /// The client went away first.
    pub(crate) fn canceled(&self, method: &str, path: &str, time: Duration) {
        self.printer.line(&format!("[skep] {method} {path} canceled by the client ({}ms)", milliseconds(time)));
    }
}

fn milliseconds(duration: Duration) -> u128 {
    duration.as_micros().div_ceil(1000)
}
