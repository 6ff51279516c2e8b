//! Contents of static assets: which file holds what is known by an asset's hash, as it was uploaded and compressed.
//!
//! An account has what it uploaded itself. So nobody learns from the hash of a file whether somebody else has it.

use std::collections::HashMap;

use sqlx::{Connection as _, Row as _};

use crate::{FileHash, Store, StoreResult, Timestamp};

/// One content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetContent {
    /// The asset's hash: 32 hexadecimal digits.
    pub hash: String,
    /// its content coding, such as `br`; `identity` as it was uploaded.
    pub encoding: String,
    /// The file that holds it.
    pub file: FileHash,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type, if it is known.
    pub content_type: Option<String>,
}

impl Store {
    /// Notes contents that an account has uploaded. Their files are held, and a manifest that lists them is kept
    /// ([`Store::keep_assets`]): what no manifest lists goes again.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](crate::StoreError::Corrupt) when a file is not there.
    pub async fn put_assets(&self, account: &str, contents: &[AssetContent]) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        for content in contents {
            self.expect_file(&mut transaction, &content.file).await?;
            sqlx::query("INSERT INTO asset_contents (account_id, hash, encoding, file, size, content_type) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account_id, hash, encoding) DO UPDATE SET file = excluded.file, size = excluded.size, content_type = excluded.content_type")
                .bind(account)
                .bind(&content.hash)
                .bind(&content.encoding)
                .bind(content.file.as_str())
                .bind(i64::try_from(content.size).unwrap_or(i64::MAX))
                .bind(&content.content_type)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Keeps a manifest, which somebody holds, and every asset of it that the account has or gets, until a time at least: what is
    /// told of the assets afterwards remains true so long. A version that is committed keeps its own for itself.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](crate::StoreError::Corrupt) when the manifest is not there.
    pub async fn keep_assets(&self, account: &str, manifest: &FileHash, until: Timestamp) -> StoreResult<()> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        self.expect_file(&mut transaction, manifest).await?;
        let kept = sqlx::query("UPDATE asset_manifests SET expires_on = CASE WHEN expires_on < $1 THEN $1 ELSE expires_on END WHERE account_id = $2 AND file = $3 AND version_id IS NULL")
            .bind(until)
            .bind(account)
            .bind(manifest.as_str())
            .execute(&mut *transaction)
            .await?;
        if kept.rows_affected() == 0 {
            sqlx::query("INSERT INTO asset_manifests (account_id, file, expires_on) VALUES ($1, $2, $3)")
                .bind(account)
                .bind(manifest.as_str())
                .bind(until)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Those of these assets that an account has, with all their codings. They stay if a manifest that lists them was kept before
    /// ([`Store::keep_assets`]).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn assets_of(&self, account: &str, hashes: &[String]) -> StoreResult<HashMap<String, Vec<AssetContent>>> {
        let mut found = HashMap::<String, Vec<AssetContent>>::new();
        let mut reader = self.readers().acquire().await?;
        for hash in hashes {
            let rows = sqlx::query(
                "SELECT encoding, file, size, content_type FROM asset_contents WHERE account_id = $1 AND hash = $2",
            )
            .bind(account)
            .bind(hash)
            .fetch_all(&mut *reader)
            .await?;
            for row in rows {
                let file: String = row.try_get("file")?;
                let Ok(file) = FileHash::try_from(file) else { continue };
                let content = AssetContent {
                    hash: hash.clone(),
                    encoding: row.try_get("encoding")?,
                    file,
                    size: u64::try_from(row.try_get::<i64, _>("size")?).unwrap_or(0),
                    content_type: row.try_get("content_type")?,
                };
                found.entry(hash.clone()).or_default().push(content);
            }
        }
        Ok(found)
    }

    /// The file of an asset in a coding, whoever uploaded it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn asset_file(&self, hash: &str, encoding: &str) -> StoreResult<Option<FileHash>> {
        let row = sqlx::query("SELECT file FROM asset_contents WHERE hash = $1 AND encoding = $2 LIMIT 1")
            .bind(hash)
            .bind(encoding)
            .fetch_optional(self.readers())
            .await?;
        let file = row.map(|row| row.try_get::<String, _>("file")).transpose()?;
        Ok(file.and_then(|file| FileHash::try_from(file).ok()))
    }
}
