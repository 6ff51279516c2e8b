//! What the control plane needs to have done by those who run Workers and who reach the network.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use skep_logs::Logs;
use skep_meter::{Comparison, Month, Plan, Question, Report, Standing, Terms, Verification, Vm};
use skep_observe::Tails;
use skep_store::{Actor, Resealed, Timestamp};
use skep_worker::Version;
use uuid::Uuid;

use crate::deliveries::Deliveries;
use crate::insight::Insights;

/// Those who run Workers, as far as the control plane needs them.
pub struct Runtime {
    /// Starts what is uploaded.
    pub trials: Box<dyn Trials>,
    /// Runs scheduled handlers by hand.
    pub crons: Box<dyn Crons>,
    /// Looks for proofs that a domain is somebody's.
    pub proofs: Box<dyn Proofs>,
    /// Replaces the master key.
    pub rotations: Box<dyn Rotations>,
    /// Live tails.
    pub tails: Tails,
    /// What was used.
    pub bills: Box<dyn Bills>,
    /// Events that are kept, if any are.
    pub logs: Option<Logs>,
    /// How Workers do.
    pub insights: Box<dyn Insights>,
    /// What is told outside.
    pub deliveries: Box<dyn Deliveries>,
}

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

/// How a scheduled handler did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its own error, if it failed.
    pub error: Option<String>,
    /// How long it took.
    pub wall: Duration,
}

/// A scheduled handler that runs.
pub type Running<'t> = Pin<Box<dyn Future<Output = Option<Ran>> + Send + 't>>;

/// Runs scheduled handlers for who asks, and not because they are due.
pub trait Crons: Send + Sync {
    /// Runs the handler of an account's Worker, with the version that has the largest share of the traffic. `due` is in milliseconds
    /// since 1970. Nothing if nothing of the Worker is deployed.
    fn run<'t>(&'t self, account: &'t str, worker: &'t str, cron: &'t str, due: i64) -> Running<'t>;
}

/// What is read of the ledger, or why it cannot be, in words.
pub type Reading<'b, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'b>>;

/// Whose invoice it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The account's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Since when it is there.
    pub since: Timestamp,
}

/// Where an account stands.
#[derive(Clone, Debug)]
pub struct Stands {
    /// Its plan.
    pub plan: Plan,
    /// Its terms.
    pub terms: Terms,
    /// What it has used of what it may use.
    pub standing: Standing,
}

/// An invoice.
#[derive(Clone, Debug, PartialEq)]
pub struct Invoiced {
    /// As JSON.
    pub document: Value,
    /// As CSV.
    pub csv: String,
    /// As a page to read and to print.
    pub html: String,
}

/// Knows what was used, and what that costs.
pub trait Bills: Send + Sync {
    /// The plans that there are.
    fn plans(&self) -> &[Plan];

    /// Where an account stands.
    fn stands(&self, account: &str) -> Stands;

    /// An account's plan or terms have changed in the store. When this is done, it holds.
    fn agreed<'b>(&'b self, account: &'b str) -> Reading<'b, ()>;

    /// An account's invoice of a month. One of a month that is over does not change any more.
    fn invoice<'b>(&'b self, owner: &'b Owner, month: Month) -> Reading<'b, Invoiced>;

    /// What the same traffic would cost elsewhere.
    fn compare<'b>(&'b self, owner: &'b Owner, month: Month, vm: Vm) -> Reading<'b, Comparison>;

    /// What was used, added up.
    fn report(&self, question: Question) -> Reading<'_, Report>;

    /// Whether the ledger is whole.
    fn verify(&self) -> Reading<'_, Verification>;
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

/// A master key that took the place of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The new key's name: 8 hexadecimal digits.
    pub key: String,
    /// The name of the one before.
    pub former: String,
    /// The secrets that were sealed again.
    pub resealed: Resealed,
}

/// Why the master key is not replaced. Each message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// It cannot be now, or not by the platform. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// It failed on the way. Every secret can still be opened, also after a restart.
    #[error("{0}")]
    Failed(String),
}

/// A rotation that is going on.
pub type Rotating<'r> = Pin<Box<dyn Future<Output = Result<Rotated, RotationError>> + Send + 'r>>;

/// Replaces the master key where it is kept, which the control plane does not know.
pub trait Rotations: Send + Sync {
    /// Where the key is kept, such as `the file /var/lib/skep/master-key`.
    fn kept_in(&self) -> &str;

    /// Makes a new key, takes it into use and seals every secret again under it. It goes on when nobody waits for it any more;
    /// a second one at the same time is refused. The audit log says that `actor` asked for it.
    fn rotate(&self, actor: Actor) -> Rotating<'_>;
}
