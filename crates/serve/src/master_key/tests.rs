//! The rotation over real files and a real store, and what is said after a start.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use skep_control::{RotationError, Rotations as _};
use skep_store::{
    Account, Actor, Annotations, BindingRecord, Content, MasterKeys, NewVersion, Resealed, SealedUnder, Store, Upload,
};
use skep_worker::Secret;
use tempfile::TempDir;

use super::file::KeyFile;
use super::{Keeper, Place, not_written, read, report, trim};
use crate::settings::{Given, Settings};

struct Site {
    folder: TempDir,
    store: Store,
    keeper: Keeper,
}

impl Site {
    /// A platform over a new data directory, with one secret.
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (store, keeper) = start(&settings(&folder, None, Vec::new())).await;
        let account = store.create_account("test", "Skep", "dev").await.unwrap();
        put_secret(&store, &account).await;
        Self { folder, store, keeper }
    }

    async fn restart(&mut self) {
        (self.store, self.keeper) = start(&settings(&self.folder, None, Vec::new())).await;
    }

    async fn actor(&self) -> Actor {
        Actor::platform(&self.store.accounts().await.unwrap()[0].id, "test")
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("master-key")
    }

    /// The names of the keys in the file.
    fn names(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path()).unwrap();
        text.lines().map(|key| MasterKeys::parse([key]).unwrap().name().to_owned()).collect()
    }

    /// What a start says.
    async fn said(&self) -> Vec<String> {
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let saying = Arc::clone(&said);
        self.keeper.clone().after_start(Arc::new(move |line| saying.lock().unwrap().push(line.to_owned()))).await;
        said.lock().unwrap().clone()
    }

    /// Whether every version's secret can be read with the keys that are known.
    async fn is_readable(&self) -> bool {
        let account = &self.store.accounts().await.unwrap()[0].id;
        let worker = self.store.worker(account, "hello").await.unwrap().unwrap();
        let versions = self.store.versions(worker.id, 0, 100).await.unwrap();
        versions.iter().all(|version| self.store.open_secret(worker.id, &version.bindings[0]).is_ok())
    }
}

fn settings(folder: &TempDir, master_key: Option<Secret>, former: Vec<Secret>) -> Settings {
    let given = Given { data_dir: Some(folder.path().to_owned()), ..Given::default() };
    given.resolve(master_key, former).unwrap()
}

async fn start(settings: &Settings) -> (Store, Keeper) {
    let (keys, place) = read(settings).unwrap();
    let store = Store::open(&settings.data_dir, keys).await.unwrap();
    let keeper = Keeper::new(store.clone(), place, !settings.former_master_keys.is_empty());
    (store, keeper)
}

async fn put_secret(store: &Store, account: &Account) {
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
    let bindings = vec![BindingRecord::secret("TOKEN", "hunter2")];
    let version = NewVersion { content, bindings, keep_bindings: Vec::new(), annotations: Annotations::default() };
    let upload = Upload { worker: "hello".to_owned(), version, deploy: None };
    store.commit_versions(&Actor::platform(&account.id, "test"), vec![upload]).await.unwrap();
}

fn message(error: &RotationError) -> &str {
    match error {
        RotationError::Refused(message) | RotationError::Failed(message) => message,
    }
}

#[tokio::test]
async fn a_key_in_a_file_is_replaced() {
    let mut site = Site::new().await;
    let before = site.names();
    assert_eq!(site.said().await, [""; 0], "nothing was to be done");
    let rotated = site.keeper.rotate(site.actor().await).await.unwrap();
    assert_eq!((&[rotated.former.clone()][..], rotated.resealed.secrets), (&before[..], 1));
    assert_eq!(site.names(), std::slice::from_ref(&rotated.key));
    assert!(site.is_readable().await);
    // And again: the file is known to hold what was written.
    let again = site.keeper.rotate(site.actor().await).await.unwrap();
    assert_eq!(again.former, rotated.key);
    site.restart().await;
    assert!(site.is_readable().await);
    assert_eq!(site.store.master_key_name(), again.key);
    let account = &site.store.accounts().await.unwrap()[0].id;
    let noted = site.store.audit(account, None, 10).await.unwrap();
    let noted: Vec<&str> =
        noted.iter().filter(|entry| entry.action == "master_key.rotate").map(|entry| &*entry.target).collect();
    assert_eq!(noted, [&*again.key, &*rotated.key]);
}

