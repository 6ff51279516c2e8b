//! What the control plane is told of how the platform and its Workers do, by those who see them run.

use std::time::Duration;

use serde::Serialize;
use skep_store::{Node, Timestamp};

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

/// How the platform is, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusKind {
    /// All is well.
    #[default]
    Ok,
    /// Requests are answered, and something needs to be looked at.
    Degraded,
    /// Requests cannot be answered, or nothing can be written down.
    Down,
}

/// How the platform is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// In a word.
    pub status: StatusKind,
    /// Skep's version.
    pub version: String,
    /// When this was so.
    pub now: Timestamp,
    /// Its nodes.
    pub nodes: Vec<NodeStatus>,
    /// What was looked at.
    pub checks: Vec<CheckStatus>,
    /// What people were told of and is not over.
    pub alerts: Vec<StatusAlert>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Whether it was heard of lately.
    pub up: bool,
    /// What it said of itself.
    #[serde(flatten)]
    pub node: Node,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// Whether all is as it should be.
    pub ok: bool,
    /// What was found, as a sentence without its end.
    pub message: String,
    /// When it was looked, in milliseconds since 1970.
    pub at: Timestamp,
    /// How long that took, in milliseconds.
    pub took_ms: f64,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StatusAlert {
    /// What kind of thing it is, such as `disk.failing`.
    pub event: String,
    /// What it is and what to do, as a sentence without its end.
    pub message: String,
    /// Since when, in milliseconds since 1970.
    pub since: Timestamp,
}

/// Sees how the platform and its Workers do.
pub trait Insights: Send + Sync {
    /// How the platform is, for an account: with the alerts about its Workers. Nodes, checks and all other alerts are for operators.
    fn status(&self, account: &str, operator: bool) -> Status;

    /// What an account's Workers did in the time until now, or one of them. It goes back an hour at most, and is answered from memory.
    fn analytics(&self, account: &str, worker: Option<&str>, since: Duration) -> Analytics;
}
