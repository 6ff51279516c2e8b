//! What all records share: times, ids, JSON columns.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::StoreResult;

/// Milliseconds since 1970, UTC.
pub type Timestamp = i64;

pub(crate) fn now() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// 32 hexadecimal digits, unguessable: the form of Cloudflare's ids.
pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

pub(crate) fn json(value: &impl Serialize) -> StoreResult<String> {
    Ok(serde_json::to_string(value)?)
}

pub(crate) fn from_json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> StoreResult<T> {
    Ok(serde_json::from_str(&row.try_get::<String, _>(column)?)?)
}
