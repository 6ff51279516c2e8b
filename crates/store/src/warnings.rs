//! Which warnings people were told, that a limit is near. What a limit is, and when it is near, is not this room's business.

use serde_json::Value;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use crate::audit::{Actor, record};
use crate::records::{Timestamp, now};
use crate::{Store, StoreResult};

/// How long it is remembered what was told, in milliseconds: longer than a month, which is the longest that a limit is for.
const REMEMBERED: Timestamp = 70 * 24 * 3600 * 1000;

/// A warning that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageWarning {
    /// The account's id.
    pub account_id: String,
    /// Which of the account's limits.
    pub measure: String,
    /// In which day or month, and how much it allowed.
    pub period: String,
    /// The percentage that was reached.
    pub percent: u8,
}

impl Store {
    /// What was told, the oldest first. Nothing if that was never kept here: see [`Self::keep_usage_warnings`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn usage_warnings(&self) -> StoreResult<Option<Vec<UsageWarning>>> {
        let mut reader = self.readers().acquire().await?;
        let kept = sqlx::query("SELECT since FROM usage_warnings_kept").fetch_optional(&mut *reader).await?;
        if kept.is_none() {
            return Ok(None);
        }
        let rows = sqlx::query("SELECT account_id, measure, period, percent FROM usage_warnings ORDER BY told, period")
            .fetch_all(&mut *reader)
            .await?;
        let warning = |row: &sqlx::sqlite::SqliteRow| {
            Ok(UsageWarning {
                account_id: row.try_get("account_id")?,
                measure: row.try_get("measure")?,
                period: row.try_get("period")?,
                percent: row.try_get("percent")?,
            })
        };
        rows.iter().map(warning).collect::<StoreResult<_>>().map(Some)
    }

    /// Begins to keep what was told: with what is taken for told from the beginning.
    ///
    /// # Errors
    /// When the database fails: it was not begun then.
    pub async fn keep_usage_warnings(&self, told: &[UsageWarning]) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        for warning in told {
            insert(&mut transaction, warning).await?;
        }
        sqlx::query("INSERT INTO usage_warnings_kept (since) VALUES ($1)")
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Keeps that a warning was told, and notes it in the account's audit log. Gives whether it was not told before: a second time nothing is
    /// noted, and for an account that is gone neither.
    ///
    /// # Errors
    /// When the database fails: nothing is kept then.
    pub async fn warned(&self, warning: &UsageWarning, target: &str, detail: &Value) -> StoreResult<bool> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let is_new = insert(&mut transaction, warning).await?;
        if is_new {
            let actor = Actor::platform(&*warning.account_id, "meter");
            record(&mut transaction, &actor, "usage.warning", target, detail).await?;
            sqlx::query("DELETE FROM usage_warnings WHERE account_id = $1 AND told < $2")
                .bind(&warning.account_id)
                .bind(now() - REMEMBERED)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(is_new)
    }
}

async fn insert(connection: &mut SqliteConnection, warning: &UsageWarning) -> StoreResult<bool> {
    let written = sqlx::query(
        "INSERT INTO usage_warnings (account_id, measure, period, percent, told) \
         SELECT id, $2, $3, $4, $5 FROM accounts WHERE id = $1 \
         ON CONFLICT (account_id, measure, period) DO UPDATE SET percent = excluded.percent, told = excluded.told \
         WHERE usage_warnings.percent < excluded.percent",
    )
    .bind(&warning.account_id)
    .bind(&warning.measure)
    .bind(&warning.period)
    .bind(warning.percent)
    .bind(now())
    .execute(connection)
    .await?;
    Ok(written.rows_affected() > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::UsageWarning;
    use crate::{MasterKeys, Store};

    #[tokio::test]
    async fn what_was_told_is_kept_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = MasterKeys::generate();
        let open = async || {
            Store::open(folder.path(), MasterKeys::parse([keys.reveal()]).expect("a key")).await.expect("a store")
        };
        let store = open().await;
        let account_id = store.create_account("test", "Skep", "dev").await.expect("an account").id;
        let warning = |period: &str, percent| UsageWarning {
            account_id: account_id.clone(),
            measure: "Spend/".to_owned(),
            period: period.to_owned(),
            percent,
        };
        assert_eq!(store.usage_warnings().await.expect("read"), None);
        store.keep_usage_warnings(&[warning("2026-10/5", 80)]).await.expect("begun");
        let told = async |warning: UsageWarning| store.warned(&warning, "x", &json!({})).await.expect("kept");
        // Not again, and nothing lower.
        assert!(!told(warning("2026-10/5", 80)).await && !told(warning("2026-10/5", 50)).await);
        assert!(told(warning("2026-11/5", 50)).await && !told(warning("2026-11/5", 50)).await);
        assert!(told(warning("2026-11/5", 100)).await);
        assert!(!told(UsageWarning { account_id: "nobody".to_owned(), ..warning("2026-11/5", 100) }).await);
        let audit = store.audit(&account_id, None, 10).await.expect("read");
        assert_eq!(audit.iter().filter(|entry| entry.action == "usage.warning").count(), 2);
        drop(store);
        let kept = open().await.usage_warnings().await.expect("read");
        assert_eq!(kept, Some(vec![warning("2026-10/5", 80), warning("2026-11/5", 100)]));
    }
}
