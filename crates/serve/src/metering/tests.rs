//! Usage is billed to the month in which it happened, and people are told once what they are to know, whatever stops the platform in between.
//!
//! Here a platform is what bills: the real ledger, store and outbox in a folder, with a clock that the test sets. It is opened and closed as a
//! process is started and ends; what runs Workers is played by batches.

mod months;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use skep_link::Setup;
use skep_meter::{Batch, Entry, Kind, Ledger, Minute, Usage};
use skep_observe::Tails;
use skep_pool::Directory;
use skep_store::{MasterKeys, Store};
use skep_worker::Outcome;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::Metering;
use crate::Tell;
use crate::delivery::Delivery;
use crate::runtimes::Runtimes;
use crate::settings::Given;

/// A request costs a cent, the month nothing. Nobody takes what is told.
const SETTINGS: &str = r#"
    plan = "cents"
    alerts = ["hook"]
    [destinations.hook]
    type = "webhook"
    url = "http://127.0.0.1:9/hook"
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"#;
const PLAN: &str = r#"
    name = "cents"
    title = "A cent each"
    base = "0"
    [requests]
    included = 0
    price_per_million = "10000"
"#;
/// After the accounts are made, whenever this runs.
const NOON: OffsetDateTime = datetime!(2099-11-20 12:00 UTC);
/// How long a test waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder, and what lasts beside it.
struct World {
    folder: TempDir,
    keys: skep_worker::Secret,
    now: Arc<Mutex<OffsetDateTime>>,
    account: String,
    /// The batches that were handed in.
    number: u64,
}

/// What bills, from a start to its end.
struct Life {
    metering: Arc<Metering>,
    store: Store,
    delivery: Arc<Delivery>,
}

