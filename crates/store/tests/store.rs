//! The store as its users see it: what is committed is there after it was opened again, and who listens is told.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use skep_store::{
    Account, Actor, Annotations, BindingRecord, Change, Content, MasterKeys, ModuleKind, NewDeployment, NewToken,
    NewVersion, Node, Permission, Share, Store, StoreError, StoredModule, Upload,
};
use skep_worker::Secret;
use tempfile::TempDir;

struct Site {
    folder: TempDir,
    key: Secret,
    store: Store,
    account: Account,
}

impl Site {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let key = MasterKeys::generate();
        let store = open(folder.path(), &[&key]).await;
        let account = store.create_account("test", "Skep", "dev").await.expect("an account");
        Self { folder, key, store, account }
    }

    fn actor(&self) -> Actor {
        Actor::platform(&self.account.id, "test")
    }

    /// Opens the same data again, as a restart does.
    async fn again(&self) -> Store {
        open(self.folder.path(), &[&self.key]).await
    }
}

async fn open(folder: &Path, keys: &[&Secret]) -> Store {
    let keys = MasterKeys::parse(keys.iter().map(|key| key.reveal())).expect("keys");
    Store::open(folder, keys).await.expect("a store")
}

/// A version of one module.
fn version(store: &Store, source: &str, bindings: Vec<BindingRecord>) -> NewVersion {
    let file = store.hold().write(source.as_bytes()).expect("written");
    let content = Content {
        main: "index.js".to_owned(),
        service_worker: false,
        modules: vec![StoredModule {
            name: "index.js".to_owned(),
            kind: ModuleKind::Script,
            file,
            source_map: None,
            code: None,
        }],
        compatibility_date: Some("2025-06-01".to_owned()),
        compatibility_flags: Vec::new(),
        cpu_ms: None,
        handlers: vec!["fetch".to_owned()],
        startup_time_ms: 1,
        assets: None,
        other: serde_json::Map::new(),
    };
    NewVersion { content, bindings, keep_bindings: Vec::new(), annotations: Annotations::default() }
}

fn binding(kind: &str, name: &str) -> BindingRecord {
    BindingRecord { name: name.to_owned(), kind: kind.to_owned(), settings: serde_json::Map::new() }
}

#[tokio::test]
async fn what_is_committed_is_there_after_a_restart() {
    let site = Site::new().await;
    let actor = site.actor();
    let first = version(&site.store, "export default 1", vec![BindingRecord::secret("TOKEN", "hunter2")]);
    let first =
        site.store.commit_version(&actor, "hello", first, Some(Annotations::default())).await.expect("committed");
    assert_eq!((first.version.number, first.worker.live.len()), (1, 1));
    let second = version(&site.store, "export default 2", vec![binding("inherit", "TOKEN")]);
    let second = site.store.commit_version(&actor, "hello", second, None).await.expect("committed");
    assert_eq!(second.worker.live[0].version_id, first.version.id);
    let shares = vec![
        Share { version_id: first.version.id, percentage: 90.0 },
        Share { version_id: second.version.id, percentage: 10.0 },
    ];
    let new = NewDeployment { versions: shares.clone(), annotations: Annotations::default() };
    site.store.deploy(&actor, "hello", new).await.expect("deployed");

    let store = site.again().await;
    let worker = store.worker(&site.account.id, "hello").await.expect("read").expect("a Worker");
    assert_eq!(worker.live, shares);
    let kept = store.version(worker.id, second.version.id).await.expect("read").expect("a version");
    let opened = store.open_version(kept.worker_id, kept.id).await.expect("read").expect("there");
    let loaded = opened.describe("hello", store.files().modules(&kept).expect("read")).expect("loaded");
    assert!(format!("{:?}", loaded.bindings).contains("hidden"));
    assert_eq!(store.open_secret(worker.id, &kept.bindings[0]).expect("opened").reveal(), "hunter2");
    assert!(!serde_json::to_string(&kept.bindings[0].shown()).expect("JSON").contains("sealed"));
    assert_eq!(store.deployments(worker.id, 10).await.expect("read").len(), 2);
    let actions: Vec<String> =
        store.audit(&site.account.id, None, 10).await.expect("read").into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["worker.deploy", "version.upload", "worker.deploy", "version.upload", "account.create"]);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let site = Site::new().await;
    let actor = site.actor();
    let orphan = version(&site.store, "export default 1", vec![binding("inherit", "TOKEN")]);
    let refused = site.store.commit_version(&actor, "hello", orphan, Some(Annotations::default())).await;
    assert!(matches!(refused, Err(StoreError::Inherit(name)) if name == "TOKEN"));
    assert!(site.store.worker(&site.account.id, "hello").await.expect("read").is_none());

    let good = version(&site.store, "export default 1", Vec::new());
    let good = site.store.commit_version(&actor, "hello", good, None).await.expect("committed");
    let share = |percentage| Share { version_id: good.version.id, percentage };
    for versions in [vec![], vec![share(50.0)], vec![share(50.0), share(50.0)], vec![share(-1.0)]] {
        let new = NewDeployment { versions, annotations: Annotations::default() };
        assert!(matches!(site.store.deploy(&actor, "hello", new).await, Err(StoreError::Invalid(_))));
    }
    let unknown = Share { version_id: uuid::Uuid::from_u128(1), percentage: 100.0 };
    let new = NewDeployment { versions: vec![unknown], annotations: Annotations::default() };
    assert!(matches!(site.store.deploy(&actor, "hello", new).await, Err(StoreError::NotFound(_))));
    assert!(matches!(site.store.delete_worker(&actor, "other").await, Err(StoreError::NotFound(_))));
    let again = site.store.create_account("test", "Two", "dev").await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
}

