//! Events that were kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Api, Root, segment};
use crate::error::Result;

/// What is looked for. Nothing: everything, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Conditions by their names in the API: `worker`, `since`, `search` and the like.
    pub conditions: Vec<(&'static str, String)>,
    /// How many events, at most 1000.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A page of what was found, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogPage {
    /// The events, as the API has them: `event` in each is as a tail shows it.
    pub events: Vec<Value>,
    /// Where the next page begins, if there may be one.
    pub next: Option<String>,
    /// Where events were left out.
    pub gaps: Vec<LogGap>,
    /// Pieces of files that cannot be read any more.
    pub damaged: u64,
}

/// Events that could not be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogGap {
    /// Whose.
    pub worker: String,
    /// Before which time, in milliseconds since 1970.
    pub before: i64,
    /// How many.
    pub dropped: u64,
}

impl Api {
    /// Looks for events that were kept.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn logs(&self, query: &LogQuery) -> Result<LogPage> {
        let mut path = format!("/logs?limit={}", query.limit);
        let cursor = query.cursor.as_ref().map(|cursor| ("cursor", cursor));
        let conditions = query.conditions.iter().map(|(name, value)| (*name, value));
        for (name, value) in conditions.chain(cursor) {
            path.push_str(&format!("&{name}={}", segment(value)));
        }
        self.get(Root::Own, &path).await
    }
}