#[tokio::test]
async fn a_start_goes_on_where_a_crash_stopped_the_rotation() {
    let mut site = Site::new().await;
    let account = site.store.accounts().await.unwrap()[0].clone();
    let old = std::fs::read_to_string(site.path()).unwrap();
    let new = MasterKeys::generate();
    let name = MasterKeys::parse([new.reveal()]).unwrap().name().to_owned();
    // The file has the new key, nothing is under it yet, and a second write had begun.
    std::fs::write(site.path(), format!("{}\n{old}", new.reveal())).unwrap();
    std::fs::write(site.path().with_file_name("master-key.unfinished"), "half a ke").unwrap();
    site.restart().await;
    assert!(site.is_readable().await);
    // Some are under the new one, others are not; then all are, and the file was not written again.
    put_secret(&site.store, &account).await;
    let both = std::fs::read_to_string(site.path()).unwrap();
    site.restart().await;
    assert_eq!(site.said().await, [format!("A secret was sealed again under the master key {name}")]);
    assert_eq!(site.names(), [&*name]);
    std::fs::write(site.path(), both).unwrap();
    site.restart().await;
    assert_eq!(site.said().await, [""; 0]);
    assert_eq!(site.names(), [&*name]);
    site.restart().await;
    assert!(site.is_readable().await);
    assert_eq!(
        std::fs::read_dir(site.folder.path())
            .unwrap()
            .flatten()
            .filter(|entry| { entry.file_name().to_string_lossy().starts_with("master-key") })
            .count(),
        1
    );
}

