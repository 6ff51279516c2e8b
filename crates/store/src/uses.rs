//! Which files are in use: what a version consists of, what holds an asset, what a manifest is kept in.
//!
//! A row that refers to a file is written only when the file is there. Files are removed only by who holds the writer, as
//! whoever writes rows does: so no row is left without its file.

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::{AssetsRecord, FileHash, Store, StoreError, StoreResult, VersionRecord};

/// What is known of a file's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A row refers to it.
    Used,
    /// No row does, and it was found so at this time, in milliseconds since 1970; or nobody has looked yet.
    Unused(Option<i64>),
}

/// How a file is used, as the rows have it.
pub(crate) async fn use_of(connection: &mut SqliteConnection, file: &FileHash) -> StoreResult<Use> {
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM version_files WHERE file = $1) \
         OR EXISTS (SELECT 1 FROM asset_contents WHERE file = $1) \
         OR EXISTS (SELECT 1 FROM asset_manifests WHERE file = $1) AS used, \
         (SELECT since FROM unused_files WHERE file = $1) AS since",
    )
    .bind(file.as_str())
    .fetch_one(connection)
    .await?;
    Ok(if row.try_get("used")? { Use::Used } else { Use::Unused(row.try_get("since")?) })
}

impl Store {
    /// Checks that a file is there which a row is going to refer to.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is not.
    pub(crate) async fn expect_file(&self, transaction: &mut SqliteConnection, file: &FileHash) -> StoreResult<()> {
        if !self.files().is_there(file) {
            return Err(StoreError::Corrupt { name: format!("{file} (it is missing)") });
        }
        sqlx::query("DELETE FROM unused_files WHERE file = $1").bind(file.as_str()).execute(transaction).await?;
        Ok(())
    }

    /// Notes the files and the assets of a version whose row is written.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a file is not there, [`StoreError::Conflict`] when nobody keeps its assets.
    pub(crate) async fn note_files_of(
        &self,
        transaction: &mut SqliteConnection,
        account: &str,
        version: &VersionRecord,
    ) -> StoreResult<()> {
        let id = version.id.to_string();
        for file in version.content.files() {
            self.expect_file(transaction, file).await?;
            sqlx::query("INSERT INTO version_files (file, version_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(file.as_str())
                .bind(&id)
                .execute(&mut *transaction)
                .await?;
        }
        match &version.content.assets {
            Some(assets) => note_assets(transaction, account, &id, assets).await,
            None => Ok(()),
        }
    }
}

/// Notes that a version keeps a manifest. All of its assets are there if another version keeps it, or whoever is committing this
/// one has seen to it and keeps it ([`Store::keep_assets`]). Otherwise its Worker was deleted meanwhile.
async fn note_assets(
    transaction: &mut SqliteConnection,
    account: &str,
    version: &str,
    assets: &AssetsRecord,
) -> StoreResult<()> {
    let kept = sqlx::query("SELECT 1 FROM asset_manifests WHERE account_id = $1 AND file = $2 LIMIT 1")
        .bind(account)
        .bind(assets.manifest.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
    if kept.is_none() {
        let message = "the static assets of this version are not kept any more: upload them again";
        return Err(StoreError::Conflict(message.to_owned()));
    }
    sqlx::query("INSERT INTO asset_manifests (account_id, file, version_id) VALUES ($1, $2, $3)")
        .bind(account)
        .bind(assets.manifest.as_str())
        .bind(version)
        .execute(transaction)
        .await?;
    Ok(())
}
