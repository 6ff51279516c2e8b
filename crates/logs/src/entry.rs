//! Entries: what is kept of an event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skep_worker::{Event, Outcome};

/// How loud a console line is, from the quietest. <https://console.spec.whatwg.org/#loglevel-severity>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// One event that is over, and what it logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The account's id.
    pub account: Arc<str>,
    /// The Worker's name.
    pub worker: Arc<str>,
    /// The version's id.
    pub version: Arc<str>,
    /// The request's ray id, or nothing.
    pub ray: String,
    /// When it began, in milliseconds since 1970. It need not be in order.
    pub at: i64,
    /// What the Worker was called for.
    pub kind: Event,
    /// The request's method.
    pub method: Option<String>,
    /// What it was about: a request's URL, a cron expression, a queue's name, a method that was called.
    pub what: Option<String>,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// The loudest console line. `None` if there is none.
    pub level: Option<Level>,
    /// CPU time in microseconds.
    pub cpu_us: u64,
    /// Time from the beginning to the end in microseconds.
    pub wall_us: u64,
    /// Whether an isolate was started for it.
    pub cold: bool,
    /// How many events it stands for: 1, or more when not every event is kept.
    pub interval: u32,
    /// The event as JSON text, as `wrangler tail` shows it. It comes back byte for byte.
    /// <https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/#traceitem>
    pub event: String,
}

impl Entry {
    /// About how many bytes it takes in memory and before it is compressed.
    pub(crate) fn size(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + self.version.len()
            + self.ray.len()
            + optional(&self.method)
            + optional(&self.what)
            + self.event.len()
    }
}
