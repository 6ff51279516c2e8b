//! Zones (domains that an account has proved to control), routes and custom domains below them.

use serde::Serialize;
use serde_json::json;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};

use crate::audit::{Actor, record};
use crate::records::{Timestamp, new_id, now};
use crate::workers::expect;
use crate::{Store, StoreError, StoreResult};

/// A domain of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Zone {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub account_id: String,
    /// The domain's name.
    pub name: String,
    /// What the proof of control must hold.
    pub challenge: String,
    /// When control was proved; nothing before.
    pub verified_on: Option<Timestamp>,
}

/// A pattern of addresses that a Worker answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Its id.
    pub id: String,
    /// The zone it is in.
    pub zone_id: String,
    /// Its zone's name.
    pub zone_name: String,
    /// The pattern.
    pub pattern: String,
    /// The Worker's name.
    pub script: String,
}

/// A host name that is a Worker's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Domain {
    /// Its id.
    pub id: String,
    /// The zone it is in.
    pub zone_id: String,
    /// Its zone's name.
    pub zone_name: String,
    /// The host name.
    pub hostname: String,
    /// The Worker's name.
    pub service: String,
}

fn zone(row: &SqliteRow) -> StoreResult<Zone> {
    Ok(Zone {
        id: row.try_get("id")?,
        account_id: row.try_get("account_id")?,
        name: row.try_get("name")?,
        challenge: row.try_get("challenge")?,
        verified_on: row.try_get("verified_on")?,
    })
}

/// Who has a pattern or host name, for the message to who wants it too.
async fn owner(
    connection: &mut SqliteConnection,
    statement: &'static str,
    text: &str,
) -> StoreResult<Option<(String, String)>> {
    let row = sqlx::query(statement).bind(text).fetch_optional(connection).await?;
    row.map(|row| Ok((row.try_get("account_id")?, row.try_get("name")?))).transpose()
}

fn taken(actor: &Actor, what: &str, owner: &(String, String)) -> StoreError {
    StoreError::Conflict(if owner.0 == actor.account_id {
        format!("{what} is already a route of the Worker \"{}\": remove it there first", owner.1)
    } else {
        format!("{what} belongs to another account")
    })
}

impl Store {
    /// Adds a domain to an account, to be proved unless it is `trusted`. One that the account has already is given as it is.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another account has proved control of it.
    pub async fn add_zone(&self, actor: &Actor, name: &str, trusted: bool) -> StoreResult<Zone> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let row =
            sqlx::query("SELECT * FROM zones WHERE name = $1").bind(name).fetch_optional(&mut *transaction).await?;
        if let Some(found) = row.as_ref().map(zone).transpose()? {
            if found.account_id == actor.account_id && (found.verified_on.is_some() || !trusted) {
                return Ok(found);
            }
            if found.account_id != actor.account_id && found.verified_on.is_some() {
                return Err(StoreError::Conflict(format!("the domain {name} belongs to another account")));
            }
            // Somebody has asked for it and never proved it.
            sqlx::query("DELETE FROM zones WHERE id = $1").bind(&found.id).execute(&mut *transaction).await?;
        }
        let made = Zone {
            id: new_id(),
            account_id: actor.account_id.clone(),
            name: name.to_owned(),
            challenge: format!("skep-verify={}", new_id()),
            verified_on: trusted.then(now),
        };
        sqlx::query("INSERT INTO zones (id, account_id, name, challenge, created_on, verified_on) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(&made.id)
            .bind(&made.account_id)
            .bind(name)
            .bind(&made.challenge)
            .bind(now())
            .bind(made.verified_on)
            .execute(&mut *transaction)
            .await?;
        record(&mut transaction, actor, "domain.add", name, &json!({ "trusted": trusted })).await?;
        transaction.commit().await?;
        Ok(made)
    }

