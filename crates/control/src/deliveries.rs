//! What the control plane is told of deliveries to the outside world, such as alerts and exported usage, and who decides what becomes of those that
//! failed.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;
use skep_store::Timestamp;

/// What is delivered to one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// Its name in the configuration.
    pub name: String,
    /// What it is: `webhook`, `email`, `stripe` or `openmeter`. Nothing if it is configured no more.
    pub kind: Option<String>,
    /// What waits to be delivered.
    pub waiting: usize,
    /// Since when the first of it waits, in milliseconds since 1970.
    pub waiting_since: Option<Timestamp>,
    /// Why the last try failed, as a sentence without its end. Nothing if it did not.
    pub reason: Option<String>,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// What failed for good, and is kept.
    pub failed: usize,
}

/// Something that was not delivered, and is kept until somebody decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FailedDelivery {
    /// The key with which it is sent, each time.
    pub id: String,
    /// Where it was to go.
    pub destination: String,
    /// `alert` or `usage`.
    pub kind: String,
    /// What it says, in a line.
    pub what: String,
    /// The account that it is about, if it is about one.
    pub account: Option<String>,
    /// Why it was not delivered, as a sentence without its end.
    pub reason: String,
    /// Since when that is known.
    pub failed_on: Timestamp,
}

/// All deliveries that are not done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Undelivered {
    /// Every destination, by name.
    pub destinations: Vec<Destination>,
    /// What failed, the oldest failures of each destination first. At most as many as were asked for.
    pub failed: Vec<FailedDelivery>,
}

/// Which failed deliveries are meant: all of them, if nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhichDeliveries {
    /// Those to this destination.
    pub destination: Option<String>,
    /// Those with one of these ids.
    pub ids: Option<Vec<String>>,
}

/// What was decided on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// What had failed, by destination.
    pub failed: Vec<FailedDelivery>,
    /// What waited for its next try and is tried now.
    pub waiting: usize,
}

/// Why nothing was decided. Each message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// There is no such destination or delivery.
    #[error("{0}")]
    Unknown(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Refused(String),
    /// It cannot be written down. Nothing has changed.
    #[error("{0}")]
    Failed(String),
}

/// A decision that is being written down.
pub type Deciding<'d> = Pin<Box<dyn Future<Output = Result<Decided, DecisionError>> + Send + 'd>>;

/// Delivers to the outside world.
pub trait Deliveries: Send + Sync {
    /// What is not delivered yet, with `most` of those that failed, of one `destination` if it is said.
    ///
    /// # Errors
    /// When there is no such destination.
    fn undelivered(&self, destination: Option<&str>, most: usize) -> Result<Undelivered, DecisionError>;

    /// Sends what failed again, with the same ids, and does not wait for the next try of what waits.
    fn retry(&self, which: WhichDeliveries) -> Deciding<'_>;

    /// Lets go of what failed.
    fn forget(&self, which: WhichDeliveries) -> Deciding<'_>;
}
