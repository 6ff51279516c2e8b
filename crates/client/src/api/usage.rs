//! What was used.

use serde::{Deserialize, Serialize};
use skep_meter::{By, Damage, Report};

use super::{Api, Root, segment};
use crate::error::Result;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first day, `2026-11-01`. Nothing: the first of the last day's month.
    pub from: Option<String>,
    /// The last day. Nothing: today.
    pub to: Option<String>,
    /// What it is added up by.
    pub by: By,
    /// The only Worker.
    pub worker: Option<String>,
    /// Of all accounts together.
    pub all: bool,
}

/// What was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The first day, UTC.
    pub from: String,
    /// The last day, UTC.
    pub to: String,
    /// What was used in them.
    #[serde(flatten)]
    pub report: Report,
}

/// Whether the ledger of usage is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Whether everything is as it was written.
    pub clean: bool,
    /// Files that were read.
    pub files: usize,
    /// Frames whose seals hold.
    pub frames: u64,
    /// Batches in them.
    pub batches: u64,
    /// What is not as it was written.
    pub damages: Vec<Damage>,
}

impl Api {
    /// What the account used.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn usage(&self, span: &Span) -> Result<Usage> {
        let place = if span.all { "/usage/all" } else { "/usage" };
        let mut path = format!("{place}?by={}", span.by.name());
        for (name, value) in [("from", &span.from), ("to", &span.to), ("worker", &span.worker)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", segment(value)));
            }
        }
        self.get(Root::Own, &path).await
    }

    /// Has the platform check its ledger of usage.
    ///
    /// # Errors
    /// When the API refuses: it takes the permission `operator`.
    pub async fn verify_usage(&self) -> Result<Verification> {
        self.get(Root::Own, "/usage/verification").await
    }
}