    /// Control of a domain is proved.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the account has no such domain.
    pub async fn verify_zone(&self, actor: &Actor, id: &str) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let row = sqlx::query("UPDATE zones SET verified_on = $1 WHERE id = $2 AND account_id = $3 RETURNING name")
            .bind(now())
            .bind(id)
            .bind(&actor.account_id)
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| StoreError::NotFound("the account has no such domain".to_owned()))?;
        record(&mut transaction, actor, "domain.verify", &row.try_get::<String, _>("name")?, &json!({})).await?;
        Ok(transaction.commit().await?)
    }

    /// Removes a domain, by its id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the account has no such domain, [`StoreError::Invalid`] when a route or a custom domain is in it.
    pub async fn remove_zone(&self, actor: &Actor, id: &str) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        const USED: &str = "SELECT pattern AS used FROM routes WHERE zone_id = $1 UNION ALL SELECT hostname FROM domains WHERE zone_id = $1 LIMIT 1";
        if let Some(row) = sqlx::query(USED).bind(id).fetch_optional(&mut *transaction).await? {
            let used: String = row.try_get("used")?;
            return Err(StoreError::Invalid(format!(
                "{used} is in this domain and answered by a Worker: remove it first"
            )));
        }
        let row = sqlx::query("DELETE FROM zones WHERE id = $1 AND account_id = $2 RETURNING name")
            .bind(id)
            .bind(&actor.account_id)
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| StoreError::NotFound("the account has no such domain".to_owned()))?;
        record(&mut transaction, actor, "domain.remove", &row.try_get::<String, _>("name")?, &json!({})).await?;
        Ok(transaction.commit().await?)
    }

    /// An account's domains, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn zones(&self, account: &str) -> StoreResult<Vec<Zone>> {
        let rows = sqlx::query("SELECT * FROM zones WHERE account_id = $1 ORDER BY name")
            .bind(account)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(zone).collect()
    }

    /// A domain by its id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn zone(&self, id: &str) -> StoreResult<Option<Zone>> {
        let row = sqlx::query("SELECT * FROM zones WHERE id = $1").bind(id).fetch_optional(self.readers()).await?;
        row.as_ref().map(zone).transpose()
    }

    /// Replaces all routes of a Worker, or adds to them. Each is a pattern and the id of its zone, which is the account's and proved.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another Worker has a pattern: the message says which.
    pub async fn put_routes(
        &self,
        actor: &Actor,
        name: &str,
        routes: &[(String, String)],
        replace: bool,
    ) -> StoreResult<Vec<Route>> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let worker = expect(&mut transaction, &actor.account_id, name).await?;
        let id = worker.id.to_string();
        if replace {
            sqlx::query("DELETE FROM routes WHERE worker_id = $1").bind(&id).execute(&mut *transaction).await?;
        }
        for (pattern, zone) in routes {
            const OWNER: &str = "SELECT workers.account_id, workers.name FROM routes JOIN workers ON workers.id = routes.worker_id WHERE routes.pattern = $1";
            if let Some(owner) = owner(&mut transaction, OWNER, pattern).await? {
                if owner == (actor.account_id.clone(), name.to_owned()) {
                    continue;
                }
                return Err(taken(actor, pattern, &owner));
            }
            sqlx::query("INSERT INTO routes (id, zone_id, worker_id, pattern) VALUES ($1, $2, $3, $4)")
                .bind(new_id())
                .bind(zone)
                .bind(&id)
                .bind(pattern)
                .execute(&mut *transaction)
                .await?;
        }
        let patterns: Vec<&String> = routes.iter().map(|(pattern, _)| pattern).collect();
        record(&mut transaction, actor, "routes.put", name, &json!({ "patterns": patterns, "replace": replace }))
            .await?;
        transaction.commit().await?;
        self.tell_of(&mut writer, &actor.account_id, name).await?;
        drop(writer);
        Ok(self.routes(&actor.account_id).await?.into_iter().filter(|route| route.script == name).collect())
    }

    /// Removes a route by its id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the account has no such route.
    pub async fn delete_route(&self, actor: &Actor, id: &str) -> StoreResult<()> {
        const DELETE: &str = "DELETE FROM routes WHERE id = $1 AND worker_id IN (SELECT id FROM workers WHERE account_id = $2) RETURNING worker_id, pattern AS text";
        self.delete_address(actor, id, DELETE, "route").await
    }

    /// Removes a custom domain by its id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the account has no such domain.
    pub async fn delete_domain(&self, actor: &Actor, id: &str) -> StoreResult<()> {
        const DELETE: &str = "DELETE FROM domains WHERE id = $1 AND worker_id IN (SELECT id FROM workers WHERE account_id = $2) RETURNING worker_id, hostname AS text";
        self.delete_address(actor, id, DELETE, "domain").await
    }

    async fn delete_address(&self, actor: &Actor, id: &str, delete: &'static str, what: &str) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let row = sqlx::query(delete).bind(id).bind(&actor.account_id).fetch_optional(&mut *transaction).await?;
        let row = row.ok_or_else(|| StoreError::NotFound(format!("the account has no {what} {id}")))?;
        let worker = sqlx::query("SELECT name FROM workers WHERE id = $1")
            .bind(row.try_get::<String, _>("worker_id")?)
            .fetch_one(&mut *transaction)
            .await?;
        record(&mut transaction, actor, &format!("{what}.delete"), &row.try_get::<String, _>("text")?, &json!({}))
            .await?;
        transaction.commit().await?;
        self.tell_of(&mut writer, &actor.account_id, &worker.try_get::<String, _>("name")?).await?;
        Ok(())
    }

    /// An account's routes, by pattern.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn routes(&self, account: &str) -> StoreResult<Vec<Route>> {
        let rows = sqlx::query(
            "SELECT routes.id, routes.zone_id, zones.name AS zone_name, routes.pattern, workers.name AS script FROM routes \
             JOIN workers ON workers.id = routes.worker_id JOIN zones ON zones.id = routes.zone_id \
             WHERE workers.account_id = $1 ORDER BY routes.pattern",
        )
        .bind(account)
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Route {
                    id: row.try_get("id")?,
                    zone_id: row.try_get("zone_id")?,
                    zone_name: row.try_get("zone_name")?,
                    pattern: row.try_get("pattern")?,
                    script: row.try_get("script")?,
                })
            })
            .collect()
    }

    /// Replaces all custom domains of a Worker, or adds to them. Each is a host name and the id of its zone.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another Worker has a host name, unless `take_over` and it is one of the same account.
    pub async fn put_domains(
        &self,
        actor: &Actor,
        name: &str,
        domains: &[(String, String)],
        replace: bool,
        take_over: bool,
    ) -> StoreResult<Vec<Domain>> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let worker = expect(&mut transaction, &actor.account_id, name).await?;
        let id = worker.id.to_string();
        let mut others = Vec::new();
        if replace {
            sqlx::query("DELETE FROM domains WHERE worker_id = $1").bind(&id).execute(&mut *transaction).await?;
        }
        for (hostname, zone) in domains {
            const OWNER: &str = "SELECT workers.account_id, workers.name FROM domains JOIN workers ON workers.id = domains.worker_id WHERE domains.hostname = $1";
            if let Some(owner) = owner(&mut transaction, OWNER, hostname).await? {
                let own = owner.0 == actor.account_id;
                if own && owner.1 == name {
                    continue;
                }
                if !(own && take_over) {
                    return Err(taken(actor, hostname, &owner));
                }
                sqlx::query("DELETE FROM domains WHERE hostname = $1")
                    .bind(hostname)
                    .execute(&mut *transaction)
                    .await?;
                others.push(owner.1);
            }
            sqlx::query("INSERT INTO domains (id, zone_id, worker_id, hostname) VALUES ($1, $2, $3, $4)")
                .bind(new_id())
                .bind(zone)
                .bind(&id)
                .bind(hostname)
                .execute(&mut *transaction)
                .await?;
        }
        let names: Vec<&String> = domains.iter().map(|(hostname, _)| hostname).collect();
        record(&mut transaction, actor, "domains.put", name, &json!({ "hostnames": names, "replace": replace }))
            .await?;
        transaction.commit().await?;
        for other in others {
            self.tell_of(&mut writer, &actor.account_id, &other).await?;
        }
        self.tell_of(&mut writer, &actor.account_id, name).await?;
        drop(writer);
        Ok(self.domains(&actor.account_id).await?.into_iter().filter(|domain| domain.service == name).collect())
    }

    /// An account's custom domains, by host name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn domains(&self, account: &str) -> StoreResult<Vec<Domain>> {
        let rows = sqlx::query(
            "SELECT domains.id, domains.zone_id, zones.name AS zone_name, domains.hostname, workers.name AS service FROM domains \
             JOIN workers ON workers.id = domains.worker_id JOIN zones ON zones.id = domains.zone_id \
             WHERE workers.account_id = $1 ORDER BY domains.hostname",
        )
        .bind(account)
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Domain {
                    id: row.try_get("id")?,
                    zone_id: row.try_get("zone_id")?,
                    zone_name: row.try_get("zone_name")?,
                    hostname: row.try_get("hostname")?,
                    service: row.try_get("service")?,
                })
            })
            .collect()
    }
}
