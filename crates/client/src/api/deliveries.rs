//! Deliveries to the outside world that are not done: alerts and exported usage. It takes the permission `operator`.

use ::http::Method;
use serde::{Deserialize, Serialize};

use super::{Api, Root, json, segment};
use crate::error::Result;

/// All deliveries that are not done. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// Every destination.
    pub destinations: Vec<Destination>,
    /// What failed, as much of it as was asked for.
    pub failed: Vec<FailedDelivery>,
}

/// What is delivered to one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Its name in the configuration.
    pub name: String,
    /// What it is. Nothing if it is configured no more.
    pub kind: Option<String>,
    /// What waits.
    pub waiting: usize,
    /// Since when.
    pub waiting_since: Option<i64>,
    /// Why the last try failed. Nothing if it did not.
    pub reason: Option<String>,
    /// When it is tried again.
    pub next_try: Option<i64>,
    /// What failed for good.
    pub failed: usize,
}

/// Something that was not delivered, and is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedDelivery {
    /// Its id.
    pub id: String,
    /// Where it was to go.
    pub destination: String,
    /// `alert` or `usage`.
    pub kind: String,
    /// What it says.
    pub what: String,
    /// The account that it is about, if it is about one.
    pub account: Option<String>,
    /// Why it was not delivered.
    pub reason: String,
    /// Since when that is known.
    pub failed_on: i64,
}

/// Which failed deliveries are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WhichDeliveries {
    /// Those with these ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Those to this destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// All of them.
    pub all: bool,
}

/// What is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// Deliveries that had failed.
    pub retried: usize,
    /// Those that waited for their next try, which is now.
    pub hurried: usize,
}

/// What was let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Deliveries that had failed.
    pub forgotten: usize,
}

impl Api {
    /// What is not delivered, with `most` of what failed; of one destination only.
    ///
    /// # Errors
    /// When there is no such destination.
    pub async fn deliveries(&self, destination: Option<&str>, most: usize) -> Result<Undelivered> {
        let of = destination.map(|name| format!("&destination={}", segment(name))).unwrap_or_default();
        self.get(Root::Own, &format!("/deliveries?limit={most}{of}")).await
    }

    /// Sends failed deliveries again.
    ///
    /// # Errors
    /// When there is no such destination or delivery.
    pub async fn retry_deliveries(&self, which: &WhichDeliveries) -> Result<Retried> {
        self.send(Method::POST, Root::Own, "/deliveries/retry", json(which)).await
    }

    /// Lets go of failed deliveries.
    ///
    /// # Errors
    /// When there is no such destination or delivery.
    pub async fn forget_deliveries(&self, which: &WhichDeliveries) -> Result<Forgotten> {
        self.send(Method::POST, Root::Own, "/deliveries/forget", json(which)).await
    }
}