#[tokio::test]
async fn who_listens_is_told_before_a_change_is_acknowledged() {
    let site = Site::new().await;
    let actor = site.actor();
    let new = version(&site.store, "export default 1", Vec::new());
    site.store.commit_version(&actor, "before", new, Some(Annotations::default())).await.expect("committed");
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hearing = Arc::clone(&heard);
    let listen = move |changes: &[Change]| {
        let texts = changes.iter().map(|change| match change {
            Change::Worker(worker) => format!("{} {}", worker.name, worker.deployment.len()),
            Change::Deleted { .. } => "deleted".to_owned(),
        });
        hearing.lock().expect("a lock").extend(texts);
    };
    site.store.subscribe(listen).await.expect("subscribed");
    let new = version(&site.store, "export default 2", Vec::new());
    site.store.commit_version(&actor, "after", new, None).await.expect("committed");
    assert_eq!(*heard.lock().expect("a lock"), ["before 1", "after 0"]);
    site.store.delete_worker(&actor, "after").await.expect("deleted");
    assert_eq!(heard.lock().expect("a lock").last().map(String::as_str), Some("deleted"));
    let upload = |name: &str, deploy| Upload {
        worker: name.to_owned(),
        version: version(&site.store, "export default 3", Vec::new()),
        deploy,
    };
    let many = vec![upload("one", Some(Annotations::default())), upload("two", None), upload("one", None)];
    site.store.commit_versions(&actor, many).await.expect("committed");
    assert_eq!(heard.lock().expect("a lock")[3..], ["one 1", "two 0", "one 1"]);
    let orphan = version(&site.store, "export default 4", vec![binding("inherit", "TOKEN")]);
    let orphan = Upload { worker: "three".to_owned(), version: orphan, deploy: None };
    let refused = site.store.commit_versions(&actor, vec![upload("three", None), orphan]).await;
    assert!(matches!(refused, Err(StoreError::Inherit(_))));
    assert!(site.store.worker(&site.account.id, "three").await.expect("read").is_none(), "all or nothing");
    assert_eq!(heard.lock().expect("a lock").len(), 6);
}

#[tokio::test]
async fn secrets_are_sealed_and_can_be_sealed_anew() {
    let site = Site::new().await;
    let actor = site.actor();
    let new = version(&site.store, "export default 1", vec![BindingRecord::secret("TOKEN", "hunter2")]);
    let made = site.store.commit_version(&actor, "hello", new, None).await.expect("committed");
    for entry in
        std::fs::read_dir(site.folder.path()).expect("a folder").flatten().filter(|entry| entry.path().is_file())
    {
        let bytes = std::fs::read(entry.path()).expect("a file");
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{:?} has the secret", entry.path());
    }
    let newer = MasterKeys::generate();
    let both = open(site.folder.path(), &[&newer, &site.key]).await;
    assert_eq!(both.reseal().await.expect("sealed again").secrets, 1);
    assert_eq!(both.reseal().await.expect("sealed again").secrets, 0);
    let only = open(site.folder.path(), &[&newer]).await;
    let kept = only.version(made.worker.id, made.version.id).await.expect("read").expect("a version");
    assert_eq!(only.open_secret(made.worker.id, &kept.bindings[0]).expect("opened").reveal(), "hunter2");
    let lost = site.again().await;
    assert!(matches!(lost.open_secret(made.worker.id, &kept.bindings[0]), Err(StoreError::Sealed)));
}

#[tokio::test]
async fn a_token_is_known_by_its_hash_only() {
    let site = Site::new().await;
    let new = NewToken {
        name: "ci".to_owned(),
        permissions: vec![Permission::WorkersWrite],
        worker: None,
        expires_on: Some(1),
    };
    let (token, text) = site.store.create_token(&site.actor(), new).await.expect("a token");
    let found = site.store.token(text.reveal()).await.expect("read").expect("a token");
    assert_eq!(found, token);
    assert!(found.is_expired());
    assert!(site.store.token("skep_other").await.expect("read").is_none());
    site.store.revoke_token(&site.actor(), &token.id).await.expect("revoked");
    assert!(site.store.token(text.reveal()).await.expect("read").is_none());
}

