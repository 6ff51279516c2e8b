//! Workers as a whole.

use ::http::Method;
use serde::Deserialize;
use serde_json::{Value, json as value};

use super::{Api, Root, Sent, WorkerAddress, json, segment};
use crate::error::{Result, if_there};
use crate::form::Form;

/// What the API says of a Worker that was uploaded and deployed at once.
#[derive(Debug, Deserialize)]
pub(crate) struct Uploaded {
    /// The version's id, without hyphens.
    pub(crate) deployment_id: String,
    #[serde(default)]
    pub(crate) startup_time_ms: u64,
}

#[derive(Deserialize)]
struct Addresses {
    #[serde(default)]
    subdomain: WorkerAddress,
}

/// A Worker that exists.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    /// The tag of the last migration of its Durable Objects.
    pub migration_tag: Option<String>,
}

impl Api {
    /// A Worker, if it exists.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn worker(&self, worker: &str) -> Result<Option<Worker>> {
        let found = self.get::<Value>(Root::Account, &format!("/workers/services/{}", segment(worker))).await;
        let tag = |found: Value| {
            let tag = found.pointer("/default_environment/script/migration_tag").and_then(Value::as_str);
            Worker { migration_tag: tag.map(str::to_owned) }
        };
        Ok(if_there(found)?.map(tag))
    }

    /// The names of all Workers.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn workers(&self) -> Result<Vec<String>> {
        let scripts: Vec<Value> = self.list(Root::Account, "/workers/scripts").await?;
        Ok(scripts.iter().filter_map(|script| script.get("id")?.as_str().map(str::to_owned)).collect())
    }

    /// A Worker's own address.
    ///
    /// # Errors
    /// When there is no such Worker.
    pub async fn worker_address(&self, worker: &str) -> Result<WorkerAddress> {
        let found: Addresses = self.get(Root::Account, &format!("/workers/workers/{}", segment(worker))).await?;
        Ok(found.subdomain)
    }

    /// Lets a Worker answer at its own address, or not.
    pub(crate) async fn put_worker_address(&self, worker: &str, enabled: bool, previews: bool) -> Result<()> {
        let sent = json(value!({ "enabled": enabled, "previews_enabled": previews }));
        let path = format!("/workers/scripts/{}/subdomain", segment(worker));
        self.send::<Value>(Method::POST, Root::Account, &path, sent).await.map(drop)
    }

    /// Uploads a Worker and deploys it at once.
    pub(crate) async fn upload(&self, worker: &str, form: Form) -> Result<Uploaded> {
        let path = format!("/workers/scripts/{}?bindings_inherit=strict", segment(worker));
        self.send(Method::PUT, Root::Account, &path, Sent::Form(form)).await
    }

    /// The Workers that call a Worker.
    ///
    /// # Errors
    /// When there is no such Worker.
    pub async fn callers(&self, worker: &str) -> Result<Vec<String>> {
        let path = format!("/workers/scripts/{}/references", segment(worker));
        let references: Value = self.get(Root::Account, &path).await?;
        let incoming = references.pointer("/services/incoming").and_then(Value::as_array);
        let name = |caller: &Value| caller.get("service").and_then(Value::as_str).map(str::to_owned);
        Ok(incoming.into_iter().flatten().filter_map(name).collect())
    }

    /// Deletes a Worker with all its versions. `force` also if others call it.
    ///
    /// # Errors
    /// When there is none, or others call it.
    pub async fn delete_worker(&self, worker: &str, force: bool) -> Result<()> {
        let path = format!("/workers/services/{}?force={force}", segment(worker));
        self.send::<Value>(Method::DELETE, Root::Account, &path, Sent::Nothing).await.map(drop)
    }
}

/// What a Worker answers that has secrets and no code yet.
const EMPTY: &str =
    "export default { fetch: () => new Response(\"This Worker is not deployed yet.\\n\", { status: 404 }) };\n";

impl Api {
    /// Makes a Worker that has no code yet, so that secrets can be put. Nothing of it is deployed.
    ///
    /// # Errors
    /// When it cannot be called so.
    pub async fn create_empty_worker(&self, worker: &str) -> Result<()> {
        let metadata = value!({ "main_module": "index.js", "compatibility_date": "2026-01-01" });
        let form = Form::default().field("metadata", metadata.to_string()).file(
            "index.js",
            "application/javascript+module",
            EMPTY,
        );
        self.upload_version(worker, form).await.map(drop)
    }
}
