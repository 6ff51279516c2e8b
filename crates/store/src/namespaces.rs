//! Namespaces of KV, D1, R2 and queues, as records: what holds their data comes with each of them.

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _};

use crate::audit::{Actor, record};
use crate::records::{Timestamp, from_json, json, new_id, now};
use crate::{Store, StoreError, StoreResult};

/// What a namespace is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceKind {
    /// Workers KV.
    Kv,
    /// D1 databases.
    D1,
    /// R2 buckets.
    R2,
    /// Queues.
    Queue,
}

impl NamespaceKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::D1 => "d1",
            Self::R2 => "r2",
            Self::Queue => "queue",
        }
    }
}

/// One namespace, database, bucket or queue.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Namespace {
    /// Its id: 32 hexadecimal digits.
    pub id: String,
    /// Its name, unique among those of its kind in the account.
    pub name: String,
    /// What else is known of it.
    pub config: Value,
    /// When it was made.
    pub created_on: Timestamp,
}

fn namespace(row: &SqliteRow) -> StoreResult<Namespace> {
    Ok(Namespace {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        config: from_json(row, "config")?,
        created_on: row.try_get("created_on")?,
    })
}

impl Store {
    /// Makes one.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the account has one of that kind and name.
    pub async fn create_namespace(
        &self,
        actor: &Actor,
        kind: NamespaceKind,
        name: &str,
        config: Value,
    ) -> StoreResult<Namespace> {
        let made = Namespace { id: new_id(), name: name.to_owned(), config, created_on: now() };
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let inserted = sqlx::query("INSERT INTO namespaces (id, account_id, kind, name, config, created_on) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING")
            .bind(&made.id)
            .bind(&actor.account_id)
            .bind(kind.as_str())
            .bind(name)
            .bind(json(&made.config)?)
            .bind(made.created_on)
            .execute(&mut *transaction)
            .await?;
        if inserted.rows_affected() == 0 {
            return Err(StoreError::Conflict(format!("the name \"{name}\" is taken: choose another one")));
        }
        record(&mut transaction, actor, &format!("{}.create", kind.as_str()), name, &json!({ "id": made.id })).await?;
        transaction.commit().await?;
        Ok(made)
    }

    /// An account's namespaces of a kind, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn namespaces(
        &self,
        account: &str,
        kind: NamespaceKind,
        skip: u32,
        most: u32,
    ) -> StoreResult<Vec<Namespace>> {
        let rows = sqlx::query(
            "SELECT * FROM namespaces WHERE account_id = $1 AND kind = $2 ORDER BY name LIMIT $3 OFFSET $4",
        )
        .bind(account)
        .bind(kind.as_str())
        .bind(most)
        .bind(skip)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(namespace).collect()
    }

    /// One, by its id or its name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn namespace(&self, account: &str, kind: NamespaceKind, key: &str) -> StoreResult<Option<Namespace>> {
        let row =
            sqlx::query("SELECT * FROM namespaces WHERE account_id = $1 AND kind = $2 AND (id = $3 OR name = $3)")
                .bind(account)
                .bind(kind.as_str())
                .bind(key)
                .fetch_optional(self.readers())
                .await?;
        row.as_ref().map(namespace).transpose()
    }

    /// Changes the name and what else is known of one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none, [`StoreError::Conflict`] when another one has the name.
    pub async fn update_namespace(
        &self,
        actor: &Actor,
        kind: NamespaceKind,
        id: &str,
        name: &str,
        config: &Value,
    ) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let other =
            sqlx::query("SELECT id FROM namespaces WHERE account_id = $1 AND kind = $2 AND name = $3 AND id <> $4")
                .bind(&actor.account_id)
                .bind(kind.as_str())
                .bind(name)
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await?;
        if other.is_some() {
            return Err(StoreError::Conflict(format!("the name \"{name}\" is taken: choose another one")));
        }
        let updated =
            sqlx::query("UPDATE namespaces SET name = $1, config = $2 WHERE account_id = $3 AND kind = $4 AND id = $5")
                .bind(name)
                .bind(json(config)?)
                .bind(&actor.account_id)
                .bind(kind.as_str())
                .bind(id)
                .execute(&mut *transaction)
                .await?;
        if updated.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("the account has no {} with the id {id}", kind.as_str())));
        }
        record(&mut transaction, actor, &format!("{}.update", kind.as_str()), name, &json!({ "id": id })).await?;
        Ok(transaction.commit().await?)
    }

    /// Deletes one, by its id or its name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none.
    pub async fn delete_namespace(&self, actor: &Actor, kind: NamespaceKind, key: &str) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let deleted =
            sqlx::query("DELETE FROM namespaces WHERE account_id = $1 AND kind = $2 AND (id = $3 OR name = $3)")
                .bind(&actor.account_id)
                .bind(kind.as_str())
                .bind(key)
                .execute(&mut *transaction)
                .await?;
        if deleted.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("the account has no {} {key}", kind.as_str())));
        }
        record(&mut transaction, actor, &format!("{}.delete", kind.as_str()), key, &json!({})).await?;
        Ok(transaction.commit().await?)
    }
}
