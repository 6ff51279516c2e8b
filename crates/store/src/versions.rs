//! Versions and deployments as they are kept.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use skep_worker::Secret;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Executor, Row as _, Sqlite};
use uuid::Uuid;

use crate::feed::Share;
use crate::records::{Timestamp, from_json};
use crate::{FileHash, Store, StoreError, StoreResult};

/// What people say about a version or a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotations {
    /// Why it was made.
    #[serde(rename = "workers/message", default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A name of the author's own.
    #[serde(rename = "workers/tag", default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// A label for an address of its own.
    #[serde(rename = "workers/alias", default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// What made it: `upload`, `secret`, `rollback`.
    #[serde(rename = "workers/triggered_by", default, skip_serializing_if = "Option::is_none")]
    pub triggered_by: Option<String>,
}

/// What a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModuleKind {
    /// An ES module, or the classic script of a version in the service worker format.
    Script,
    /// A CommonJS module.
    CommonJs,
    /// A text.
    Text,
    /// Bytes.
    Data,
    /// A JSON value.
    Json,
    /// WebAssembly.
    Wasm,
}

/// A module whose content is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredModule {
    /// Its name, as other modules import it, without a leading `./`.
    pub name: String,
    /// What it is.
    pub kind: ModuleKind,
    /// Its content.
    pub file: FileHash,
    /// Its source map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_map: Option<FileHash>,
    /// V8's code cache of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<FileHash>,
}

/// A version's static assets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssetsRecord {
    /// The file that lists them: JSON, an object of paths, each with the `hash` of an asset.
    pub manifest: FileHash,
    /// How they are served: `html_handling`, `_headers` and so on, as it was sent.
    pub config: Value,
}

/// What a version is made of, its bindings aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The main module's name. Empty when the version is assets only.
    pub main: String,
    /// Whether the main module is a classic script that calls `addEventListener`.
    #[serde(default)]
    pub service_worker: bool,
    /// Every module.
    pub modules: Vec<StoredModule>,
    /// The compatibility date, as it was sent.
    pub compatibility_date: Option<String>,
    /// The compatibility flags.
    pub compatibility_flags: Vec<String>,
    /// CPU time of a request in milliseconds, if it is not the default.
    pub cpu_ms: Option<u32>,
    /// The events that the main module handles.
    pub handlers: Vec<String>,
    /// CPU time that the start took in milliseconds, when it was uploaded.
    pub startup_time_ms: u64,
    /// Its static assets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assets: Option<AssetsRecord>,
    /// What else the upload said, as it was sent: placement, migrations and so on.
    #[serde(default)]
    pub other: Map<String, Value>,
}

impl Content {
    /// The files that it consists of. One may be named more than once.
    pub fn files(&self) -> impl Iterator<Item = &FileHash> {
        let modules = self.modules.iter();
        let files = modules.flat_map(|module| [Some(&module.file), module.source_map.as_ref(), module.code.as_ref()]);
        files.flatten().chain(self.assets.as_ref().map(|assets| &assets.manifest))
    }
}

/// One binding of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BindingRecord {
    /// The property of `env`.
    pub name: String,
    /// Cloudflare's name for its type, such as `plain_text`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What belongs to a binding of that type.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

/// The setting that holds a sealed secret. It never leaves the store.
const SEALED: &str = "sealed";
/// Types whose `text` is a secret.
const SECRET_TYPES: [&str; 2] = ["secret_text", "secret_key"];

impl BindingRecord {
    /// A secret text.
    pub fn secret(name: impl Into<String>, text: &str) -> Self {
        let settings = Map::from_iter([("text".to_owned(), Value::from(text))]);
        Self { name: name.into(), kind: "secret_text".to_owned(), settings }
    }

    /// Whether its value is a secret.
    pub fn is_secret(&self) -> bool {
        SECRET_TYPES.contains(&self.kind.as_str())
    }

    /// Its sealed secret, if it has one.
    pub(crate) fn sealed(&self) -> Option<&str> {
        self.settings.get(SEALED).filter(|_| self.is_secret()).and_then(Value::as_str)
    }

    /// As it may be shown: without its secret.
    #[must_use]
    pub fn shown(&self) -> Self {
        let mut shown = self.clone();
        shown.settings.remove(SEALED);
        if shown.is_secret() {
            shown.settings.remove("text");
        }
        shown
    }
}