impl World {
    /// One with an account, on a plan with more in it.
    fn new(plan: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let plans = folder.path().join("plans");
        std::fs::create_dir(&plans).expect("a folder");
        std::fs::write(plans.join("cents.toml"), format!("{PLAN}{plan}")).expect("written");
        let (keys, now) = (MasterKeys::generate(), Arc::new(Mutex::new(NOON)));
        let mut world = Self { folder, keys, now, account: String::new(), number: 0 };
        world.account = block_on(async {
            let store = world.store().await;
            store.create_account("test", "Skep", "dev").await.expect("an account").id
        });
        world
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn store(&self) -> Store {
        Store::open(self.path(), MasterKeys::parse([self.keys.reveal()]).expect("a key")).await.expect("a store")
    }

    fn set(&self, now: OffsetDateTime) {
        *self.now.lock().expect("a clock") = now;
    }

    /// What the next batch is, of so many requests.
    fn batch(&mut self, requests: u64) -> Batch {
        self.number += 1;
        let usage = Usage { requests, ..Usage::default() };
        let (account, worker) = (self.account.clone(), "hello".to_owned());
        let entry = Entry { account, worker, version: Uuid::nil(), kind: Kind::Fetch, outcome: Outcome::Ok, usage };
        Batch { process: Uuid::from_u128(1), number: self.number, entries: vec![entry] }
    }

    /// A start, what happens then, and the end of everything that was going on.
    fn live<T>(&self, happens: impl AsyncFnOnce(&Life) -> T) -> T {
        block_on(async {
            let life = self.start().await;
            happens(&life).await
        })
    }

    async fn start(&self) -> Life {
        let mut given: Given = toml::from_str(SETTINGS).expect("settings");
        (given.data_dir, given.plans) = (Some(self.path().to_owned()), Some(self.path().join("plans")));
        let settings = given.resolve(None, Vec::new()).expect("settings");
        let (store, tell): (_, Tell) = (self.store().await, Arc::new(|_: &str| {}));
        let tails = Tails::start().expect("a thread");
        let directory = Arc::new(Directory::new("localhost"));
        let (runtimes, _) = Runtimes::new(setup(self.path()), store.clone(), directory, tails, Arc::clone(&tell));
        let delivery = Delivery::start(&settings.delivery, self.path(), Arc::clone(&tell)).expect("an outbox");
        let now = Arc::clone(&self.now);
        let clock = Arc::new(move || *now.lock().expect("a clock"));
        let metering = Metering::open(&settings, store.clone(), runtimes, &delivery, &tell, clock).await;
        Life { metering: metering.expect("it opens"), store, delivery }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread").block_on(future)
}

fn setup(folder: &Path) -> Setup {
    Setup {
        data_dir: folder.to_owned(),
        domain: "localhost".to_owned(),
        port: None,
        secure: false,
        threads: 1,
        allow_loopback: false,
        per_worker: 1,
        per_account: 1,
        memory: 0,
        keep_alive: 0,
        spares: 0,
        events_per_second: 1,
        traces: false,
        sandbox: false,
    }
}

impl Life {
    /// Alerts that wait to be delivered.
    fn waiting(&self) -> usize {
        self.delivery.waiting().iter().map(|waiting| waiting.items).sum()
    }

    /// What the account's audit log says of warnings, the latest first.
    async fn told(&self, world: &World) -> Vec<(u64, String)> {
        let audit = self.store.audit(&world.account, None, 100).await.expect("read");
        let told = audit.into_iter().filter(|entry| entry.action == "usage.warning");
        told.map(|entry| {
            let text = entry.detail["message"].as_str().expect("a text").to_owned();
            (entry.detail["percent"].as_u64().expect("a number"), text)
        })
        .collect()
    }

    /// The same, once there are so many.
    async fn told_of(&self, world: &World, count: usize) -> Vec<(u64, String)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = self.told(world).await;
            if told.len() >= count {
                return told;
            }
            assert!(Instant::now() < deadline, "{told:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The plan's limit of a day.
const LIMITED: &str = "[limits]\nrequests_per_day = 100\nthen = \"refuse\"";

#[test]
fn a_warning_survives_a_kill_before_it_was_in_the_outbox() {
    let mut world = World::new(LIMITED);
    world.live(async |life| assert_eq!(life.waiting(), 0));
    // The batch is in the journal, and that is how far it came.
    let batch = world.batch(80);
    world.live(async |life| assert!(life.metering.ledger().append(NOON, &batch).expect("written")));
    world.live(async |life| {
        let told = life.told_of(&world, 1).await;
        assert!(told[0].0 == 80 && told[0].1.contains("80 % of its limit of 100 requests a day"), "{told:?}");
        assert_eq!(life.waiting(), 1);
    });
    // Once is enough. What comes then is the next one.
    let batch = world.batch(20);
    world.live(async |life| {
        assert_eq!((life.told(&world).await.len(), life.waiting()), (1, 1));
        life.metering.take(batch, Duration::ZERO).await.expect("taken");
        assert_eq!(life.told_of(&world, 2).await[0].0, 100);
    });
    world.live(async |life| assert_eq!((life.told(&world).await.len(), life.waiting()), (2, 2)));
}

#[test]
fn a_warning_that_is_in_the_outbox_and_not_in_the_store_is_told_once() {
    let mut world = World::new(LIMITED);
    world.live(async |_| {});
    let batch = world.batch(100);
    // Killed after the outbox had it, and before the store did.
    world.live(async |life| {
        assert!(life.metering.ledger().append(NOON, &batch).expect("written"));
        let warnings = {
            let mut state = life.metering.state();
            state.books.add(Minute::of(NOON), &batch.entries[0]);
            life.metering.judge(&mut state, &world.account, NOON)
        };
        let [warning] = &warnings[..] else { panic!("one is due") };
        life.delivery.put(&mut life.delivery.parcel(warning.alert())).await.expect("written");
        assert_eq!(life.waiting(), 1);
    });
    world.live(async |life| {
        assert_eq!(life.told_of(&world, 1).await.len(), 1);
        assert_eq!(life.waiting(), 1);
    });
}

#[test]
fn what_was_reached_before_that_was_kept_is_not_told() {
    let mut world = World::new(LIMITED);
    let (before, after) = (world.batch(90), world.batch(10));
    // A ledger and a store of a platform that kept nothing of it.
    let ledger = Ledger::open(&world.path().join("usage")).expect("a ledger");
    assert!(ledger.append(NOON, &before).expect("written"));
    drop(ledger);
    world.live(async |life| assert_eq!((life.told(&world).await, life.waiting()), (Vec::new(), 0)));
    world.live(async |life| {
        life.metering.take(after, Duration::ZERO).await.expect("taken");
        let told = life.told_of(&world, 1).await;
        assert_eq!((told.len(), told[0].0), (1, 100));
    });
}

#[test]
fn what_was_reached_in_the_last_minute_of_a_day_is_told_on_the_next() {
    let mut world = World::new(LIMITED);
    world.live(async |_| {});
    let batch = world.batch(100);
    let late = datetime!(2099-11-30 23:59:59 UTC);
    world.set(late);
    world.live(async |life| life.metering.ledger().append(late, &batch).expect("written"));
    world.set(datetime!(2099-12-01 0:00:03 UTC));
    world.live(async |life| {
        let told = life.told_of(&world, 1).await;
        assert!(told[0].1.contains("(2099-11-30)"), "{told:?}");
    });
    world.live(async |life| assert_eq!(life.told(&world).await.len(), 1));
}
