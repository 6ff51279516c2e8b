//! Another master key: what was sealed is sealed again, whatever happens in between, and opens in its place only.

use std::path::Path;

use skep_store::{
    Account, Actor, Annotations, BindingRecord, Content, MasterKeys, NewVersion, SealedUnder, Store, StoreError,
    Upload, VersionRecord,
};
use skep_worker::Secret;
use tempfile::TempDir;

/// More versions than are sealed again in one transaction.
const MANY: u64 = 450;

struct Site {
    folder: TempDir,
    old: Secret,
    new: Secret,
    store: Store,
    account: Account,
}

impl Site {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let (old, new) = (MasterKeys::generate(), MasterKeys::generate());
        let store = open(folder.path(), &[&old]).await;
        let account = store.create_account("test", "Skep", "dev").await.expect("an account");
        Self { folder, old, new, store, account }
    }

    fn actor(&self) -> Actor {
        Actor::platform(&self.account.id, "test")
    }

    /// A restart with these keys, the current one first.
    async fn restart(&mut self, keys: &[&Secret]) {
        self.store = open(self.folder.path(), keys).await;
    }

    /// Uploads a version of each of these Workers, with a secret that has the Worker's name in it.
    async fn upload(&self, workers: impl IntoIterator<Item = &str>) {
        let upload = |worker: &str| {
            let bindings = vec![BindingRecord::secret("TOKEN", &format!("of {worker}"))];
            Upload { worker: worker.to_owned(), version: version(bindings), deploy: None }
        };
        let uploads = workers.into_iter().map(upload).collect();
        self.store.commit_versions(&self.actor(), uploads).await.expect("committed");
    }

    async fn latest(&self, worker: &str) -> VersionRecord {
        let worker = self.store.worker(&self.account.id, worker).await.expect("read").expect("a Worker");
        self.store.latest_version(worker.id).await.expect("read").expect("a version")
    }

    /// A Worker's secret as its isolate gets it.
    async fn secret(&self, worker: &str) -> Result<String, StoreError> {
        let latest = self.latest(worker).await;
        Ok(self.store.open_secret(latest.worker_id, &latest.bindings[0])?.reveal().to_owned())
    }

    /// Keys and how many secrets are under each, the current one first.
    async fn under(&self) -> Vec<(String, u64)> {
        let under = self.store.sealed_under().await.expect("read");
        under.into_iter().map(|under| (under.key, under.secrets)).collect()
    }
}

async fn open(folder: &Path, keys: &[&Secret]) -> Store {
    let keys = MasterKeys::parse(keys.iter().map(|key| key.reveal())).expect("keys");
    Store::open(folder, keys).await.expect("a store")
}

fn name(key: &Secret) -> String {
    MasterKeys::parse([key.reveal()]).expect("a key").name().to_owned()
}

/// A version without modules: only its bindings matter here.
fn version(bindings: Vec<BindingRecord>) -> NewVersion {
    let content = Content {
        main: String::new(),
        service_worker: false,
        modules: Vec::new(),
        compatibility_date: None,
        compatibility_flags: Vec::new(),
        cpu_ms: None,
        handlers: Vec::new(),
        startup_time_ms: 0,
        assets: None,
        other: serde_json::Map::new(),
    };
    NewVersion { content, bindings, keep_bindings: Vec::new(), annotations: Annotations::default() }
}

#[tokio::test]
async fn every_secret_is_sealed_again_and_stays_readable() {
    let mut site = Site::new().await;
    site.upload(std::iter::repeat_n("hello", MANY as usize)).await;
    site.upload(["other"]).await;
    // Versions without secrets are none of its business.
    let plain = Upload { worker: "plain".to_owned(), version: version(Vec::new()), deploy: None };
    site.store.commit_versions(&site.actor(), vec![plain]).await.expect("committed");
    let (old, new) = (name(&site.old), name(&site.new));
    assert_eq!(site.under().await, [(old.clone(), MANY + 1)]);

    let former = site.store.take_master_key(&site.actor(), &site.new).await.expect("taken");
    assert_eq!((former, site.store.master_key_name()), (old.clone(), new.clone()));
    assert_eq!(site.under().await, [(new.clone(), 0), (old.clone(), MANY + 1)]);
    assert_eq!(site.secret("hello").await.expect("opened"), "of hello", "the former key still opens");
    site.upload(["late"]).await;
    assert_eq!(site.under().await, [(new.clone(), 1), (old.clone(), MANY + 1)], "what is new is under the new key");

    let resealed = site.store.reseal().await.expect("sealed again");
    assert_eq!((resealed.secrets, resealed.left), (MANY + 1, Vec::new()));
    assert_eq!(site.store.reseal().await.expect("nothing to do").secrets, 0);
    assert_eq!(site.under().await, [(new.clone(), MANY + 2)]);
    let noted = site.store.audit(&site.account.id, None, 100).await.expect("read");
    let noted = noted.iter().find(|entry| entry.action == "master_key.rotate").expect("an entry");
    assert_eq!((&noted.target, &noted.detail["former"]), (&new, &old.into()));

    site.restart(&[&site.new.clone()]).await;
    for worker in ["hello", "other", "late"] {
        assert_eq!(site.secret(worker).await.expect("opened"), format!("of {worker}"));
    }
    site.restart(&[&site.old.clone()]).await;
    for worker in ["hello", "other", "late"] {
        assert!(matches!(site.secret(worker).await, Err(StoreError::Sealed)), "the old key alone opens nothing");
    }
}

