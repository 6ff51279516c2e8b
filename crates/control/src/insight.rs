//! What the control plane is told of how Workers do, by those who see them run.

use std::time::Duration;

use serde::Serialize;
use skep_store::Timestamp;

/// What Workers of an account did lately.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Analytics {
    /// How long each step is, in seconds.
    pub step: u32,
    /// When the first step begins, in milliseconds since 1970.
    pub since: Timestamp,
    /// Every step from then on, those in which nothing happened too.
    pub series: Vec<Moment>,
    /// The Workers that did something, the busiest first.
    pub workers: Vec<Doing>,
}

/// What happened in one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Moment {
    /// When it begins, in milliseconds since 1970.
    pub at: Timestamp,
    /// Events that ended in it.
    pub requests: u64,
    /// Those of them that failed: by their outcome, or with a status of 500 or more.
    pub errors: u64,
    /// CPU time that they used, in microseconds.
    pub cpu_us: u64,
    /// Isolates that had to be started.
    pub cold_starts: u64,
    /// Bytes of bodies that went.
    pub bytes_out: u64,
    /// What half of the events did not exceed, in milliseconds from beginning to end. Nothing if there were none.
    pub p50_ms: Option<f64>,
    /// The same of 90 %.
    pub p90_ms: Option<f64>,
    /// The same of 99 %.
    pub p99_ms: Option<f64>,
}

/// What one Worker did in the whole time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Doing {
    /// Its name.
    pub worker: String,
    /// As in [`Moment`].
    pub requests: u64,
    /// As in [`Moment`].
    pub errors: u64,
    /// As in [`Moment`].
    pub cpu_us: u64,
    /// As in [`Moment`].
    pub cold_starts: u64,
    /// As in [`Moment`].
    pub p50_ms: Option<f64>,
    /// As in [`Moment`].
    pub p99_ms: Option<f64>,
}

/// Sees how Workers do.
pub trait Insights: Send + Sync {
    /// What an account's Workers did in the time until now, or one of them. It goes back an hour at most, and is answered from memory.
    fn analytics(&self, account: &str, worker: Option<&str>, since: Duration) -> Analytics;
}
