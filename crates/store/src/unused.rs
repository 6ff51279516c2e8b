//! Removing what nobody needs any more: files and assets of Workers that were deleted, of uploads that failed, of upload
//! sessions that were given up.
//!
//! First assets are forgotten that no kept manifest lists, then files are removed to which no row refers. Both go in small steps
//! beside uploads: what was found is looked at again when the writer is held, so that nothing is committed meanwhile, and
//! what somebody holds stays ([`Hold`](crate::Hold)). A row always goes before its file: after a crash there is a file too much at
//! most, which is found the next time.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Deserialize;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use crate::records::now;
use crate::uses::{Use, use_of};
use crate::{FileHash, Store, StoreError, StoreResult, Timestamp};

/// Files or assets that are looked at or removed in one step.
const STEP: usize = 50;
/// Manifests that are looked up in one step.
const MANIFESTS: u32 = 100;
/// Assets of an account that are compared with its manifests at a time. Each time reads all of its manifests.
const MOST_ASSETS: u32 = 100_000;
/// How often new manifests may come in between before an account's assets are left for the next time.
const PATIENCE: u32 = 20;

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Names of manifests that cannot be read. All assets of their accounts are still there.
    pub unreadable: Vec<String>,
}

/// Those of an account's assets that no manifest was found to list.
struct Unlisted {
    account: String,
    hashes: HashSet<String>,
    /// The number of the last manifest that was looked at.
    seen: i64,
}

/// An entry of a manifest, as far as it is needed here.
#[derive(Deserialize)]
struct Listed {
    hash: String,
}

impl Store {
    /// Removes the files that nobody needs, and has not needed since they were first found so, at least this long ago. For calling now
    /// and then.
    ///
    /// # Errors
    /// When the database fails, or a file cannot be removed. What was removed before is.
    pub async fn remove_unused(&self, unused_for: Duration) -> StoreResult<Removed> {
        self.end_asset_sessions().await?;
        let mut removed = Removed { unreadable: self.forget_assets().await?, ..Removed::default() };
        for folder in 0..=u8::MAX {
            let files = self.with_files(move |files| files.list(&format!("{folder:02x}"))).await?;
            for step in files.chunks(STEP) {
                let (files, bytes) = self.remove_unused_of(step, unused_for).await?;
                removed.files += files;
                removed.bytes += bytes;
            }
        }
        Ok(removed)
    }

    /// Forgets manifests that were kept until now only.
    async fn end_asset_sessions(&self) -> StoreResult<()> {
        const END: &str = "DELETE FROM asset_manifests WHERE number IN (SELECT number FROM asset_manifests WHERE expires_on < $1 LIMIT $2)";
        loop {
            let mut writer = self.write().await;
            let ended = sqlx::query(END).bind(now()).bind(MANIFESTS).execute(&mut *writer).await?;
            if ended.rows_affected() < u64::from(MANIFESTS) {
                return Ok(());
            }
        }
    }

    /// Forgets assets that no manifest of their account lists. Gives the names of manifests that cannot be read.
    async fn forget_assets(&self) -> StoreResult<Vec<String>> {
        const NEXT: &str = "SELECT account_id FROM asset_contents WHERE account_id > $1 ORDER BY account_id LIMIT 1";
        let (mut account, mut unreadable) = (String::new(), Vec::new());
        while let Some(row) = sqlx::query(NEXT).bind(&account).fetch_optional(self.readers()).await? {
            account = row.try_get("account_id")?;
            match self.forget_assets_of(&account).await {
                Ok(()) => {}
                Err(StoreError::Corrupt { name }) => unreadable.push(name),
                Err(error) => return Err(error),
            }
        }
        Ok(unreadable)
    }

    async fn forget_assets_of(&self, account: &str) -> StoreResult<()> {
        const PAGE: &str =
            "SELECT DISTINCT hash FROM asset_contents WHERE account_id = $1 AND hash > $2 ORDER BY hash LIMIT $3";
        let mut from = String::new();
        loop {
            let page = sqlx::query(PAGE).bind(account).bind(&from).bind(MOST_ASSETS);
            let rows = page.fetch_all(self.readers()).await?;
            let hashes = rows.iter().map(|row| row.try_get("hash")).collect::<Result<Vec<String>, _>>()?;
            match hashes.last() {
                Some(last) => from.clone_from(last),
                None => return Ok(()),
            }
            let mut unlisted = Unlisted { account: account.to_owned(), hashes: hashes.into_iter().collect(), seen: 0 };
            self.leave_listed(&mut unlisted).await?;
            self.forget(unlisted).await?;
        }
    }

