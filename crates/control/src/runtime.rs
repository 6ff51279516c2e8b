//! What the control plane needs to have done by those who run Workers.

use std::future::Future;
use std::pin::Pin;

use skep_worker::Version;
use uuid::Uuid;

/// What is known of a version that was started once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// The events that it handles.
    pub handlers: Vec<String>,
    /// CPU time of the start, in milliseconds.
    pub startup_time_ms: u64,
}

/// Why a version does not start: its own error, mapped to its author's sources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TrialFailure(pub String);

/// A start that is going on.
pub type Trial<'t> = Pin<Box<dyn Future<Output = Result<Started, TrialFailure>> + Send + 't>>;

/// A preparation that is going on.
pub type Preparation<'t> = Pin<Box<dyn Future<Output = ()> + Send + 't>>;

/// Starts versions before they get requests.
pub trait Trials: Send + Sync {
    /// Starts a version once in a throw-away isolate, under the limits of a start: before it is kept.
    fn start(&self, version: Version) -> Trial<'_>;

    /// Has a version of a Worker started where its requests will go: before it is deployed, so that the first of them need not
    /// wait. Nothing is said of what goes wrong: the version was tried before.
    fn prepare(&self, worker: Uuid, version: Uuid) -> Preparation<'_>;
}
