//! What the control plane needs to have done by those who run Workers.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use skep_worker::Version;

/// What is known of a version that was started once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// The events that it handles.
    pub handlers: Vec<String>,
    /// CPU time of the start, in milliseconds.
    pub startup_time_ms: u64,
    /// What the start compiled, by the names of modules: later starts are quicker with it.
    pub code: Vec<(String, Bytes)>,
}

/// Why a version does not start: its own error, mapped to its author's sources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TrialFailure(pub String);

/// A start that is going on.
pub type Trial<'t> = Pin<Box<dyn Future<Output = Result<Started, TrialFailure>> + Send + 't>>;

/// Starts a version in a throw-away isolate, under the limits of a start.
pub trait Trials: Send + Sync {
    /// Starts it once.
    fn start(&self, version: Version) -> Trial<'_>;
}
