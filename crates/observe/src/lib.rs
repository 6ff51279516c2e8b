//! What is seen of a Worker: console lines and exceptions as they happen, and one record for each event when it is over.
//!
//! An isolate tells an [`Observer`]; who that is (a terminal, a log store, a live tail) is not its business. Calls come
//! from the isolate's thread, so an observer must not block. [`Tails`] is where those who watch live meet what is watched.

#![forbid(unsafe_code)]

mod context;
mod filter;
mod gathering;
mod id;
mod redact;
mod span;
mod tails;
mod trace;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use skep_worker::{Event, LimitExceeded, Outcome, Used};

pub use context::{TraceContext, TraceContextError, TraceFlags, TraceState, TraceStateError};
pub use filter::{Filter, FilterError, Filters};
pub use gathering::Gathering;
pub use id::{IdError, SpanId, TraceId};
pub use redact::url as shown_url;
pub use span::{Attribute, OpenSpan, Span, Spans, Trace, Tracing, Waited, caller};
pub use tails::{Channel, Connection, Refused, Tails, Told};

/// Text of an event's console lines and exceptions that is kept for who watches, in bytes. What comes later is left out.
/// <https://developers.cloudflare.com/workers/platform/limits/#log-size>
const MOST_TEXT: usize = 256 * 1024;
/// What a console line or an exception counts beside its text, in bytes: many empty ones have no end either.
const ENTRY: usize = 16;

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The Worker's name.
    pub worker: Arc<str>,
    /// The version's id.
    pub version: Arc<str>,
    /// The event's number within its isolate, 0 at the top level of the modules.
    pub event: u32,
}

/// One line of the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How loud.
    pub level: Level,
    /// The arguments, formatted.
    pub message: String,
    /// The arguments as a JSON list, where [`Observer::begins`] said that somebody wants them.
    pub arguments: Option<String>,
    /// When.
    pub timestamp: SystemTime,
}

/// An error that the Worker did not catch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    /// An HTTP request.
    Fetch {
        /// Its method.
        #[serde(with = "http_serde::method")]
        method: http::Method,
        /// Its URL.
        #[serde(with = "http_serde::uri")]
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
    Tail {
        /// Whose each of them was.
        workers: Vec<String>,
    },
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
            Self::Tail { .. } => Event::Tail,
            Self::Rpc { .. } => Event::Rpc,
        }
    }
}

/// One event that is over: the response is sent completely and every `waitUntil()` promise is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the response's body that were sent.
    pub bytes_out: u64,
    /// Whether another Worker began it.
    pub is_call: bool,
    /// What [`Observer::goes_on`] was told of last.
    #[serde(skip)]
    pub told: Option<Box<Used>>,
    /// What else there is to tell, where [`Observer::begins`] or [`Observer::failed`] said that somebody wants to know.
    pub details: Option<Box<Details>>,
}

/// Whether an event failed, by what its trigger says of its answer and by how it ended.
pub fn is_failure(trigger: &Trigger, outcome: Outcome) -> bool {
    matches!(trigger, Trigger::Fetch { status: Some(500..), .. }) || !matches!(outcome, Outcome::Ok | Outcome::Canceled)
}

/// Why details of an event are gathered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How many events it stands for among those that are kept: itself, and those before it that were left out. 0: it is not kept.
    pub interval: u32,
    /// The trace that it is a part of, if its Worker is traced.
    pub trace: Option<Tracing>,
    /// What of it.
    pub gather: Gather,
}

/// What is gathered of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gather {
    /// All of it.
    #[default]
    All,
    /// All of it if it fails and [`Observer::failed`] says so then.
    IfFailed,
    /// Nothing.
    Nothing,
}

/// What is kept of an event only for who watches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// [`Wanted::interval`]
    pub interval: u32,
    /// Its trace, if that is kept.
    pub trace: Option<Box<Trace>>,
    /// Whether it waited for a version to start.
    pub cold: bool,
    /// The headers of a fetch event's request.
    #[serde(with = "http_serde::header_map")]
    pub headers: HeaderMap,
    /// Its `request.cf`, as JSON.
    pub cf: Option<Arc<str>>,
    /// Its console lines.
    pub logs: Vec<LogLine>,
    /// The errors that it did not catch.
    pub exceptions: Vec<Exception>,
    /// Whether lines or errors were left out, because they were too long together.
    pub truncated: bool,
    /// Bytes that what is kept counts, [`MOST_TEXT`] at most.
    text: usize,
}

impl Details {
    /// Of a fetch event that has printed nothing yet.
    pub fn of_request(headers: HeaderMap, cf: Option<Arc<str>>) -> Self {
        Self { headers, cf, ..Self::default() }
    }

    /// Keeps a console line, if there is room.
    pub fn log(&mut self, line: &LogLine) {
        if self.has_room(line.message.len() + line.arguments.as_ref().map_or(0, String::len)) {
            self.logs.push(line.clone());
        }
    }

    /// Keeps an error, if there is room.
    pub fn exception(&mut self, exception: &Exception) {
        if self.has_room(exception.name.len() + exception.message.len() + exception.stack.len()) {
            self.exceptions.push(exception.clone());
        }
    }

    fn has_room(&mut self, text: usize) -> bool {
        let more = self.text + text + ENTRY;
        let room = more <= MOST_TEXT;
        if room {
            self.text = more;
        }
        self.truncated |= !room;
        room
    }
}

/// An event that is not over.
#[derive(Clone, Copy, Debug)]
pub struct GoesOn<'e> {
    /// What it is about.
    pub trigger: &'e Trigger,
    /// How it would end now.
    pub outcome: Outcome,
    /// Whether another Worker began it.
    pub is_call: bool,
    /// What it has used.
    pub used: Used,
    /// What it had used when this was told last.
    pub told: Option<Used>,
}

impl EventRecord {
    /// What it has used.
    pub fn used(&self) -> Used {
        let Self { wall, cpu, subrequests, bytes_in, bytes_out, .. } = *self;
        Used { wall, cpu, subrequests, bytes_in, bytes_out }
    }
}

/// Sees what happens in isolates. Methods are called on the isolate's thread and must not block.
pub trait Observer: Send + Sync {
    /// An event begins, a fetch event with a request that has `headers`. Gives why its [`Details`] are to be gathered, if they are.
    fn begins(&self, _headers: Option<&HeaderMap>) -> Option<Wanted> {
        None
    }
    /// An event failed whose details are wanted only then ([`Gather::IfFailed`]). Gives why they are, if there is room for them.
    fn failed(&self) -> Option<Wanted> {
        None
    }
    /// A line was printed.
    fn log(&self, source: &Source, line: LogLine);
    /// An error was not caught.
    fn exception(&self, source: &Source, exception: Exception);
    /// An event goes on for a second and more after its answer.
    fn goes_on(&self, _event: &GoesOn<'_>) {}
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
