//! Accounts and their members.

use serde::Serialize;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _};

use crate::audit::{Actor, record};
use crate::records::{Timestamp, new_id, now};
use crate::{Store, StoreError, StoreResult};

/// Who owns Workers and pays for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its label in the addresses of its Workers, unique.
    pub subdomain: String,
    /// When it was made.
    pub created_on: Timestamp,
}

/// A person in an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Their address.
    pub email: String,
    /// What they may do: `admin`, `developer` or `viewer`.
    pub role: String,
    /// When they were added.
    pub created_on: Timestamp,
}

fn account(row: &SqliteRow) -> StoreResult<Account> {
    Ok(Account {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        subdomain: row.try_get("subdomain")?,
        created_on: row.try_get("created_on")?,
    })
}

impl Store {
    /// Makes an account.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another account has the subdomain.
    pub async fn create_account(&self, by: &str, name: &str, subdomain: &str) -> StoreResult<Account> {
        let made = Account { id: new_id(), name: name.to_owned(), subdomain: subdomain.to_owned(), created_on: now() };
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let taken = sqlx::query("SELECT id FROM accounts WHERE subdomain = $1")
            .bind(subdomain)
            .fetch_optional(&mut *transaction)
            .await?;
        if taken.is_some() {
            return Err(StoreError::Conflict(format!("the subdomain \"{subdomain}\" is taken: choose another one")));
        }
        sqlx::query("INSERT INTO accounts (id, name, subdomain, created_on) VALUES ($1, $2, $3, $4)")
            .bind(&made.id)
            .bind(name)
            .bind(subdomain)
            .bind(made.created_on)
            .execute(&mut *transaction)
            .await?;
        let actor = Actor::platform(&made.id, by);
        record(&mut transaction, &actor, "account.create", name, &json!({ "subdomain": subdomain })).await?;
        transaction.commit().await?;
        Ok(made)
    }

    /// Every account, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accounts(&self) -> StoreResult<Vec<Account>> {
        let rows = sqlx::query("SELECT * FROM accounts ORDER BY created_on, id").fetch_all(self.readers()).await?;
        rows.iter().map(account).collect()
    }

    /// One account.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account(&self, id: &str) -> StoreResult<Option<Account>> {
        let row = sqlx::query("SELECT * FROM accounts WHERE id = $1").bind(id).fetch_optional(self.readers()).await?;
        row.as_ref().map(account).transpose()
    }

    /// Gives an account another subdomain: all its Workers answer there, and no longer at the old one.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another account has it.
    pub async fn rename_subdomain(&self, actor: &Actor, subdomain: &str) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let taken = sqlx::query("SELECT id FROM accounts WHERE subdomain = $1 AND id <> $2")
            .bind(subdomain)
            .bind(&actor.account_id)
            .fetch_optional(&mut *transaction)
            .await?;
        if taken.is_some() {
            return Err(StoreError::Conflict(format!("the subdomain \"{subdomain}\" is taken: choose another one")));
        }
        sqlx::query("UPDATE accounts SET subdomain = $1 WHERE id = $2")
            .bind(subdomain)
            .bind(&actor.account_id)
            .execute(&mut *transaction)
            .await?;
        record(&mut transaction, actor, "account.subdomain", subdomain, &json!({})).await?;
        transaction.commit().await?;
        self.tell_all_workers(&mut writer, &actor.account_id).await
    }

    /// Adds a member, or changes the role of one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_member(&self, actor: &Actor, email: &str, role: &str) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        sqlx::query("INSERT INTO members (account_id, email, role, created_on) VALUES ($1, $2, $3, $4) ON CONFLICT (account_id, email) DO UPDATE SET role = excluded.role")
            .bind(&actor.account_id)
            .bind(email)
            .bind(role)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        record(&mut transaction, actor, "member.put", email, &json!({ "role": role })).await?;
        Ok(transaction.commit().await?)
    }

    /// Removes a member.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none.
    pub async fn remove_member(&self, actor: &Actor, email: &str) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let removed = sqlx::query("DELETE FROM members WHERE account_id = $1 AND email = $2")
            .bind(&actor.account_id)
            .bind(email)
            .execute(&mut *transaction)
            .await?;
        if removed.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("the account has no member {email}")));
        }
        record(&mut transaction, actor, "member.remove", email, &json!({})).await?;
        Ok(transaction.commit().await?)
    }

    /// An account's members.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members(&self, account_id: &str) -> StoreResult<Vec<Member>> {
        let rows = sqlx::query("SELECT email, role, created_on FROM members WHERE account_id = $1 ORDER BY email")
            .bind(account_id)
            .fetch_all(self.readers())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Member {
                    email: row.try_get("email")?,
                    role: row.try_get("role")?,
                    created_on: row.try_get("created_on")?,
                })
            })
            .collect()
    }
}
