//! What the control plane needs to have done by those who run Workers and who reach the network.

use std::future::Future;
use std::pin::Pin;

use skep_worker::Version;

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

/// Starts a version in a throw-away isolate, under the limits of a start.
pub trait Trials: Send + Sync {
    /// Starts it once.
    fn start(&self, version: Version) -> Trial<'_>;
}

/// Why control of a domain is not proved: a sentence, without its end, for each way that was tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .tried.join("; "))]
pub struct Unproved {
    /// What was found in place of the proof.
    pub tried: Vec<String>,
}

/// A check that is going on. It gives how control was proved: `dns` or `file`.
pub type Checking<'c> = Pin<Box<dyn Future<Output = Result<String, Unproved>> + Send + 'c>>;

/// Checks whether somebody controls a domain.
pub trait Proofs: Send + Sync {
    /// Looks for a challenge where only who controls the domain can have put it: in the TXT record of `_skep.<domain>`, and in the file
    /// `http://<domain>/.well-known/skep-verify.txt`. It must end in a bounded time.
    fn check<'c>(&'c self, domain: &'c str, challenge: &'c str) -> Checking<'c>;
}