#[tokio::test]
async fn what_is_sealed_again_opens_in_its_place_only() {
    let site = Site::new().await;
    site.upload(["hello", "other"]).await;
    site.store.take_master_key(&site.actor(), &site.new).await.expect("taken");
    site.store.reseal().await.expect("sealed again");
    let (hello, other) = (site.latest("hello").await, site.latest("other").await);
    let mut moved = hello.bindings[0].clone();
    assert!(site.store.open_secret(hello.worker_id, &moved).is_ok());
    assert!(matches!(site.store.open_secret(other.worker_id, &moved), Err(StoreError::Sealed)));
    moved.name = "ELSEWHERE".to_owned();
    assert!(matches!(site.store.open_secret(hello.worker_id, &moved), Err(StoreError::Sealed)));
}

#[tokio::test]
async fn a_crash_between_the_steps_loses_nothing() {
    // Before the new key is written: nothing has happened. After that, before it is taken: all is under the old one.
    let mut site = Site::new().await;
    site.upload(["hello", "other", "third"]).await;
    site.restart(&[&site.new.clone(), &site.old.clone()]).await;
    assert_eq!(site.secret("hello").await.expect("opened"), "of hello");
    // In the middle: one is under the new key, the others are not.
    site.upload(["hello"]).await;
    site.restart(&[&site.new.clone(), &site.old.clone()]).await;
    assert_eq!(site.under().await, [(name(&site.new), 1), (name(&site.old), 3)]);
    assert_eq!(site.store.reseal().await.expect("sealed again").secrets, 3);
    // All is done, and the old key is still known.
    site.restart(&[&site.new.clone(), &site.old.clone()]).await;
    assert_eq!(site.store.reseal().await.expect("nothing to do").secrets, 0);
    site.restart(&[&site.new.clone()]).await;
    for worker in ["hello", "other", "third"] {
        assert_eq!(site.secret(worker).await.expect("opened"), format!("of {worker}"));
    }
}

#[tokio::test]
async fn a_secret_that_no_key_opens_is_named_and_left_alone() {
    let mut site = Site::new().await;
    site.upload(["hello", "other", "hello"]).await;
    site.restart(&[&site.new.clone()]).await;
    site.upload(["new"]).await;
    let resealed = site.store.reseal().await.expect("looked at");
    let left = SealedUnder {
        key: name(&site.old),
        is_known: false,
        secrets: 3,
        workers: vec!["hello.dev".to_owned(), "other.dev".to_owned()],
        worker_count: 2,
    };
    assert_eq!((resealed.secrets, resealed.left), (0, vec![left]));
    // It can be taken over as it is, and opens when its key is given again.
    let inherit =
        BindingRecord { kind: "inherit".to_owned(), settings: serde_json::Map::new(), name: "TOKEN".to_owned() };
    let inherit = Upload { worker: "other".to_owned(), version: version(vec![inherit]), deploy: None };
    site.store.commit_versions(&site.actor(), vec![inherit]).await.expect("committed");
    site.restart(&[&site.new.clone(), &site.old.clone()]).await;
    let resealed = site.store.reseal().await.expect("sealed again");
    assert_eq!((resealed.secrets, resealed.left), (4, Vec::new()));
    assert_eq!(site.secret("other").await.expect("opened"), "of other");
}

#[tokio::test(flavor = "multi_thread")]
async fn deploys_go_on_meanwhile_and_nothing_new_is_under_the_old_key() {
    let mut site = Site::new().await;
    site.upload(std::iter::repeat_n("hello", MANY as usize)).await;
    site.store.take_master_key(&site.actor(), &site.new).await.expect("taken");
    let actor = site.actor();
    let deploys = async {
        for number in 0..50 {
            let secrets = vec![(format!("MORE_{number}"), Some(Secret::new("more")))];
            let put = site.store.put_secrets(&actor, "hello", secrets, Annotations::default(), false);
            put.await.expect("put while secrets are sealed again");
        }
        site.store.delete_worker(&actor, "hello").await.expect("deleted");
        site.upload(["hello"]).await;
    };
    let (resealed, ()) = tokio::join!(site.store.reseal(), deploys);
    assert_eq!(resealed.expect("sealed again").left, Vec::new());
    assert_eq!(site.under().await, [(name(&site.new), 1)]);
    site.restart(&[&site.new.clone()]).await;
    assert_eq!(site.secret("hello").await.expect("opened"), "of hello");
}