#[tokio::test]
async fn a_route_has_one_owner() {
    let site = Site::new().await;
    let actor = site.actor();
    for name in ["one", "two"] {
        let new = version(&site.store, "export default 1", Vec::new());
        site.store.commit_version(&actor, name, new, None).await.expect("committed");
    }
    let zone = site.store.add_zone(&actor, "example.com", true).await.expect("a zone");
    let route = [("example.com/*".to_owned(), zone.id.clone())];
    site.store.put_routes(&actor, "one", &route, true).await.expect("put");
    let taken = site.store.put_routes(&actor, "two", &route, true).await;
    assert!(matches!(taken, Err(StoreError::Conflict(message)) if message.contains("\"one\"")));
    let domain = [("shop.example.com".to_owned(), zone.id)];
    site.store.put_domains(&actor, "one", &domain, true, false).await.expect("put");
    assert!(matches!(site.store.put_domains(&actor, "two", &domain, true, false).await, Err(StoreError::Conflict(_))));
    let moved = site.store.put_domains(&actor, "two", &domain, true, true).await.expect("moved");
    assert_eq!(moved[0].service, "two");
}

#[tokio::test]
async fn a_cron_trigger_is_claimed_once() {
    let site = Site::new().await;
    let actor = site.actor();
    let new = version(&site.store, "export default 1", Vec::new());
    let worker = site.store.commit_version(&actor, "hello", new, None).await.expect("committed").worker;
    site.store.put_schedules(&actor, "hello", &["* * * * *".to_owned()]).await.expect("put");
    assert!(site.store.claim_schedule(worker.id, "* * * * *", 60_000).await.expect("claimed"));
    assert!(!site.again().await.claim_schedule(worker.id, "* * * * *", 60_000).await.expect("asked"));
    assert!(site.store.claim_schedule(worker.id, "* * * * *", 120_000).await.expect("claimed"));
    site.store.put_schedules(&actor, "hello", &["0 * * * *".to_owned()]).await.expect("put");
    assert!(!site.store.claim_schedule(worker.id, "* * * * *", 180_000).await.expect("asked"));
}

#[tokio::test]
async fn a_damaged_module_is_named() {
    let site = Site::new().await;
    let new = version(&site.store, "export default 1", Vec::new());
    let file = new.content.modules[0].file.to_string();
    let made = site.store.commit_version(&site.actor(), "hello", new, None).await.expect("committed");
    let path = site.folder.path().join("files").join(&file[..2]).join(&file);
    std::fs::write(path, "export default 2").expect("damaged");
    let error = site.store.files().modules(&made.version).expect_err("damaged").to_string();
    assert!(error.contains(&file), "{error}");
    // Deploying it again mends it.
    version(&site.store, "export default 1", Vec::new());
    site.store.files().modules(&made.version).expect("mended");
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let site = Site::new().await;
    let note = site.store.note(&site.actor(), "test", "x", &json!({})).await;
    note.expect("noted");
    drop(site.store);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(site.folder.path().join("skep.db"));
    let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("a connection");
    sqlx::query("PRAGMA user_version = 1000").execute(&mut connection).await.expect("set");
    let keys = MasterKeys::parse([site.key.reveal()]).expect("a key");
    assert!(matches!(Store::open(site.folder.path(), keys).await, Err(StoreError::Newer { found: 1000, .. })));
}

#[tokio::test]
async fn a_database_that_another_process_holds_is_named_and_nothing_is_changed() {
    let site = Site::new().await;
    let actor = site.actor();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(site.folder.path().join("skep.db"));
    let mut other = sqlx::ConnectOptions::connect(&options).await.expect("a connection");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("held");
    let heard: Arc<Mutex<usize>> = Arc::default();
    let hearing = Arc::clone(&heard);
    let listen = move |changes: &[Change]| *hearing.lock().expect("a lock") += changes.len();
    site.store.subscribe(listen).await.expect("subscribed");
    let refused =
        site.store.commit_version(&actor, "hello", version(&site.store, "export default 1", Vec::new()), None);
    assert!(matches!(refused.await, Err(StoreError::Locked)));
    assert!(site.store.worker(&site.account.id, "hello").await.expect("readers go on").is_none());
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("let go");
    assert_eq!(*heard.lock().expect("a lock"), 0, "nothing is told that is not committed");
    let new = version(&site.store, "export default 1", Vec::new());
    site.store.commit_version(&actor, "hello", new, None).await.expect("committed");
    assert_eq!(*heard.lock().expect("a lock"), 1);
}

#[tokio::test]
async fn nodes_say_that_they_are_there_and_are_forgotten_after_a_week() {
    const DAY: i64 = 24 * 3600 * 1000;
    let site = Site::new().await;
    let node = |id: &str, last_heartbeat| Node {
        id: id.to_owned(),
        name: format!("node {id}"),
        last_heartbeat,
        cores: 2,
        ..Node::default()
    };
    for beat in [node("b", DAY), node("a", 2 * DAY), node("b", 3 * DAY)] {
        site.store.beat(&beat).await.expect("written");
    }
    assert_eq!(site.again().await.nodes().await.expect("nodes"), [node("a", 2 * DAY), node("b", 3 * DAY)]);
    site.store.beat(&node("b", 10 * DAY)).await.expect("written");
    assert_eq!(site.store.nodes().await.expect("nodes"), [node("b", 10 * DAY)]);
}