    /// Takes those assets out that manifests list which were not looked at yet.
    async fn leave_listed(&self, unlisted: &mut Unlisted) -> StoreResult<()> {
        const NEXT: &str =
            "SELECT number, file FROM asset_manifests WHERE account_id = $1 AND number > $2 ORDER BY number LIMIT $3";
        let mut read = HashSet::new();
        while !unlisted.hashes.is_empty() {
            let next = sqlx::query(NEXT).bind(&unlisted.account).bind(unlisted.seen).bind(MANIFESTS);
            let rows = next.fetch_all(self.readers()).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                unlisted.seen = row.try_get("number")?;
                let file: String = row.try_get("file")?;
                // Most versions of a Worker have the same one.
                if read.insert(file.clone()) {
                    for listed in self.assets_listed_by(file).await? {
                        unlisted.hashes.remove(&listed);
                    }
                }
            }
        }
        Ok(())
    }

    /// The assets that a manifest lists.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it cannot be read.
    async fn assets_listed_by(&self, manifest: String) -> StoreResult<Vec<String>> {
        self.with_files(move |files| {
            let corrupt = || StoreError::Corrupt { name: manifest.clone() };
            let bytes = files.read(&FileHash::try_from(manifest.clone()).map_err(|_| corrupt())?)?;
            let listed: HashMap<String, Listed> = serde_json::from_slice(&bytes).map_err(|_| corrupt())?;
            Ok(listed.into_values().map(|listed| listed.hash).collect())
        })
        .await
    }

    /// Forgets assets, unless manifests that come meanwhile list them.
    async fn forget(&self, mut unlisted: Unlisted) -> StoreResult<()> {
        let mut patience = PATIENCE;
        while !unlisted.hashes.is_empty() && patience > 0 {
            let step: Vec<String> = unlisted.hashes.iter().take(STEP).cloned().collect();
            if self.try_forget(&unlisted, &step).await? {
                unlisted.hashes.retain(|hash| !step.contains(hash));
            } else {
                patience -= 1;
                self.leave_listed(&mut unlisted).await?;
            }
        }
        Ok(())
    }

    /// Forgets some assets, or gives `false` if there is a manifest that was not looked at.
    async fn try_forget(&self, unlisted: &Unlisted, hashes: &[String]) -> StoreResult<bool> {
        const NEWER: &str = "SELECT 1 FROM asset_manifests WHERE account_id = $1 AND number > $2 LIMIT 1";
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let newer = sqlx::query(NEWER).bind(&unlisted.account).bind(unlisted.seen);
        if newer.fetch_optional(&mut *transaction).await?.is_some() {
            return Ok(false);
        }
        for hash in hashes {
            sqlx::query("DELETE FROM asset_contents WHERE account_id = $1 AND hash = $2")
                .bind(&unlisted.account)
                .bind(hash)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Removes those of some files that have not been used for so long, and notes when the others were first found unused. Gives how
    /// many, and their bytes.
    async fn remove_unused_of(&self, files: &[FileHash], unused_for: Duration) -> StoreResult<(u64, u64)> {
        let time = now();
        let latest = time.saturating_sub(Timestamp::try_from(unused_for.as_millis()).unwrap_or(Timestamp::MAX));
        // Most are in use, or have been found unused: who writes is not held up for those.
        let mut reader = self.readers().acquire().await?;
        let mut found = Vec::new();
        for file in files {
            match use_of(&mut reader, file).await? {
                Use::Unused(since) if since.is_none_or(|since| since <= latest) => found.push(file),
                Use::Unused(_) | Use::Used => {}
            }
        }
        drop(reader);
        if found.is_empty() {
            return Ok((0, 0));
        }
        let mut writer = self.write_elsewhere().await;
        let mut transaction = writer.begin().await?;
        let mut due = Vec::new();
        for file in found {
            match use_of(&mut transaction, file).await? {
                Use::Unused(since) if since.unwrap_or(time) <= latest => due.push(file.clone()),
                Use::Unused(None) => note_unused(&mut transaction, file, time).await?,
                Use::Unused(Some(_)) | Use::Used => {}
            }
        }
        for file in &due {
            sqlx::query("DELETE FROM unused_files WHERE file = $1")
                .bind(file.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        // The writer goes along: nothing is committed before they are gone, also if nobody waits for that.
        self.with_files(move |files| {
            let removed = files.remove_unheld(&due);
            drop(writer);
            removed
        })
        .await
    }
}

/// Notes that a file was found unused.
async fn note_unused(transaction: &mut SqliteConnection, file: &FileHash, time: Timestamp) -> StoreResult<()> {
    sqlx::query("INSERT INTO unused_files (file, since) VALUES ($1, $2)")
        .bind(file.as_str())
        .bind(time)
        .execute(transaction)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Unlisted;
    use crate::{AssetContent, MasterKeys, Store};

    #[tokio::test]
    async fn a_manifest_that_comes_in_between_keeps_its_assets() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = MasterKeys::parse([MasterKeys::generate().reveal()]).expect("a key");
        let store = Store::open(folder.path(), keys).await.expect("a store");
        let account = store.create_account("test", "Skep", "dev").await.expect("an account").id;
        let hold = store.hold();
        let hashes = ["1".repeat(32), "2".repeat(32)];
        for hash in &hashes {
            let file = hold.write(hash.as_bytes()).expect("written");
            let encoding = "identity".to_owned();
            let content = AssetContent { hash: hash.clone(), encoding, file, size: 32, content_type: None };
            store.put_assets(&account, &[content]).await.expect("noted");
        }
        let mut unlisted = Unlisted { account: account.clone(), hashes: HashSet::from(hashes.clone()), seen: 0 };
        store.leave_listed(&mut unlisted).await.expect("read");
        assert_eq!(unlisted.hashes.len(), 2, "no manifest lists them");

        // A session opens, and is told that one of them is there.
        let manifest = format!(r#"{{ "/index.html": {{ "hash": "{}", "size": 32 }} }}"#, hashes[0]);
        let manifest = hold.write(manifest.as_bytes()).expect("written");
        store.keep_assets(&account, &manifest, i64::MAX).await.expect("kept");
        store.forget(unlisted).await.expect("forgotten");
        let there = store.assets_of(&account, &hashes).await.expect("read");
        assert_eq!(there.into_keys().collect::<Vec<_>>(), hashes[..1]);
    }
}