/// A version, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// Its id.
    pub id: Uuid,
    /// The Worker's id.
    pub worker_id: Uuid,
    /// The how manieth it is of its Worker, from 1 on.
    pub number: i64,
    /// When it was uploaded.
    pub created_on: Timestamp,
    /// Who uploaded it.
    pub author: String,
    /// With which program.
    pub source: String,
    /// What was said about it.
    pub annotations: Annotations,
    /// What it is made of.
    pub content: Content,
    /// What `env` holds. Secrets are sealed.
    pub bindings: Vec<BindingRecord>,
}

/// A version to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewVersion {
    /// What it is made of.
    pub content: Content,
    /// What `env` holds; the `text` of secrets is sealed on the way. A binding of the type `inherit` stands for the one of that
    /// name in the version before.
    pub bindings: Vec<BindingRecord>,
    /// Types of bindings that the version takes over from the one before, where it has none of the name.
    pub keep_bindings: Vec<String>,
    /// What is said about it.
    pub annotations: Annotations,
}

/// Which versions get what share of the traffic, from when on.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Its id.
    pub id: Uuid,
    /// The how manieth it is of its Worker, from 1 on.
    pub number: i64,
    /// When it was made.
    pub created_on: Timestamp,
    /// Who made it.
    pub author: String,
    /// With which program.
    pub source: String,
    /// What was said about it.
    pub annotations: Annotations,
    /// The shares.
    pub versions: Vec<Share>,
}

/// A deployment to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDeployment {
    /// The shares: different versions, which add up to 100 %.
    pub versions: Vec<Share>,
    /// What is said about it.
    pub annotations: Annotations,
}

pub(crate) fn uuid(row: &SqliteRow, column: &str) -> StoreResult<Uuid> {
    let text: String = row.try_get(column)?;
    Uuid::parse_str(&text).map_err(|error| StoreError::Database(sqlx::Error::Decode(Box::new(error))))
}

fn version(row: &SqliteRow) -> StoreResult<VersionRecord> {
    Ok(VersionRecord {
        id: uuid(row, "id")?,
        worker_id: uuid(row, "worker_id")?,
        number: row.try_get("number")?,
        created_on: row.try_get("created_on")?,
        author: row.try_get("author")?,
        source: row.try_get("source")?,
        annotations: from_json(row, "annotations")?,
        content: from_json(row, "content")?,
        bindings: from_json(row, "bindings")?,
    })
}

fn deployment(row: &SqliteRow) -> StoreResult<Deployment> {
    Ok(Deployment {
        id: uuid(row, "id")?,
        number: row.try_get("number")?,
        created_on: row.try_get("created_on")?,
        author: row.try_get("author")?,
        source: row.try_get("source")?,
        annotations: from_json(row, "annotations")?,
        versions: from_json(row, "versions")?,
    })
}

/// A Worker's newest version, deployed or not.
pub(crate) async fn latest(connection: &mut SqliteConnection, worker: Uuid) -> StoreResult<Option<VersionRecord>> {
    let row = sqlx::query("SELECT * FROM versions WHERE worker_id = $1 ORDER BY number DESC LIMIT 1")
        .bind(worker.to_string())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(version).transpose()
}

pub(crate) async fn find<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    worker: Uuid,
    id: Uuid,
) -> StoreResult<Option<VersionRecord>> {
    let row = sqlx::query("SELECT * FROM versions WHERE worker_id = $1 AND id = $2")
        .bind(worker.to_string())
        .bind(id.to_string())
        .fetch_optional(executor)
        .await?;
    row.as_ref().map(version).transpose()
}

/// The place that a Worker's secret is sealed for.
fn place(worker: Uuid, name: &str) -> String {
    format!("worker/{worker}/{name}")
}

impl Store {
    /// The bindings of a new version: inherited and kept ones filled in, secrets sealed.
    pub(crate) fn resolve_bindings(
        &self,
        worker: Uuid,
        new: &NewVersion,
        before: Option<&VersionRecord>,
    ) -> StoreResult<Vec<BindingRecord>> {
        let before = before.map_or(&[][..], |before| &before.bindings);
        let mut bindings = Vec::with_capacity(new.bindings.len());
        for binding in &new.bindings {
            if binding.kind == "inherit" {
                let inherited = before.iter().find(|old| old.name == binding.name);
                bindings.push(inherited.cloned().ok_or_else(|| StoreError::Inherit(binding.name.clone()))?);
                continue;
            }
            let old = before.iter().find(|old| old.name == binding.name && old.kind == binding.kind);
            // Only its name and type: it stays what it is.
            if binding.settings.is_empty() {
                if let Some(old) = old {
                    bindings.push(old.clone());
                    continue;
                }
                if binding.is_secret() {
                    return Err(StoreError::Inherit(binding.name.clone()));
                }
            }
            let mut binding = binding.clone();
            if binding.is_secret() {
                binding.settings.remove(SEALED);
                match binding.settings.remove("text") {
                    Some(Value::String(text)) => {
                        let sealed = self.keys().seal(&place(worker, &binding.name), &Secret::new(text))?;
                        binding.settings.insert(SEALED.to_owned(), sealed.into());
                    }
                    _ => binding = old.cloned().ok_or_else(|| StoreError::Inherit(binding.name.clone()))?,
                }
            }
            bindings.push(binding);
        }
        for old in before {
            let kept = new.keep_bindings.contains(&old.kind);
            if kept && !bindings.iter().any(|binding| binding.name == old.name) {
                bindings.push(old.clone());
            }
        }
        // What is taken over goes along with a new master key, so that nothing new is under an old one.
        for binding in &mut bindings {
            self.reseal_binding(worker, binding)?;
        }
        Ok(bindings)
    }

