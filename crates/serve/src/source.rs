//! The store, as those who run Workers ask it.

use std::collections::HashMap;

use skep_link::wire;
use skep_pool::{Asking, Found, Source};
use skep_store::{FileHash, Opened, Store};
use uuid::Uuid;

/// The store as a source of versions.
pub(crate) struct Stored(pub(crate) Store);

impl Source for Stored {
    fn version(&self, worker: Uuid, version: Uuid) -> Asking<'_, Option<Opened>> {
        Box::pin(async move { Ok(self.0.open_version(worker, version).await?) })
    }

    fn preview<'a>(&'a self, found: &'a Found) -> Asking<'a, Option<Uuid>> {
        Box::pin(async move {
            Ok(match found {
                Found::Worker(_) => None,
                Found::Preview(worker, digits) => self.prefix(worker.id, *digits).await?,
                Found::Alias(worker, alias) => self.0.version_by_alias(worker.id, alias).await?,
            })
        })
    }

    fn asset(&self, hash: String, encoding: String) -> Asking<'_, Option<FileHash>> {
        Box::pin(async move { Ok(self.0.asset_file(&hash, &encoding).await?) })
    }
}

impl Stored {
    async fn prefix(&self, worker: Uuid, digits: u32) -> Result<Option<Uuid>, skep_store::StoreError> {
        self.0.version_by_prefix(worker, &format!("{digits:08x}")).await
    }

    /// A version as it crosses to another process.
    pub(crate) async fn opened(&self, worker: Uuid, version: Uuid) -> Result<Option<wire::Opened>, String> {
        let opened = self.0.open_version(worker, version).await.map_err(|error| error.to_string())?;
        let Some(Opened { record, secrets }) = opened else { return Ok(None) };
        let record = serde_json::to_string(&record).map_err(|error| error.to_string())?;
        let secrets: HashMap<String, String> =
            secrets.into_iter().map(|(name, secret)| (name, secret.reveal().to_owned())).collect();
        Ok(Some(wire::Opened { record, secrets }))
    }

    /// A version at an address of its own.
    pub(crate) async fn previewed(&self, preview: wire::Preview) -> Result<Option<Uuid>, String> {
        let found = match preview {
            wire::Preview::Prefix(worker, digits) => self.prefix(worker, digits).await,
            wire::Preview::Alias(worker, alias) => self.0.version_by_alias(worker, &alias).await,
        };
        found.map_err(|error| error.to_string())
    }
}
