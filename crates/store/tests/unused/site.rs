//! A store in a folder of its own, and uploads as the control plane does them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use skep_store::{
    Account, Actor, Annotations, AssetContent, AssetsRecord, Committed, Content, FileHash, Hold, MasterKeys,
    ModuleKind, NewVersion, Store, StoreError, StoreResult, StoredModule,
};
use sqlx::ConnectOptions as _;
use tempfile::TempDir;
use tokio::sync::RwLock;

/// A time that does not come, in milliseconds since 1970.
const NEVER: i64 = i64::MAX;

#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) folder: PathBuf,
    /// Removes the folder in the end, if it is this one's own.
    pub(crate) _own: Option<Arc<TempDir>>,
    pub(crate) store: Store,
    pub(crate) account: Account,
    /// Whoever changes the database beside the store waits until nobody else does.
    pub(crate) beside: Arc<RwLock<()>>,
}

pub(crate) fn keys() -> MasterKeys {
    // Nothing is sealed here.
    MasterKeys::parse([MasterKeys::generate().reveal()]).expect("a key")
}

impl Site {
    pub(crate) async fn new() -> Self {
        let own = TempDir::new().expect("a folder");
        let store = Store::open(own.path(), keys()).await.expect("a store");
        let account = store.create_account("test", "Skep", "dev").await.expect("an account");
        let folder = own.path().to_owned();
        Self { folder, _own: Some(Arc::new(own)), store, account, beside: Arc::default() }
    }

    /// The site whose folder this is.
    pub(crate) async fn of(folder: PathBuf) -> Self {
        let store = Store::open(&folder, keys()).await.expect("a store");
        let account = store.accounts().await.expect("read").remove(0);
        Self { folder, _own: None, store, account, beside: Arc::default() }
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::platform(&self.account.id, "test")
    }

    /// Uploads a Worker of one module as another version, and does not deploy it.
    pub(crate) async fn upload(&self, name: &str, source: &str) -> StoreResult<Committed> {
        let hold = self.store.hold();
        let new = version(content(&hold, source)?);
        self.store.commit_version(&self.actor(), name, new, None).await
    }

    /// Uploads static assets for a Worker: their manifest is kept, and those are uploaded that are missing.
    pub(crate) async fn upload_assets(&self, name: &str, texts: &[&str]) -> StoreResult<()> {
        let hold = self.store.hold();
        let sent = hold.write(&manifest(name, texts, None))?;
        self.store.keep_assets(&self.account.id, &sent, NEVER).await?;
        let hashes: Vec<String> = texts.iter().map(|text| asset(text)).collect();
        let there = self.store.assets_of(&self.account.id, &hashes).await?;
        for text in texts.iter().filter(|text| !there.contains_key(&asset(text))) {
            let content = AssetContent {
                hash: asset(text),
                encoding: "identity".to_owned(),
                file: hold.write(text.as_bytes())?,
                size: text.len() as u64,
                content_type: None,
            };
            self.store.put_assets(&self.account.id, &[content]).await?;
        }
        Ok(())
    }

    /// Commits a version of static assets that were uploaded.
    pub(crate) async fn commit_assets(&self, name: &str, texts: &[&str]) -> StoreResult<Committed> {
        let hashes: Vec<String> = texts.iter().map(|text| asset(text)).collect();
        let there = self.store.assets_of(&self.account.id, &hashes).await?;
        assert_eq!(there.len(), texts.len(), "what was said to be there is there");
        let hold = self.store.hold();
        let manifest = hold.write(&manifest(name, texts, Some("text/plain")))?;
        self.store.keep_assets(&self.account.id, &manifest, NEVER).await?;
        let mut content = content(&hold, "export default 0")?;
        content.assets = Some(AssetsRecord { manifest, config: json!({}) });
        self.store.commit_version(&self.actor(), name, version(content), None).await
    }

