//! Whether the platform is well.

use serde::{Deserialize, Serialize};

use super::{Api, Root};
use crate::error::Result;

/// How the platform is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `ok`, `degraded` or `down`.
    pub status: String,
    /// Skep's version.
    pub version: String,
    /// When this was so, in milliseconds since 1970.
    pub now: i64,
    /// Its nodes. None are shown to who does not run the platform.
    pub nodes: Vec<Node>,
    /// What was looked at. Nothing is shown to who does not run the platform.
    pub checks: Vec<Check>,
    /// What is not as it should be.
    pub alerts: Vec<Alert>,
}

/// A machine that serves the platform. Sizes are in bytes, times in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it answers.
    pub address: String,
    /// Whether it was heard of lately.
    pub up: bool,
    /// Skep's version on it.
    pub version: String,
    /// When it was started.
    pub started: i64,
    /// When it was heard of last.
    pub last_heartbeat: i64,
    /// Its cores.
    pub cores: u64,
    /// Memory of what runs Workers.
    pub memory_used: u64,
    /// Memory that isolates may have.
    pub memory_limit: u64,
    /// What its disk has left.
    pub disk_free: u64,
    /// What its disk has.
    pub disk_total: u64,
    /// Processes that run Workers.
    pub runtimes: u64,
    /// How many of them died.
    pub restarts: u64,
    /// Isolates with a version.
    pub isolates: u64,
}

/// Something that is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub message: String,
    /// When it was looked, in milliseconds since 1970.
    pub at: i64,
    /// How long that took, in milliseconds.
    pub took_ms: f64,
}

/// Something that is not as it should be, and that people were told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What kind of thing it is, such as `disk.failing`.
    pub event: String,
    /// What it is, and what to do.
    pub message: String,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
}

impl Api {
    /// How the platform is.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn status(&self) -> Result<Status> {
        self.get(Root::Own, "/status").await
    }
}
