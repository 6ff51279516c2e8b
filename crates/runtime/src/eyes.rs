//! What is seen of the Workers that run here: every version's requests are counted, events that somebody watches, keeps or consumes go to
//! the supervisor.

mod interest;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::HeaderMap;
use skep_link::wire::{self, Seen};
use skep_meter::{Event, Kind, Meter, Tally};
use skep_observe::{EventRecord, Exception, GoesOn, LogLine, Observer, Source, Trigger, Wanted, is_failure};
use skep_pool::Worker;
use skep_store::Change;
use skep_worker::Outcome;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use crate::supervisor::Supervisor;
use interest::Interest;

/// Events that may wait for the supervisor.
const MOST_WAITING: usize = 1024;
/// Events that are sent together.
const TOGETHER: usize = 64;
/// How long events wait for others, if there are few: to tell of each by itself costs ten times what it took to handle it.
const GATHER: Duration = Duration::from_millis(50);
/// How long a version's counts stay after somebody asked for them.
const HELD: Duration = Duration::from_secs(60);

/// Everything that is seen.
pub(crate) struct Eyes {
    meter: Arc<Meter>,
    queue: mpsc::Sender<(Arc<Watched>, Source, EventRecord)>,
    /// Events that were taken and not sent yet.
    unsent: Arc<AtomicU64>,
    sent: Arc<Notify>,
    /// Workers that have a version here, or are watched.
    watched: Mutex<HashMap<Named, Weak<Watched>>>,
    /// Those that are watched, so that they stay.
    on: Mutex<Vec<Arc<Watched>>>,
    /// Of versions that are loaded.
    counts: Mutex<HashMap<Uuid, Weak<Counts>>>,
    /// Of versions that were asked for.
    held: Mutex<HashMap<Uuid, (Arc<Counts>, Instant)>>,
    /// Events of a Worker that are gathered in a second, at most.
    per_second: u32,
    /// Whether somebody wants traces.
    traces: bool,
}

/// A Worker by its account and its name.
type Named = (Box<str>, Box<str>);

/// One Worker, and who wants its events.
struct Watched {
    account: Arc<str>,
    interest: Interest,
}

/// What a version has answered since the process began.
#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    errors: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Counts {
    fn read(&self) -> wire::Counts {
        // Errors first: there are never more of them than requests.
        let errors = self.errors.load(Ordering::Acquire);
        let requests = self.requests.load(Ordering::Acquire);
        wire::Counts { requests, errors, last_error: lock(&self.last_error).clone() }
    }
}

impl Eyes {
    /// Begins to send what is seen: so many events of a Worker in a second, at most; `traces` if somebody wants them.
    pub(crate) fn start(supervisor: Arc<Supervisor>, meter: Arc<Meter>, per_second: u32, traces: bool) -> Arc<Self> {
        let (queue, events) = mpsc::channel(MOST_WAITING);
        let eyes = Arc::new(Self {
            meter,
            queue,
            unsent: Arc::default(),
            sent: Arc::default(),
            watched: Mutex::default(),
            on: Mutex::default(),
            counts: Mutex::default(),
            held: Mutex::default(),
            per_second,
            traces,
        });
        tokio::spawn(send(supervisor, events, Arc::clone(&eyes.unsent), Arc::clone(&eyes.sent)));
        eyes
    }

    /// Somebody watches a Worker from now on, or nobody does.
    pub(crate) fn watch(&self, account: &str, worker: &str, on: bool) {
        let watched = self.watched(account, worker);
        watched.interest.watch(on);
        let mut all = lock(&self.on);
        all.retain(|other| !Arc::ptr_eq(other, &watched));
        if on {
            all.push(watched);
        }
    }

    /// Workers changed.
    pub(crate) fn changed(&self, changes: &[Change]) {
        for change in changes {
            let Change::Worker(worker) = change else { continue };
            let key = (worker.account_id.as_str().into(), worker.name.as_str().into());
            if let Some(watched) = lock(&self.watched).get(&key).and_then(Weak::upgrade) {
                watched.interest.observe(&worker.observability);
            }
        }
    }

    fn watched(&self, account: &str, worker: &str) -> Arc<Watched> {
        let mut all = lock(&self.watched);
        let key = (account.into(), worker.into());
        if let Some(watched) = all.get(&key).and_then(Weak::upgrade) {
            return watched;
        }
        all.retain(|_, watched| watched.strong_count() > 0);
        let made = Arc::new(Watched { account: account.into(), interest: Interest::new(self.per_second, self.traces) });
        all.insert(key, Arc::downgrade(&made));
        made
    }

    fn counts(&self, version: Uuid) -> Arc<Counts> {
        let mut all = lock(&self.counts);
        if let Some(counts) = all.get(&version).and_then(Weak::upgrade) {
            return counts;
        }
        all.retain(|_, counts| counts.strong_count() > 0);
        let made = Arc::default();
        all.insert(version, Arc::downgrade(&made));
        made
    }

