//! API tokens. The store keeps only their hashes: a token is shown once, when it is made.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use skep_worker::Secret;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _};

use crate::audit::{Actor, record};
use crate::records::{Timestamp, from_json, json, new_id, now};
use crate::{Store, StoreError, StoreResult};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// See the account, its members, tokens and audit log.
    AccountRead,
    /// Change members and tokens.
    AccountWrite,
    /// See Workers, versions, deployments, routes, names of secrets, logs.
    WorkersRead,
    /// Upload, deploy, delete, put secrets and routes.
    WorkersWrite,
    /// See namespaces of KV, D1, R2 and queues.
    StorageRead,
    /// Change them.
    StorageWrite,
    /// Make accounts, add domains without a proof, replace the master key: the owner of the machine.
    Operator,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AccountRead,
        Self::AccountWrite,
        Self::WorkersRead,
        Self::WorkersWrite,
        Self::StorageRead,
        Self::StorageWrite,
        Self::Operator,
    ];
}

/// An API token, without the token itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// The account that it is for.
    pub account_id: String,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub permissions: Vec<Permission>,
    /// The only Worker that it is for, if it is for one.
    pub worker: Option<String>,
    /// When it was made.
    pub created_on: Timestamp,
    /// From when on it is refused.
    pub expires_on: Option<Timestamp>,
}

impl Token {
    /// Whether it is refused because of its age.
    pub fn is_expired(&self) -> bool {
        self.expires_on.is_some_and(|expires| expires <= now())
    }
}

/// A token to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub permissions: Vec<Permission>,
    /// The only Worker that it is for.
    pub worker: Option<String>,
    /// From when on it is refused.
    pub expires_on: Option<Timestamp>,
}

fn hash(token: &str) -> String {
    blake3::hash(token.as_bytes()).to_hex().to_string()
}

pub(crate) fn token(row: &SqliteRow) -> StoreResult<Token> {
    Ok(Token {
        id: row.try_get("id")?,
        account_id: row.try_get("account_id")?,
        name: row.try_get("name")?,
        permissions: from_json(row, "permissions")?,
        worker: row.try_get("worker")?,
        created_on: row.try_get("created_on")?,
        expires_on: row.try_get("expires_on")?,
    })
}

impl Store {
    /// Makes a token. The second half of the answer is the token itself; there is no way to see it again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_token(&self, actor: &Actor, new: NewToken) -> StoreResult<(Token, Secret)> {
        let mut random = [0; TOKEN_BYTES];
        // It fails only where the system has no random numbers, and then nothing works.
        aws_lc_rs::rand::fill(&mut random).expect("the system has random numbers");
        let text = format!("skep_{}", URL_SAFE_NO_PAD.encode(random));
        let made = Token {
            id: new_id(),
            account_id: actor.account_id.clone(),
            name: new.name,
            permissions: new.permissions,
            worker: new.worker,
            created_on: now(),
            expires_on: new.expires_on,
        };
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        sqlx::query("INSERT INTO tokens (id, account_id, name, hash, permissions, worker, created_on, expires_on) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(&made.id)
            .bind(&made.account_id)
            .bind(&made.name)
            .bind(hash(&text))
            .bind(json(&made.permissions)?)
            .bind(&made.worker)
            .bind(made.created_on)
            .bind(made.expires_on)
            .execute(&mut *transaction)
            .await?;
        let detail = json!({ "permissions": made.permissions, "worker": made.worker, "expires_on": made.expires_on });
        record(&mut transaction, actor, "token.create", &made.name, &detail).await?;
        transaction.commit().await?;
        Ok((made, Secret::new(text)))
    }

    /// Finds a token by itself. An expired one is found too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token(&self, text: &str) -> StoreResult<Option<Token>> {
        let row =
            sqlx::query("SELECT * FROM tokens WHERE hash = $1").bind(hash(text)).fetch_optional(self.readers()).await?;
        row.as_ref().map(token).transpose()
    }

    /// An account's tokens, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens(&self, account_id: &str) -> StoreResult<Vec<Token>> {
        let rows = sqlx::query("SELECT * FROM tokens WHERE account_id = $1 ORDER BY created_on, id")
            .bind(account_id)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(token).collect()
    }

    /// Revokes a token, by its id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the account has no such token.
    pub async fn revoke_token(&self, actor: &Actor, id: &str) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let removed = sqlx::query("DELETE FROM tokens WHERE account_id = $1 AND id = $2 RETURNING name")
            .bind(&actor.account_id)
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(removed) = removed else {
            return Err(StoreError::NotFound(format!("the account has no token {id}: see `skep token list`")));
        };
        record(&mut transaction, actor, "token.revoke", &removed.try_get::<String, _>("name")?, &json!({})).await?;
        Ok(transaction.commit().await?)
    }
}
