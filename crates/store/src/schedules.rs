//! Cron triggers.

use serde::Serialize;
use serde_json::json;
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use crate::audit::{Actor, record};
use crate::records::{Timestamp, now};
use crate::workers::expect;
use crate::{Store, StoreResult};

/// A cron trigger of a Worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// The cron expression.
    pub cron: String,
    /// When it was added.
    pub created_on: Timestamp,
    /// When the Worker's triggers were changed last.
    pub modified_on: Timestamp,
    /// The minute for which it was fired, or reported missed, last.
    pub last_due: Option<Timestamp>,
}

impl Store {
    /// Replaces a Worker's cron triggers. One that stays remembers when it fired.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`] when there is no such Worker.
    pub async fn put_schedules(&self, actor: &Actor, name: &str, crons: &[String]) -> StoreResult<Vec<Schedule>> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let worker = expect(&mut transaction, &actor.account_id, name).await?;
        let id = worker.id.to_string();
        let rows = sqlx::query("SELECT cron FROM schedules WHERE worker_id = $1")
            .bind(&id)
            .fetch_all(&mut *transaction)
            .await?;
        for row in rows {
            let cron: String = row.try_get("cron")?;
            if !crons.contains(&cron) {
                sqlx::query("DELETE FROM schedules WHERE worker_id = $1 AND cron = $2")
                    .bind(&id)
                    .bind(&cron)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        for cron in crons {
            sqlx::query("INSERT INTO schedules (worker_id, cron, created_on, modified_on) VALUES ($1, $2, $3, $3) ON CONFLICT (worker_id, cron) DO UPDATE SET modified_on = excluded.modified_on")
                .bind(&id)
                .bind(cron)
                .bind(now())
                .execute(&mut *transaction)
                .await?;
        }
        record(&mut transaction, actor, "schedules.put", name, &json!({ "crons": crons })).await?;
        transaction.commit().await?;
        self.tell_of(&mut writer, &actor.account_id, name).await?;
        drop(writer);
        self.schedules(worker.id).await
    }

    /// A Worker's cron triggers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schedules(&self, worker: Uuid) -> StoreResult<Vec<Schedule>> {
        let rows = sqlx::query("SELECT cron, created_on, modified_on, last_due FROM schedules WHERE worker_id = $1 ORDER BY created_on, cron")
            .bind(worker.to_string())
            .fetch_all(self.readers())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Schedule {
                    cron: row.try_get("cron")?,
                    created_on: row.try_get("created_on")?,
                    modified_on: row.try_get("modified_on")?,
                    last_due: row.try_get("last_due")?,
                })
            })
            .collect()
    }

    /// Notes that a trigger fires for a minute. Gives false if it has been fired for that minute or a later one, or is gone: so it
    /// fires once, also across a restart.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_schedule(&self, worker: Uuid, cron: &str, due: Timestamp) -> StoreResult<bool> {
        let mut writer = self.write().await;
        let updated = sqlx::query("UPDATE schedules SET last_due = $1 WHERE worker_id = $2 AND cron = $3 AND (last_due IS NULL OR last_due < $1)")
            .bind(due)
            .bind(worker.to_string())
            .bind(cron)
            .execute(&mut *writer)
            .await?;
        Ok(updated.rows_affected() == 1)
    }
}