    /// What a version has answered. It is not forgotten as long as it is asked for.
    pub(crate) fn read(&self, version: Uuid) -> wire::Counts {
        let mut held = lock(&self.held);
        held.retain(|_, (_, asked)| asked.elapsed() < HELD);
        let counts = self.counts(version);
        held.insert(version, (Arc::clone(&counts), Instant::now()));
        counts.read()
    }

    /// Who sees what a version of a Worker does.
    pub(crate) fn observer(self: &Arc<Self>, worker: &Worker, version: Uuid) -> Arc<dyn Observer> {
        let (watched, counts) = (self.watched(&worker.account_id, &worker.name), self.counts(version));
        watched.interest.observe(&worker.observability());
        let tally = self.meter.tally(&worker.account_id, &worker.name, version);
        Arc::new(Watch { eyes: Arc::clone(self), watched, counts, tally })
    }

    /// Waits until everything that was seen is sent, for as long as `most` at most.
    pub(crate) async fn flush(&self, most: Duration) {
        let all = async {
            loop {
                let sent = self.sent.notified();
                if self.unsent.load(Ordering::Acquire) == 0 {
                    return;
                }
                sent.await;
            }
        };
        let _ = tokio::time::timeout(most, all).await;
    }
}

/// Sends events to the supervisor, as long as there may be any.
async fn send(
    supervisor: Arc<Supervisor>,
    mut events: mpsc::Receiver<(Arc<Watched>, Source, EventRecord)>,
    unsent: Arc<AtomicU64>,
    sent: Arc<Notify>,
) {
    let mut batch = Vec::with_capacity(TOGETHER);
    while events.recv_many(&mut batch, TOGETHER).await > 0 {
        let count = batch.len() as u64;
        // What was missed is told behind what was not: from the end.
        let mut seen: Vec<Seen> = batch
            .drain(..)
            .rev()
            .map(|(watched, source, record)| {
                let missed = watched.interest.missed.swap(0, Ordering::Relaxed);
                let missed_failures = watched.interest.missed_failures.swap(0, Ordering::Relaxed);
                Seen { account: Arc::clone(&watched.account), source, record, missed, missed_failures }
            })
            .collect();
        seen.reverse();
        // Where there is no supervisor there is nobody who watches.
        drop(supervisor.call::<()>("events", &seen).await);
        unsent.fetch_sub(count, Ordering::AcqRel);
        sent.notify_waiters();
        if count < TOGETHER as u64 {
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// Sees what one version does.
struct Watch {
    eyes: Arc<Eyes>,
    watched: Arc<Watched>,
    counts: Arc<Counts>,
    tally: Arc<Tally>,
}

impl Observer for Watch {
    fn begins(&self, headers: Option<&HeaderMap>) -> Option<Wanted> {
        self.watched.interest.begins(headers)
    }

    fn failed(&self) -> Option<Wanted> {
        self.watched.interest.failed()
    }

    fn log(&self, _: &Source, _: LogLine) {}

    fn exception(&self, _: &Source, exception: Exception) {
        *lock(&self.counts.last_error) = Some(format!("{}: {}", exception.name, exception.message));
    }

    fn goes_on(&self, event: &GoesOn<'_>) {
        let GoesOn { trigger, outcome, is_call, used, told } = *event;
        self.tally.count_so_far(&Event {
            kind: kind(trigger, is_call),
            outcome,
            used,
            counted: told,
            server_error: false,
        });
    }

    fn finished(&self, source: &Source, mut record: EventRecord) {
        let failed = is_failure(&record.trigger, record.outcome);
        self.counts.requests.fetch_add(1, Ordering::AcqRel);
        if failed {
            self.counts.errors.fetch_add(1, Ordering::AcqRel);
        }
        self.tally.count(&Event {
            kind: kind(&record.trigger, record.is_call),
            outcome: record.outcome,
            used: record.used(),
            counted: record.told.as_deref().copied(),
            server_error: failed && record.outcome == Outcome::Ok,
        });
        let interest = &self.watched.interest;
        let Some(details) = &mut record.details else { return };
        if interest.only_custom() && details.logs.is_empty() && details.exceptions.is_empty() {
            details.interval = 0;
        }
        if interest.takes(details.interval > 0 || details.trace.is_some()) {
            self.eyes.unsent.fetch_add(1, Ordering::AcqRel);
            if self.eyes.queue.try_send((Arc::clone(&self.watched), source.clone(), record)).is_err() {
                self.eyes.unsent.fetch_sub(1, Ordering::AcqRel);
                interest.missed.fetch_add(1, Ordering::Relaxed);
                interest.missed_failures.fetch_add(failed.into(), Ordering::Relaxed);
            }
        }
    }
}

/// What an event is billed as.
fn kind(trigger: &Trigger, is_call: bool) -> Kind {
    match trigger {
        Trigger::Rpc { .. } => Kind::Service,
        Trigger::Fetch { .. } if is_call => Kind::Service,
        Trigger::Fetch { .. } => Kind::Fetch,
        Trigger::Scheduled { .. } => Kind::Scheduled,
        Trigger::Queue { .. } => Kind::Queue,
        Trigger::Tail { .. } => Kind::Tail,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
