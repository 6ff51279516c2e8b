//! Another master key: every secret is sealed again under it.
//!
//! From the moment that a new key is taken, nothing is sealed under another one. What was sealed before is sealed again, some
//! versions at a time, so that nobody waits long; what the platform holds in memory meanwhile still opens, as former keys stay
//! known as long as the process lives. A secret that no known key opens is left alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use crate::audit::{Actor, record};
use crate::records::{from_json, json};
use crate::seal::key_of;
use crate::versions::uuid;
use crate::{BindingRecord, Store, StoreError, StoreResult};

/// Versions that are read at once, and changed in one transaction.
const PAGE: u32 = 200;
/// Workers that are named for one key.
const MOST_NAMED: usize = 20;

/// The secrets that are sealed under one master key. Each version has its own: one that ten versions have counts ten times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SealedUnder {
    /// The key's name: 8 hexadecimal digits.
    pub key: String,
    /// Whether the key is known here. What is under an unknown one cannot be opened.
    pub is_known: bool,
    /// How many they are.
    pub secrets: u64,
    /// The Workers that have them, as `<name>.<subdomain>`, the first twenty by name.
    pub workers: Vec<String>,
    /// How many Workers these are.
    pub worker_count: u64,
}

/// What became of secrets that were not under the current master key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Secrets that were sealed again.
    pub secrets: u64,
    /// What is still under other keys, because no known key opens it.
    pub left: Vec<SealedUnder>,
}

/// The sealed bindings of one version.
struct SealedVersion {
    id: String,
    worker_id: Uuid,
    /// `<name>.<subdomain>`
    worker: String,
    bindings: Vec<BindingRecord>,
}

impl SealedVersion {
    fn sealed(&self) -> impl Iterator<Item = &str> {
        self.bindings.iter().filter_map(BindingRecord::sealed)
    }
}

impl Store {
    /// The name of the current master key: 8 hexadecimal digits.
    pub fn master_key_name(&self) -> String {
        self.keys().name().to_owned()
    }

    /// Takes a new master key, in base64, into use for all that is sealed from now on. Those before it still open what they
    /// sealed. Gives the name of the one before.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when it is none; when the database fails. Then the key is as before.
    pub async fn take_master_key(&self, actor: &Actor, new: &skep_worker::Secret) -> StoreResult<String> {
        let mut writer = self.write().await;
        let before = self.keys();
        let keys = before.behind(new).map_err(|error| StoreError::Invalid(error.to_string()))?;
        let detail = json!({ "former": before.name() });
        record(&mut writer, actor, "master_key.rotate", keys.name(), &detail).await?;
        self.set_keys(&writer, keys);
        Ok(before.name().to_owned())
    }

    /// Seals again, under the current master key, every secret that is under another one. Others can write in between; after a
    /// failure or a crash in the middle, calling it again does the rest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reseal(&self) -> StoreResult<Resealed> {
        let (mut secrets, mut is_stale) = (0, false);
        let mut from = String::new();
        loop {
            let page = self.sealed_versions(&from).await?;
            let Some(last) = page.last() else { break };
            from.clone_from(&last.id);
            let keys = self.keys();
            let stale: Vec<&SealedVersion> =
                page.iter().filter(|version| version.sealed().any(|sealed| !keys.is_current(sealed))).collect();
            if !stale.is_empty() {
                is_stale = true;
                secrets += self.reseal_versions(&stale).await?;
            }
        }
        let left = if is_stale { self.sealed_under_others().await? } else { Vec::new() };
        Ok(Resealed { secrets, left })
    }

    async fn reseal_versions(&self, stale: &[&SealedVersion]) -> StoreResult<u64> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let mut secrets = 0;
        for version in stale {
            // A version's secrets change here and nowhere else. It may have been deleted since it was read.
            let mut bindings = version.bindings.clone();
            let mut changed = 0;
            for binding in &mut bindings {
                changed += u64::from(self.reseal_binding(version.worker_id, binding)?);
            }
            if changed > 0 {
                let updated = sqlx::query("UPDATE versions SET bindings = $1 WHERE id = $2")
                    .bind(json(&bindings)?)
                    .bind(&version.id)
                    .execute(&mut *transaction)
                    .await?;
                secrets += if updated.rows_affected() > 0 { changed } else { 0 };
            }
        }
        transaction.commit().await?;
        Ok(secrets)
    }

    /// How many secrets are sealed under each master key: the current one first, then the others by their names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sealed_under(&self) -> StoreResult<Vec<SealedUnder>> {
        let keys = self.keys();
        let mut found: BTreeMap<String, (u64, BTreeSet<String>)> = BTreeMap::new();
        found.entry(keys.name().to_owned()).or_default();
        let mut from = String::new();
        loop {
            let page = self.sealed_versions(&from).await?;
            let Some(last) = page.last() else { break };
            from.clone_from(&last.id);
            for version in &page {
                for sealed in version.sealed() {
                    let (secrets, workers) = found.entry(key_of(sealed).to_owned()).or_default();
                    *secrets += 1;
                    workers.insert(version.worker.clone());
                }
            }
        }
        let shown = |(key, (secrets, workers)): (String, (u64, BTreeSet<String>))| SealedUnder {
            is_known: keys.knows(&key),
            key,
            secrets,
            worker_count: workers.len() as u64,
            workers: workers.into_iter().take(MOST_NAMED).collect(),
        };
        let mut all: Vec<SealedUnder> = found.into_iter().map(shown).collect();
        all.sort_by_key(|under| under.key != keys.name());
        Ok(all)
    }

    async fn sealed_under_others(&self) -> StoreResult<Vec<SealedUnder>> {
        Ok(self.sealed_under().await?.into_iter().skip(1).collect())
    }

    /// A page of the versions that have secrets, behind the one with this id.
    async fn sealed_versions(&self, from: &str) -> StoreResult<Vec<SealedVersion>> {
        // Most versions have no secret: their bindings need not be read.
        let rows = sqlx::query(
            "SELECT id, worker_id, bindings, \
             (SELECT workers.name || '.' || accounts.subdomain FROM workers \
             JOIN accounts ON accounts.id = workers.account_id WHERE workers.id = versions.worker_id) AS worker \
             FROM versions WHERE id > $1 AND bindings LIKE '%\"sealed\":%' ORDER BY id LIMIT $2",
        )
        .bind(from)
        .bind(PAGE)
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(SealedVersion {
                    id: row.try_get("id")?,
                    worker_id: uuid(row, "worker_id")?,
                    worker: row.try_get("worker")?,
                    bindings: from_json(row, "bindings")?,
                })
            })
            .collect()
    }
}
