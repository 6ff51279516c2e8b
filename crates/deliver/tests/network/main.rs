//! Deliveries over real sockets: servers on loopback that speak what the documented ones speak, and do what bad days do.

mod config;
mod email;
mod outbox;
mod server;
mod smtp;
mod usage;
mod webhook;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use skep_deliver::{Alert, Destination, Item, Limits, Message, Outbox, Senders, Severity, Tell, UsageEvent, Waiting};
use skep_outbound::{AddressPolicy, Client};
use time::macros::datetime;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// How long a test waits for something that should come soon.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pauses that a test can wait for.
fn limits() -> Limits {
    Limits {
        first_pause: Duration::from_millis(20),
        last_pause: Duration::from_millis(200),
        timeout: Duration::from_secs(5),
        tell: Duration::ZERO,
        ..Limits::default()
    }
}

/// An outbox whose items are delivered, and what was told.
struct Running {
    outbox: Arc<Outbox>,
    task: JoinHandle<()>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn start(folder: &Path, limits: Limits, config: &str) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = told.clone();
        let tell: Tell = Arc::new(move |sentence| kept.lock().unwrap().push(sentence.to_owned()));
        let senders = senders(config, &limits, tell).expect("a configuration");
        let outbox = Arc::new(Outbox::open(folder, limits).expect("an outbox"));
        Self { task: tokio::spawn(outbox.clone().run(senders)), outbox, told }
    }

    /// As a process that is killed: what is under way ends where it is. The folder is free when this returns.
    async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
        let Self { outbox, .. } = self;
        // A record that is being written is the disk's affair: the thread that waits for it has the outbox until then.
        let weak = Arc::downgrade(&outbox);
        drop(outbox);
        eventually(|| weak.strong_count() == 0).await;
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    fn waiting(&self, destination: &str) -> usize {
        self.outbox.waiting().iter().find(|waiting| waiting.destination == destination).map_or(0, |found| found.items)
    }

    /// Waits until nothing waits any more.
    async fn done(&self) -> Vec<Waiting> {
        eventually(|| self.outbox.waiting().iter().all(|waiting| waiting.items == 0)).await;
        self.outbox.waiting()
    }
}

fn client() -> Client {
    Client::new(AddressPolicy::with_loopback(), Handle::current())
}

fn senders(config: &str, limits: &Limits, tell: Tell) -> Result<Senders, String> {
    let destinations: BTreeMap<String, Destination> = toml::from_str(config).map_err(|error| error.to_string())?;
    Senders::new(destinations, &client(), limits, tell).map_err(|error| error.to_string())
}

async fn eventually(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it has not come within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn alert(destination: &str, key: &str) -> Item {
    let alert = Alert {
        kind: "quota.exceeded".to_owned(),
        severity: Severity::Critical,
        account: Some("acme".to_owned()),
        worker: Some("shop".to_owned()),
        title: "A quota is exceeded".to_owned(),
        text: "More requests than the plan has.\nThey are refused until midnight.".to_owned(),
        at: datetime!(2026-11-26 21:39:47.123 UTC),
        key: key.to_owned(),
    };
    Item { destination: destination.to_owned(), message: Message::Alert(alert) }
}

fn usage(destination: &str, key: &str) -> Item {
    let event = UsageEvent {
        account: "acme".to_owned(),
        customer: "cus_NciAYcXfLnqBoz".to_owned(),
        meter: "skep_requests".to_owned(),
        value: 25,
        window_start: datetime!(2026-11-26 20:00 UTC),
        window_end: datetime!(2026-11-26 21:00 UTC),
        key: key.to_owned(),
    };
    Item { destination: destination.to_owned(), message: Message::Usage(event) }
}
