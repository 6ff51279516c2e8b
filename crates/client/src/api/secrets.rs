//! Secrets: put, listed by name, deleted; never read.

use ::http::Method;
use serde_json::{Map, Value, json as value};
use skep_worker::Secret;

use super::{Api, Root, SecretName, Sent, json, segment};
use crate::error::Result;

impl Api {
    /// The names of a Worker's secrets.
    ///
    /// # Errors
    /// When there is no such Worker.
    pub async fn secrets(&self, worker: &str) -> Result<Vec<SecretName>> {
        self.get(Root::Account, &format!("/workers/scripts/{}/secrets", segment(worker))).await
    }

    /// Puts a secret: makes a version with it and deploys it.
    ///
    /// # Errors
    /// When there is no such Worker, or another version than its newest is deployed.
    pub async fn put_secret(&self, worker: &str, name: &str, text: &Secret) -> Result<()> {
        let sent = json(value!({ "name": name, "text": text.reveal(), "type": "secret_text" }));
        let path = format!("/workers/scripts/{}/secrets", segment(worker));
        self.send::<Value>(Method::PUT, Root::Account, &path, sent).await.map(drop)
    }

    /// Deletes a secret.
    ///
    /// # Errors
    /// When there is none.
    pub async fn delete_secret(&self, worker: &str, name: &str) -> Result<()> {
        let path = format!("/workers/scripts/{}/secrets/{}?url_encoded=true", segment(worker), segment(name));
        self.send::<Value>(Method::DELETE, Root::Account, &path, Sent::Nothing).await.map(drop)
    }

    /// Puts several secrets, and deletes those without a text, all in one version.
    ///
    /// # Errors
    /// As [`Api::put_secret`].
    pub async fn put_secrets(&self, worker: &str, secrets: &[(String, Option<Secret>)]) -> Result<()> {
        let entry = |(name, text): &(String, Option<Secret>)| {
            let put = |text: &Secret| value!({ "name": name, "text": text.reveal(), "type": "secret_text" });
            (name.clone(), text.as_ref().map_or(Value::Null, put))
        };
        let sent: Map<String, Value> = secrets.iter().map(entry).collect();
        let path = format!("/workers/scripts/{}/secrets-bulk", segment(worker));
        self.send::<Value>(Method::PATCH, Root::Account, &path, json(value!({ "secrets": sent }))).await.map(drop)
    }
}
