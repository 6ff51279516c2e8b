//! Usage records.

use std::ops::{AddAssign, Sub};

use serde::{Deserialize, Serialize};
use skep_worker::Outcome;
use uuid::Uuid;

use crate::Latency;

/// What was used for. Which of them cost something, a plan says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A request that a Worker's code answered. A WebSocket is one.
    Fetch,
    /// A request that a static asset answered.
    Asset,
    /// A call from another Worker.
    Service,
    /// A cron trigger.
    Scheduled,
    /// A batch of queue messages.
    Queue,
    /// Events of other Workers.
    Tail,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Fetch, Self::Asset, Self::Service, Self::Scheduled, Self::Queue, Self::Tail];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Asset => "asset",
            Self::Service => "service",
            Self::Scheduled => "scheduled",
            Self::Queue => "queue",
            Self::Tail => "tail",
        }
    }
}

/// What some events used together. Every field only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Events.
    pub requests: u64,
    /// CPU time of isolates in microseconds.
    pub cpu_us: u64,
    /// From the beginning of each event to its end, in microseconds.
    pub wall_us: u64,
    /// The same in milliseconds, each event rounded up, as Lambda bills it.
    pub wall_ms: u64,
    /// The same in units of 100 milliseconds, each event rounded up, as Cloud Functions bill it.
    pub wall_100ms: u64,
    /// Bytes of bodies that came.
    pub bytes_in: u64,
    /// Bytes of bodies that went.
    pub bytes_out: u64,
    /// Requests that events made.
    pub subrequests: u64,
    /// Isolates that had to be started for an event.
    pub cold_starts: u64,
}

impl Usage {
    /// Whether nothing was used.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn with(self, other: Self, both: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            requests: both(self.requests, other.requests),
            cpu_us: both(self.cpu_us, other.cpu_us),
            wall_us: both(self.wall_us, other.wall_us),
            wall_ms: both(self.wall_ms, other.wall_ms),
            wall_100ms: both(self.wall_100ms, other.wall_100ms),
            bytes_in: both(self.bytes_in, other.bytes_in),
            bytes_out: both(self.bytes_out, other.bytes_out),
            subrequests: both(self.subrequests, other.subrequests),
            cold_starts: both(self.cold_starts, other.cold_starts),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = self.with(other, u64::saturating_add);
    }
}

impl Sub for Usage {
    type Output = Self;

    /// What has come since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }
}

/// What one version used for one kind of event that ended one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The account's id.
    pub account: String,
    /// The Worker's name.
    pub worker: String,
    /// The version.
    pub version: Uuid,
    /// What for.
    pub kind: Kind,
    /// How these events ended.
    pub outcome: Outcome,
    /// What they used.
    pub usage: Usage,
}

/// What a process counted since its batch before. The same `process` and `number` always mean the same batch, however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The process: no other one ever has the same.
    pub process: Uuid,
    /// Its number: 1, 2, 3, …
    pub number: u64,
    /// What was counted.
    pub entries: Vec<Entry>,
}

/// A batch, and what is told beside it and not billed: it crosses between processes, and is not written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// What is billed.
    pub batch: Batch,
    /// How long the events of each of its entries took, in the same order. Nothing if that was told before.
    pub latencies: Vec<Latency>,
    /// How long ago it was counted, in milliseconds, when it is told: it is billed to that moment.
    pub age_ms: u64,
}