    /// Lets the sessions expire in which these assets were uploaded for a Worker.
    pub(crate) async fn expire(&self, name: &str, texts: &[&str]) {
        let _alone = self.beside.write().await;
        let mut connection = database(&self.folder).connect().await.expect("a connection");
        for content_type in [None, Some("text/plain")] {
            sqlx::query("UPDATE asset_manifests SET expires_on = 1 WHERE version_id IS NULL AND file = $1")
                .bind(FileHash::of(&manifest(name, texts, content_type)).as_str())
                .execute(&mut connection)
                .await
                .expect("changed");
        }
    }

    /// Reads everything that versions consist of. Gives how many versions there are.
    pub(crate) async fn read_all(&self) -> Result<usize, StoreError> {
        let mut count = 0;
        for worker in self.store.workers(&self.account.id, 0, 1000).await? {
            for version in self.store.versions(worker.id, 0, 1000).await? {
                count += 1;
                let files: Vec<FileHash> = version.content.files().cloned().collect();
                let read = self.store.with_files(move |all| files.iter().try_for_each(|file| all.read(file).map(drop)));
                read.await?;
                let Some(assets) = version.content.assets else { continue };
                let listed = self.store.with_files(move |all| all.read(&assets.manifest)).await?;
                let listed: serde_json::Map<_, _> = serde_json::from_slice(&listed).expect("a manifest");
                for entry in listed.values() {
                    let hash = entry["hash"].as_str().expect("a hash");
                    let file = self.store.asset_file(hash, "identity").await?.expect("an asset");
                    self.store.with_files(move |all| all.read(&file)).await?;
                }
            }
        }
        Ok(count)
    }

    /// Whether there is a file with this content.
    pub(crate) fn has(&self, content: &str) -> bool {
        let name = FileHash::of(content.as_bytes());
        self.folder.join("files").join(&name.as_str()[..2]).join(name.as_str()).exists()
    }

    /// Changes what the store has, without it.
    pub(crate) async fn change(&self, statement: &'static str) {
        let mut connection = database(&self.folder).connect().await.expect("a connection");
        sqlx::query(statement).execute(&mut connection).await.expect("changed");
    }
}

pub(crate) fn database(folder: &Path) -> sqlx::sqlite::SqliteConnectOptions {
    sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("skep.db")).create_if_missing(true)
}

/// The hash of an asset.
pub(crate) fn asset(text: &str) -> String {
    FileHash::of(text.as_bytes()).as_str()[..32].to_owned()
}

/// A Worker's manifest of assets, one for each text.
pub(crate) fn manifest(name: &str, texts: &[&str], content_type: Option<&str>) -> Vec<u8> {
    let entry = |(number, text): (usize, &&str)| {
        let path = format!("/{name}/{number}.txt");
        (path, json!({ "hash": asset(text), "size": text.len(), "content_type": content_type }))
    };
    let manifest: serde_json::Map<_, _> = texts.iter().enumerate().map(entry).collect();
    serde_json::to_vec(&manifest).expect("JSON")
}

/// One module, its source map and its code cache.
pub(crate) fn content(hold: &Hold, source: &str) -> StoreResult<Content> {
    let module = StoredModule {
        name: "index.js".to_owned(),
        kind: ModuleKind::Script,
        file: hold.write(source.as_bytes())?,
        source_map: Some(hold.write(format!("map of {source}").as_bytes())?),
        code: Some(hold.write(format!("code of {source}").as_bytes())?),
    };
    Ok(Content {
        main: "index.js".to_owned(),
        service_worker: false,
        modules: vec![module],
        compatibility_date: Some("2025-06-01".to_owned()),
        compatibility_flags: Vec::new(),
        cpu_ms: None,
        handlers: vec!["fetch".to_owned()],
        startup_time_ms: 1,
        assets: None,
        other: serde_json::Map::new(),
    })
}

pub(crate) fn version(content: Content) -> NewVersion {
    NewVersion { content, bindings: Vec::new(), keep_bindings: Vec::new(), annotations: Annotations::default() }
}
