//! Counting: a few atomic adds for each event, and from time to time what was added since.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use skep_worker::{Outcome, Used};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::latency::Latencies;
use crate::{Batch, Counted, Entry, Kind, Latency, Usage};

/// Entries in one batch: what is more comes with the next one.
const MOST_ENTRIES: usize = 20_000;
/// Batches that wait for somebody to take them, at most: more than two weeks of hours.
const MOST_BATCHES: usize = 400;
/// Seconds of what bills are made of at least: days, months, and what is exported.
const HOUR: i64 = 3600;

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What it is.
    pub kind: Kind,
    /// How it ended, or would end now.
    pub outcome: Outcome,
    /// What it has used.
    pub used: Used,
    /// What of that was counted before, while it went on.
    pub counted: Option<Used>,
    /// Whether its answer had a status of 500 or more, and nothing else was wrong with it.
    pub server_error: bool,
}

/// What one version has used. Counting takes no lock, and allocates only for the first event that ends in a new way.
#[derive(Debug)]
pub struct Tally {
    account: Box<str>,
    worker: Box<str>,
    version: Uuid,
    counts: [OnceLock<Box<Counts>>; CELLS],
}

const CELLS: usize = Kind::ALL.len() * Outcome::ALL.len();

/// [`Usage`] that many threads add to. CPU time is in nanoseconds here, so that no event's is rounded.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    cpu_ns: AtomicU64,
    wall_us: AtomicU64,
    wall_ms: AtomicU64,
    wall_100ms: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    subrequests: AtomicU64,
    cold_starts: AtomicU64,
    latencies: Latencies,
}

fn whole(duration: u128) -> u64 {
    u64::try_from(duration).unwrap_or(u64::MAX)
}

/// Most events have no body and make no request.
fn add(to: &AtomicU64, more: u64) {
    if more != 0 {
        to.fetch_add(more, Ordering::Relaxed);
    }
}

impl Counts {
    /// What an event has used and was not counted before. The parts of one that goes on for long add up to its whole, as that is rounded.
    fn add(&self, event: &Event) {
        let (used, before) = (&event.used, &event.counted.unwrap_or_default());
        if event.counted.is_none() {
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
        let since = |of: fn(&Used) -> u64| of(used).saturating_sub(of(before));
        add(&self.cpu_ns, since(|used| whole(used.cpu.as_nanos())));
        add(&self.wall_us, since(|used| whole(used.wall.as_micros())));
        add(&self.wall_ms, since(|used| whole(used.wall.as_micros()).div_ceil(1000)));
        add(&self.wall_100ms, since(|used| whole(used.wall.as_micros()).div_ceil(100_000)));
        add(&self.bytes_in, since(|used| used.bytes_in));
        add(&self.bytes_out, since(|used| used.bytes_out));
        add(&self.subrequests, since(|used| used.subrequests.into()));
    }

    fn read(&self) -> Usage {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Usage {
            requests: read(&self.requests),
            cpu_us: read(&self.cpu_ns) / 1000,
            wall_us: read(&self.wall_us),
            wall_ms: read(&self.wall_ms),
            wall_100ms: read(&self.wall_100ms),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            subrequests: read(&self.subrequests),
            cold_starts: read(&self.cold_starts),
        }
    }
}

impl Tally {
    fn new(account: &str, worker: &str, version: Uuid) -> Self {
        Self { account: account.into(), worker: worker.into(), version, counts: [const { OnceLock::new() }; CELLS] }
    }

    fn counts(&self, kind: Kind, outcome: Outcome) -> &Counts {
        let cell = kind as usize * Outcome::ALL.len() + outcome as usize;
        self.counts[cell].get_or_init(Box::default)
    }

    /// An event is over.
    pub fn count(&self, event: &Event) {
        let counts = self.counts(event.kind, event.outcome);
        counts.add(event);
        counts.latencies.add(whole(event.used.wall.as_micros()), event.server_error);
    }

    /// An event goes on for long: what it has used so far is counted, and that it is there.
    pub fn count_so_far(&self, event: &Event) {
        self.counts(event.kind, event.outcome).add(event);
    }

    /// An isolate had to be started for an event.
    pub fn count_cold_start(&self, kind: Kind) {
        self.counts(kind, Outcome::Ok).cold_starts.fetch_add(1, Ordering::Relaxed);
    }
}

/// The tallies of one process, and what of them was not told yet.
#[derive(Debug)]
pub struct Meter {
    process: Uuid,
    /// The same process, for what is shown and not billed.
    shows: Uuid,
    tallies: Mutex<HashMap<Uuid, Told>>,
    pending: Mutex<Pending>,
}

/// What was counted, and is not known to have arrived.
#[derive(Debug, Default)]
struct Pending {
    /// The number of the batch that was made last.
    number: u64,
    /// The oldest first, with the moments that they are of.
    batches: VecDeque<(Counted, Instant)>,
    /// What was counted since the last of them and shown already: the next one.
    shown: Vec<Entry>,
    /// Where in that something is.
    places: HashMap<(Uuid, Kind, Outcome), usize>,
    /// How often something was shown.
    times: u64,
    /// When it was last looked for something to tell, and in which hour since 1970 that was.
    looked: Option<(i64, Instant)>,
}

/// A tally, and what of it is in batches.
#[derive(Debug)]
struct Told {
    tally: Arc<Tally>,
    told: HashMap<(Kind, Outcome), (Usage, Latency)>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { process: Uuid::new_v4(), shows: Uuid::new_v4(), tallies: Mutex::default(), pending: Mutex::default() }
    }
}

