//! The audit log: who changed what, when, and from where. Entries are written in the transaction of the change.

use serde::Serialize;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::records::{Timestamp, from_json, json, now};
use crate::{Store, StoreResult};

/// Who changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The account that is changed.
    pub account_id: String,
    /// The name of the token, or what part of the platform it is.
    pub name: String,
    /// The client's address, if it was a client.
    pub address: Option<String>,
    /// The client's program, such as `wrangler`.
    pub source: String,
}

impl Actor {
    /// The platform itself.
    pub fn platform(account_id: impl Into<String>, part: &str) -> Self {
        Self { account_id: account_id.into(), name: part.to_owned(), address: None, source: "skep".to_owned() }
    }
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditEntry {
    /// Its number: later ones are higher.
    pub number: i64,
    /// When.
    pub at: Timestamp,
    /// Who: [`Actor::name`].
    pub actor: String,
    /// From which address.
    pub address: Option<String>,
    /// What was done, such as `worker.deploy`.
    pub action: String,
    /// To what.
    pub target: String,
    /// What else there is to say.
    pub detail: Value,
}

pub(crate) async fn record(
    connection: &mut SqliteConnection,
    actor: &Actor,
    action: &str,
    target: &str,
    detail: &Value,
) -> StoreResult<()> {
    sqlx::query("INSERT INTO audit (account_id, at, actor, address, action, target, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(&actor.account_id)
        .bind(now())
        .bind(&actor.name)
        .bind(&actor.address)
        .bind(action)
        .bind(target)
        .bind(json(detail)?)
        .execute(connection)
        .await?;
    Ok(())
}

impl Store {
    /// Notes something that changed no record, such as an automatic rollback's reason.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note(&self, actor: &Actor, action: &str, target: &str, detail: &Value) -> StoreResult<()> {
        record(&mut *self.write().await, actor, action, target, detail).await
    }

    /// The newest entries of an account, newest first; those before `before` if it is given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, account_id: &str, before: Option<i64>, most: u32) -> StoreResult<Vec<AuditEntry>> {
        let rows = sqlx::query(
            "SELECT number, at, actor, address, action, target, detail FROM audit WHERE account_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
        )
        .bind(account_id)
        .bind(before.unwrap_or(i64::MAX))
        .bind(most)
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(AuditEntry {
                    number: row.try_get("number")?,
                    at: row.try_get("at")?,
                    actor: row.try_get("actor")?,
                    address: row.try_get("address")?,
                    action: row.try_get("action")?,
                    target: row.try_get("target")?,
                    detail: from_json(row, "detail")?,
                })
            })
            .collect()
    }
}