#[tokio::test]
async fn a_second_rotation_at_once_is_refused() {
    let site = Site::new().await;
    let held = site.keeper.0.place.lock().await;
    let mut first = site.keeper.rotate(site.actor().await);
    std::future::poll_fn(|context| {
        assert!(first.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    let second = site.keeper.rotate(site.actor().await).await.unwrap_err();
    assert!(matches!(&second, RotationError::Refused(message) if message.contains("already")), "{second}");
    drop(held);
    let first = first.await.unwrap();
    let third = site.keeper.rotate(site.actor().await).await.unwrap();
    assert_eq!(third.former, first.key);
}

#[tokio::test]
async fn a_rotation_goes_on_when_nobody_waits_for_it() {
    let site = Site::new().await;
    let before = site.names();
    let held = site.keeper.0.place.lock().await;
    let mut gone = site.keeper.rotate(site.actor().await);
    std::future::poll_fn(|context| Poll::Ready(gone.as_mut().poll(context).is_pending())).await;
    drop(gone);
    drop(held);
    // It has the turn until it is done.
    drop(site.keeper.0.turn.lock().await);
    assert_ne!(site.names(), before);
    assert_eq!(site.names(), [site.store.master_key_name()]);
}

#[tokio::test]
async fn what_the_platform_cannot_write_is_replaced_by_hand() {
    let site = Site::new().await;
    for (place, named) in [(Place::Variable, "SKEP_MASTER_KEY"), (Place::Command, "master_key_command")] {
        let keeper = Keeper::new(site.store.clone(), place, false);
        assert!(keeper.kept_in().contains(named));
        let refused = keeper.rotate(site.actor().await).await.unwrap_err();
        assert!(matches!(refused, RotationError::Refused(_)));
        for step in [named, "head -c 32", "SKEP_FORMER_MASTER_KEYS", "restart"] {
            assert!(message(&refused).contains(step), "{step}: {refused}");
        }
    }
    let refused = not_written("/keys/master-key", &io::ErrorKind::ReadOnlyFilesystem.into());
    assert!(matches!(refused, RotationError::Refused(_)) && message(&refused).contains("first line"), "{refused}");
    let failed = not_written("/keys/master-key", &io::ErrorKind::StorageFull.into());
    assert!(matches!(failed, RotationError::Failed(_)), "{failed}");

    // Somebody has put another key there, and has not restarted yet.
    let other = format!("{}\n", MasterKeys::generate().reveal());
    std::fs::write(site.path(), &other).unwrap();
    let refused = site.keeper.rotate(site.actor().await).await.unwrap_err();
    assert!(message(&refused).contains("restart"), "{refused}");
    assert_eq!(std::fs::read_to_string(site.path()).unwrap(), other);
    assert!(site.is_readable().await);
}

#[tokio::test]
async fn a_start_with_former_keys_says_when_they_are_no_longer_needed() {
    let mut site = Site::new().await;
    let old = Secret::new(std::fs::read_to_string(site.path()).unwrap().trim());
    let new = MasterKeys::generate();
    // Without the key before, nothing is lost and everything is named.
    (site.store, site.keeper) = start(&settings(&site.folder, Some(new.clone()), Vec::new())).await;
    let said = site.said().await;
    assert!(said.len() == 1 && said[0].starts_with("error: a secret of hello.dev "), "{said:?}");
    assert!(said[0].contains(&site.names()[0]) && said[0].contains("SKEP_FORMER_MASTER_KEYS"), "{said:?}");
    (site.store, site.keeper) = start(&settings(&site.folder, Some(new.clone()), vec![old])).await;
    let said = site.said().await;
    assert!(said.len() == 2 && said[1].contains("SKEP_FORMER_MASTER_KEYS is no longer needed"), "{said:?}");
    (site.store, site.keeper) = start(&settings(&site.folder, Some(new), Vec::new())).await;
    assert_eq!(site.said().await, [""; 0]);
    assert!(site.is_readable().await);
}

#[test]
fn a_former_key_is_never_the_current_one() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("master-key"), "\n").unwrap();
    assert!(read(&settings(&folder, None, vec![MasterKeys::generate()])).is_err());
    std::fs::write(folder.path().join("master-key"), "short\n").unwrap();
    assert!(read(&settings(&folder, None, Vec::new())).is_err());
}

/// A key stays in the file as long as something is sealed under it.
#[test]
fn only_keys_that_are_not_needed_leave_the_file() {
    let folder = TempDir::new().unwrap();
    let [new, old, older] = std::array::from_fn(|_| MasterKeys::generate());
    let mut file = KeyFile::create(&folder.path().join("key"), new.clone()).unwrap();
    file.write(vec![new.clone(), old, older.clone()]).unwrap();
    let key = MasterKeys::parse([older.reveal()]).unwrap().name().to_owned();
    let left = SealedUnder { key, is_known: true, secrets: 1, workers: Vec::new(), worker_count: 1 };
    trim(&mut file, &[left]).unwrap();
    assert_eq!(file.keys(), [new.clone(), older]);
    trim(&mut file, &[]).unwrap();
    assert_eq!(file.keys(), [new]);
}

#[test]
fn many_workers_are_counted() {
    let workers = vec!["a.dev".to_owned(), "b.dev".to_owned()];
    let left = SealedUnder { key: "0123abcd".to_owned(), is_known: false, secrets: 7, workers, worker_count: 5 };
    let damaged = SealedUnder { is_known: true, ..left.clone() };
    let said = report(&Resealed { secrets: 2, left: vec![left, damaged] }, "89abcdef", true);
    assert_eq!(said[0], "2 secrets were sealed again under the master key 89abcdef");
    assert!(
        said[1].contains("7 secrets of a.dev, b.dev and 3 more are sealed under the master key 0123abcd"),
        "{said:?}"
    );
    assert!(said[2].contains("damaged") && said.len() == 3, "{said:?}");
}
