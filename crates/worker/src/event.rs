//! Events: what a Worker is called for.

use serde::{Deserialize, Serialize};

/// The kind of event a handler was called for.
/// <https://developers.cloudflare.com/workers/runtime-apis/handlers/>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// An HTTP request.
    Fetch,
    /// A cron trigger.
    Scheduled,
    /// A batch of queue messages.
    Queue,
    /// Events of other Workers.
    Tail,
    /// A Durable Object's alarm.
    Alarm,
    /// A call from another Worker of a method of an entrypoint.
    Rpc,
}

impl Event {
    /// The name of the handler, as the Worker exports it. A call has none: it names its method itself.
    pub const fn handler(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Scheduled => "scheduled",
            Self::Queue => "queue",
            Self::Tail => "tail",
            Self::Alarm => "alarm",
            Self::Rpc => "rpc",
        }
    }
}