impl Meter {
    /// Where what a version uses is counted. What the platform runs for itself has no account: it is counted, and told nobody.
    pub fn tally(&self, account: &str, worker: &str, version: Uuid) -> Arc<Tally> {
        if account.is_empty() {
            return Arc::new(Tally::new(account, worker, version));
        }
        let mut tallies = lock(&self.tallies);
        let told = tallies
            .entry(version)
            .or_insert_with(|| Told { tally: Arc::new(Tally::new(account, worker, version)), told: HashMap::new() });
        Arc::clone(&told.tally)
    }

    /// What is to be told: the oldest batch of which nobody has said that it arrived, or what was counted since. Nothing if nothing was. The next one
    /// follows when that has arrived, so that none is counted twice and none is missing.
    ///
    /// Who cannot tell for long keeps what each hour had for itself, so that it can be billed to the hour, day and month in which it happened: within
    /// the time between two calls of this.
    pub fn batch(&self) -> Option<Counted> {
        self.batch_at(OffsetDateTime::now_utc(), Instant::now())
    }

    fn batch_at(&self, now: OffsetDateTime, at: Instant) -> Option<Counted> {
        let mut pending = lock(&self.pending);
        let hour = now.unix_timestamp().div_euclid(HOUR);
        let (before, since) = pending.looked.replace((hour, at)).unwrap_or((hour, at));
        let is_over = before != hour;
        let of = if is_over { since } else { at };
        if is_over && pending.batches.len() < MOST_BATCHES {
            pending.close(self.process, of);
            while self.cut(&mut pending, of) {}
        } else if pending.batches.is_empty() && !pending.close(self.process, of) {
            self.cut(&mut pending, of);
        }
        let (counted, of) = pending.batches.front()?;
        let age_ms = whole(at.saturating_duration_since(*of).as_millis());
        Some(Counted { age_ms, ..counted.clone() })
    }

    /// Makes a batch of what was counted since. Gives whether there is more.
    fn cut(&self, pending: &mut Pending, of: Instant) -> bool {
        let (entries, latencies): (Vec<_>, Vec<_>) = self.since().into_iter().unzip();
        let is_more = entries.len() >= MOST_ENTRIES;
        if !entries.is_empty() {
            pending.push(self.process, entries, latencies, of);
        }
        is_more
    }

    /// What was counted since this or [`Self::batch`] was called, while a batch waits to be taken: to show how Workers do, and not to be billed, as
    /// it comes with a batch later. Nothing if nothing was, or if no batch waits.
    pub fn meanwhile(&self) -> Option<Counted> {
        let mut pending = lock(&self.pending);
        if pending.batches.is_empty() || pending.shown.len() >= MOST_ENTRIES {
            return None;
        }
        let (entries, latencies): (Vec<_>, Vec<_>) = self.since().into_iter().unzip();
        if entries.is_empty() {
            return None;
        }
        entries.iter().for_each(|entry| pending.show(entry));
        pending.times += 1;
        Some(Counted { batch: Batch { process: self.shows, number: pending.times, entries }, latencies, age_ms: 0 })
    }

    /// The batch of this number has arrived.
    pub fn arrived(&self, number: u64) {
        let mut pending = lock(&self.pending);
        if pending.batches.front().is_some_and(|(counted, _)| counted.batch.number == number) {
            pending.batches.pop_front();
        }
    }

    /// What was counted since this was called last. Tallies that nobody has any more, and that are told, go.
    fn since(&self) -> Vec<(Entry, Latency)> {
        let mut entries = Vec::new();
        lock(&self.tallies).retain(|_, told| {
            // Who counts has the tally: nothing can come after this is seen.
            let is_used = Arc::strong_count(&told.tally) > 1;
            fence(Ordering::Acquire);
            if entries.len() >= MOST_ENTRIES {
                return true;
            }
            let before = entries.len();
            told.since(&mut entries);
            is_used || entries.len() > before
        });
        entries
    }
}

impl Pending {
    fn push(&mut self, process: Uuid, entries: Vec<Entry>, latencies: Vec<Latency>, of: Instant) {
        self.number += 1;
        let batch = Batch { process, number: self.number, entries };
        self.batches.push_back((Counted { batch, latencies, age_ms: 0 }, of));
    }

    /// Adds to what was shown.
    fn show(&mut self, entry: &Entry) {
        let Self { shown, places, .. } = self;
        let place = *places.entry((entry.version, entry.kind, entry.outcome)).or_insert_with(|| {
            shown.push(Entry { usage: Usage::default(), ..entry.clone() });
            shown.len() - 1
        });
        shown[place].usage += entry.usage;
    }

    /// Makes a batch of what was shown. Gives whether there was something.
    fn close(&mut self, process: Uuid, of: Instant) -> bool {
        self.places.clear();
        let entries = std::mem::take(&mut self.shown);
        let is_something = !entries.is_empty();
        if is_something {
            // Without latencies, who shows how Workers do takes nothing of it: that was shown.
            self.push(process, entries, Vec::new(), of);
        }
        is_something
    }
}

impl Told {
    fn since(&mut self, entries: &mut Vec<(Entry, Latency)>) {
        for kind in Kind::ALL {
            for outcome in Outcome::ALL {
                let cell = kind as usize * Outcome::ALL.len() + outcome as usize;
                let Some(counts) = self.tally.counts[cell].get() else { continue };
                let now = (counts.read(), counts.latencies.read());
                let before = self.told.insert((kind, outcome), now).unwrap_or_default();
                let (usage, latency) = (now.0 - before.0, now.1 - before.1);
                if !usage.is_empty() || !latency.is_empty() {
                    let entry = Entry {
                        account: self.tally.account.to_string(),
                        worker: self.tally.worker.to_string(),
                        version: self.tally.version,
                        kind,
                        outcome,
                        usage,
                    };
                    entries.push((entry, latency));
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
