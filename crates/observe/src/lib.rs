//! What is seen of a Worker: console lines and exceptions as they happen, and one record for each event when it is over.
//!
//! An isolate tells an [`Observer`]; who that is (a terminal, a log store, a live tail) is not its business. Calls come
//! from the isolate's thread, so an observer must not block.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use skep_worker::{Event, LimitExceeded, Outcome};

/// How loud a console line is. <https://console.spec.whatwg.org/#loglevel-severity>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// `console.debug()`
    Debug,
    /// `console.info()`
    Info,
    /// `console.log()` and what belongs to it
    Log,
    /// `console.warn()`
    Warn,
    /// `console.error()` and failed assertions
    Error,
}

/// Which run of which Worker something belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The Worker's name.
    pub worker: Arc<str>,
    /// The version's id.
    pub version: Arc<str>,
    /// The event's number within its isolate, 0 at the top level of the modules.
    pub event: u32,
}

/// One line of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How loud.
    pub level: Level,
    /// The arguments, formatted.
    pub message: String,
    /// When.
    pub timestamp: SystemTime,
}

/// An error that the Worker did not catch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The error's class.
    pub name: String,
    /// Its message.
    pub message: String,
    /// Its stack, mapped to the author's sources, first line included. Empty if there is none.
    pub stack: String,
    /// The limit behind it, if it was one.
    pub limit: Option<LimitExceeded>,
    /// When.
    pub timestamp: SystemTime,
}

/// What an event was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// An HTTP request.
    Fetch {
        /// Its method.
        method: http::Method,
        /// Its URL.
        url: http::Uri,
        /// The status of the answer, if there was one.
        status: Option<u16>,
    },
    /// A cron trigger.
    Scheduled {
        /// The cron expression.
        cron: String,
        /// The time it was due, in milliseconds since 1970.
        scheduled_time: i64,
    },
    /// A batch of queue messages.
    Queue {
        /// The queue's name.
        queue: String,
    },
    /// Events of other Workers.
    Tail,
    /// A call from another Worker, and the calls that follow in its session.
    Rpc {
        /// The first method that was called.
        method: String,
    },
}

impl Trigger {
    /// The kind of event.
    pub const fn event(&self) -> Event {
        match self {
            Self::Fetch { .. } => Event::Fetch,
            Self::Scheduled { .. } => Event::Scheduled,
            Self::Queue { .. } => Event::Queue,
            Self::Tail => Event::Tail,
            Self::Rpc { .. } => Event::Rpc,
        }
    }
}

/// One event that is over: the response is sent completely and every `waitUntil()` promise is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// What it was about.
    pub trigger: Trigger,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub started: SystemTime,
    /// From its beginning to its end.
    pub wall: Duration,
    /// CPU time of the isolate's thread that was spent on it.
    pub cpu: Duration,
    /// Subrequests it made.
    pub subrequests: u32,
}

/// Sees what happens in isolates. Methods are called on the isolate's thread and must not block.
pub trait Observer: Send + Sync {
    /// A line was printed.
    fn log(&self, source: &Source, line: LogLine);
    /// An error was not caught.
    fn exception(&self, source: &Source, exception: Exception);
    /// An event is over.
    fn finished(&self, source: &Source, record: EventRecord);
}

/// Looks away: for where nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn log(&self, _: &Source, _: LogLine) {}
    fn exception(&self, _: &Source, _: Exception) {}
    fn finished(&self, _: &Source, _: EventRecord) {}
}
