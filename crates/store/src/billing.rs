//! What accounts have agreed to, and the invoices that are final. What these mean is not this room's business.

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _};

use crate::audit::{Actor, record};
use crate::records::{Timestamp, from_json, json as text, now};
use crate::{Store, StoreError, StoreResult};

/// What an account has agreed to.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// The account's id.
    pub account_id: String,
    /// Its plan's name. Nothing: the platform's default.
    pub plan: Option<String>,
    /// Its terms: a spend cap, limits of Workers.
    pub terms: Option<Value>,
}

/// An invoice that does not change any more, as it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct FinalInvoice {
    /// As JSON.
    pub document: Value,
    /// As CSV.
    pub csv: String,
    /// As a page.
    pub html: String,
}

fn agreement(row: &SqliteRow) -> StoreResult<Agreement> {
    let terms: Option<String> = row.try_get("document")?;
    Ok(Agreement {
        account_id: row.try_get("id")?,
        plan: row.try_get("plan")?,
        terms: terms.is_some().then(|| from_json(row, "document")).transpose()?,
    })
}

/// The newest plan of each account before a moment.
const AGREEMENTS: &str = "SELECT accounts.id, account_terms.document, (SELECT plan FROM account_plans \
    WHERE account_plans.account_id = accounts.id AND since < $1 ORDER BY since DESC LIMIT 1) AS plan \
    FROM accounts LEFT JOIN account_terms ON account_terms.account_id = accounts.id";

impl Store {
    /// What each account has agreed to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn agreements(&self) -> StoreResult<Vec<Agreement>> {
        let rows = sqlx::query(AGREEMENTS).bind(Timestamp::MAX).fetch_all(self.readers()).await?;
        rows.iter().map(agreement).collect()
    }

    /// What an account has agreed to, with the plan that it had before a moment. Nothing if there is no such account.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn agreement(&self, account: &str, before: Timestamp) -> StoreResult<Option<Agreement>> {
        let query = sqlx::AssertSqlSafe(format!("{AGREEMENTS} WHERE accounts.id = $2"));
        let row = sqlx::query(query).bind(before).bind(account).fetch_optional(self.readers()).await?;
        row.as_ref().map(agreement).transpose()
    }

    /// Gives an account a plan from now on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such account.
    pub async fn put_plan(&self, actor: &Actor, account: &str, plan: &str) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let there = sqlx::query("SELECT id FROM accounts WHERE id = $1")
            .bind(account)
            .fetch_optional(&mut *transaction)
            .await?;
        if there.is_none() {
            return Err(StoreError::NotFound(format!("there is no account {account}")));
        }
        sqlx::query(
            "INSERT INTO account_plans (account_id, since, plan) VALUES ($1, $2, $3) \
             ON CONFLICT (account_id, since) DO UPDATE SET plan = excluded.plan",
        )
        .bind(account)
        .bind(now())
        .bind(plan)
        .execute(&mut *transaction)
        .await?;
        record(&mut transaction, actor, "account.plan", account, &json!({ "plan": plan })).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Replaces the terms of the actor's account.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_terms(&self, actor: &Actor, terms: &Value) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        sqlx::query(
            "INSERT INTO account_terms (account_id, document) VALUES ($1, $2) \
             ON CONFLICT (account_id) DO UPDATE SET document = excluded.document",
        )
        .bind(&actor.account_id)
        .bind(text(terms)?)
        .execute(&mut *transaction)
        .await?;
        record(&mut transaction, actor, "account.terms", &actor.account_id, terms).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The final invoice of an account's month, such as `2026-11`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invoice(&self, account: &str, month: &str) -> StoreResult<Option<FinalInvoice>> {
        let row = sqlx::query("SELECT document, csv, html FROM invoices WHERE account_id = $1 AND month = $2")
            .bind(account)
            .bind(month)
            .fetch_optional(self.readers())
            .await?;
        let invoice = |row: SqliteRow| {
            Ok(FinalInvoice {
                document: from_json(&row, "document")?,
                csv: row.try_get("csv")?,
                html: row.try_get("html")?,
            })
        };
        row.map(invoice).transpose()
    }

    /// The months of which there are final invoices.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invoiced_months(&self) -> StoreResult<Vec<String>> {
        let rows = sqlx::query("SELECT DISTINCT month FROM invoices").fetch_all(self.readers()).await?;
        rows.iter().map(|row| Ok(row.try_get("month")?)).collect()
    }

    /// Keeps a final invoice. One that is there already stays, and is given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_invoice(&self, account: &str, month: &str, invoice: FinalInvoice) -> StoreResult<FinalInvoice> {
        let mut writer = self.write().await;
        sqlx::query("INSERT INTO invoices (account_id, month, document, csv, html) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING")
            .bind(account)
            .bind(month)
            .bind(text(&invoice.document)?)
            .bind(&invoice.csv)
            .bind(&invoice.html)
            .execute(&mut *writer)
            .await?;
        drop(writer);
        Ok(self.invoice(account, month).await?.unwrap_or(invoice))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::FinalInvoice;
    use crate::{Actor, MasterKeys, Store, StoreError, Timestamp};

    #[tokio::test]
    async fn an_invoice_has_the_plan_of_its_month_and_does_not_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = MasterKeys::parse([MasterKeys::generate().reveal()]).expect("a key");
        let store = Store::open(folder.path(), keys).await.expect("a store");
        let account = store.create_account("test", "Skep", "dev").await.expect("an account").id;
        let actor = Actor::platform(&account, "test");
        let plan = async |before| store.agreement(&account, before).await.expect("read").expect("there").plan;
        assert_eq!(plan(Timestamp::MAX).await, None);
        store.put_plan(&actor, &account, "free").await.expect("put");
        let later = crate::records::now() + 1;
        while crate::records::now() <= later {
            tokio::task::yield_now().await;
        }
        store.put_plan(&actor, &account, "paid").await.expect("put");
        assert_eq!((plan(Timestamp::MAX).await.as_deref(), plan(later).await.as_deref()), (Some("paid"), Some("free")));
        assert_eq!(plan(0).await, None);
        let nobody = store.put_plan(&actor, "nobody", "paid").await;
        assert!(matches!(nobody, Err(StoreError::NotFound(_))), "{nobody:?}");

        store.put_terms(&actor, &json!({ "cap": null })).await.expect("put");
        assert_eq!(store.agreements().await.expect("read")[0].terms, Some(json!({ "cap": null })));

        let invoice = |total: &str| FinalInvoice {
            document: json!({ "total": total }),
            csv: total.to_owned(),
            html: total.to_owned(),
        };
        let first = store.keep_invoice(&account, "2026-11", invoice("5.00")).await.expect("kept");
        let second = store.keep_invoice(&account, "2026-11", invoice("6.00")).await.expect("kept");
        assert_eq!((first.csv.as_str(), second.csv.as_str()), ("5.00", "5.00"));
        assert_eq!(store.invoice(&account, "2026-10").await.expect("read"), None);
        assert_eq!(store.invoiced_months().await.expect("read"), ["2026-11"]);
    }
}