    /// The text of a version's secret, for the isolate that runs it.
    ///
    /// # Errors
    /// When the binding is no secret, or was sealed under another key.
    pub fn open_secret(&self, worker: Uuid, binding: &BindingRecord) -> StoreResult<Secret> {
        let sealed = binding.sealed().ok_or(StoreError::Sealed)?;
        self.keys().open(&place(worker, &binding.name), sealed)
    }

    /// Seals a binding's secret again, if it is under a former key that is known. Gives whether it was.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub(crate) fn reseal_binding(&self, worker: Uuid, binding: &mut BindingRecord) -> StoreResult<bool> {
        let (keys, place) = (self.keys(), place(worker, &binding.name));
        let Some(sealed) = binding.sealed().filter(|sealed| !keys.is_current(sealed)) else { return Ok(false) };
        // What no key opens stays as it is: its key may be given later.
        let Ok(text) = keys.open(&place, sealed) else { return Ok(false) };
        binding.settings.insert(SEALED.to_owned(), keys.seal(&place, &text)?.into());
        Ok(true)
    }

    /// One version.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn version(&self, worker: Uuid, id: Uuid) -> StoreResult<Option<VersionRecord>> {
        find(self.readers(), worker, id).await
    }

    /// The Worker of a version: its account, its id and its name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn worker_of_version(&self, version: Uuid) -> StoreResult<Option<(String, Uuid, String)>> {
        const FIND: &str = "SELECT workers.account_id, workers.id, workers.name FROM versions JOIN workers ON workers.id = versions.worker_id WHERE versions.id = $1";
        let row = sqlx::query(FIND).bind(version.to_string()).fetch_optional(self.readers()).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((row.try_get("account_id")?, uuid(&row, "id")?, row.try_get("name")?)))
    }

    /// The newest version whose id begins so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn version_by_prefix(&self, worker: Uuid, prefix: &str) -> StoreResult<Option<Uuid>> {
        const FIND: &str = "SELECT id FROM versions WHERE worker_id = $1 AND substr(id, 1, length($2)) = $2 ORDER BY number DESC LIMIT 1";
        self.find_id(FIND, worker, prefix).await
    }

    /// The newest version with an alias.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn version_by_alias(&self, worker: Uuid, alias: &str) -> StoreResult<Option<Uuid>> {
        const FIND: &str = "SELECT id FROM versions WHERE worker_id = $1 AND annotations ->> 'workers/alias' = $2 ORDER BY number DESC LIMIT 1";
        self.find_id(FIND, worker, alias).await
    }

    async fn find_id(&self, statement: &'static str, worker: Uuid, text: &str) -> StoreResult<Option<Uuid>> {
        let row = sqlx::query(statement).bind(worker.to_string()).bind(text).fetch_optional(self.readers()).await?;
        row.as_ref().map(|row| uuid(row, "id")).transpose()
    }

    /// A Worker's newest version.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn latest_version(&self, worker: Uuid) -> StoreResult<Option<VersionRecord>> {
        latest(&mut *self.readers().acquire().await?, worker).await
    }

    /// A Worker's versions, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn versions(&self, worker: Uuid, skip: u32, most: u32) -> StoreResult<Vec<VersionRecord>> {
        let rows = sqlx::query("SELECT * FROM versions WHERE worker_id = $1 ORDER BY number DESC LIMIT $2 OFFSET $3")
            .bind(worker.to_string())
            .bind(most)
            .bind(skip)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(version).collect()
    }

    /// A Worker's deployments, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deployments(&self, worker: Uuid, most: u32) -> StoreResult<Vec<Deployment>> {
        let rows = sqlx::query("SELECT * FROM deployments WHERE worker_id = $1 ORDER BY number DESC LIMIT $2")
            .bind(worker.to_string())
            .bind(most)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(deployment).collect()
    }
}
