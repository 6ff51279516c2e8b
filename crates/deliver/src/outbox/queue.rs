//! What waits, what failed, and what was there: the outbox in memory. Every change of it is a record, the same one that is in the file.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use super::log::Record;
use crate::{Item, Limits};

/// All destinations.
#[derive(Debug)]
pub(super) struct State {
    pub(super) queues: BTreeMap<String, Queue>,
    /// The number of the next item.
    pub(super) next: u64,
    limits: Limits,
}

/// One destination.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Entry>,
    pub(super) failed: VecDeque<(Entry, Failure)>,
    /// Bytes of both on the disk.
    pub(super) bytes: u64,
    pub(super) seen: Seen,
    /// Told when there is more to do.
    pub(super) news: Arc<Notify>,
    /// Told when the next try is not to be waited for.
    pub(super) hurry: Arc<Notify>,
    /// Why the last try failed, and when the next one is. Nothing if it did not fail.
    pub(super) late: Option<Failure>,
    /// Alerts that were dropped since this was last told.
    pub(super) dropped: u64,
}

/// An item that was taken.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// When it was taken, in milliseconds since 1970.
    pub(super) at: u64,
    /// Its idempotency key.
    pub(super) id: String,
    pub(super) item: Arc<Item>,
    /// Bytes on the disk.
    bytes: u64,
}

/// Why an item will never be delivered, or was not yet.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// When that was known, or the next try is, in milliseconds since 1970.
    pub(super) at: u64,
}

/// Keys of items that were delivered, and until when they are remembered. Bounded.
#[derive(Debug, Default)]
pub(super) struct Seen {
    keys: HashMap<String, Remembered>,
    /// In the order in which they came.
    order: BTreeMap<u64, String>,
    /// Where the next one comes in that order.
    next: u64,
}

#[derive(Debug)]
struct Remembered {
    until: u64,
    place: u64,
}

// === impl State ===

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self { queues: BTreeMap::new(), next: 1, limits }
    }

    /// Makes room for the queue of a destination. Gives whether there is one, or may be.
    pub(super) fn admits(&mut self, destination: &str) -> bool {
        if self.queues.len() >= self.limits.destinations && !self.queues.contains_key(destination) {
            self.queues.retain(|_, queue| !queue.is_idle());
        }
        self.queues.contains_key(destination) || self.queues.len() < self.limits.destinations
    }

    pub(super) fn queue(&mut self, destination: &str) -> &mut Queue {
        if !self.queues.contains_key(destination) {
            self.queues.insert(destination.to_owned(), Queue::default());
        }
        self.queues.get_mut(destination).expect("it was made where it was not there")
    }

    /// Changes what is in memory as a record says, which has so many bytes on the disk.
    pub(super) fn apply(&mut self, record: Record, bytes: u64) {
        match record {
            Record::Put { number, at, id, item } => {
                self.next = self.next.max(number + 1);
                let queue = self.queue(&item.destination);
                queue.bytes += bytes;
                queue.waiting.push_back(Entry { number, at, id, item: Arc::new(item), bytes });
            }
            Record::Sent { destination, number, at } => {
                let limits = self.limits;
                let queue = self.queue(&destination);
                if let Some(Entry { item, .. }) = queue.take(number) {
                    queue.seen.add(item.key(), at.saturating_add(remembered(&item, &limits)), limits.keys);
                }
            }
            Record::Dropped { destination, number } => drop(self.queue(&destination).take(number)),
            Record::Failed { destination, number, at, reason } => {
                let queue = self.queue(&destination);
                if let Some(entry) = queue.take(number) {
                    queue.bytes += entry.bytes;
                    queue.failed.push_back((entry, Failure { reason, at }));
                }
            }
            Record::Again { destination, number, at } => {
                let queue = self.queue(&destination);
                if let Some(entry) = queue.take(number) {
                    queue.bytes += entry.bytes;
                    queue.waiting.push_back(Entry { at, ..entry });
                }
            }
            Record::Seen { destination, key, until } => {
                let keys = self.limits.keys;
                self.queue(&destination).seen.add(&key, until, keys);
            }
        }
    }

    /// The fewest records that say all of this.
    pub(super) fn records(&self, now: u64) -> impl Iterator<Item = Record> + '_ {
        self.queues.iter().flat_map(move |(destination, queue)| {
            let seen = queue.seen.order.values().filter_map(move |key| {
                let until = queue.seen.until(key, now)?;
                Some(Record::Seen { destination: destination.clone(), key: key.clone(), until })
            });
            let put = |entry: &Entry| Record::Put {
                number: entry.number,
                at: entry.at,
                id: entry.id.clone(),
                item: Item::clone(&entry.item),
            };
            let failed = queue.failed.iter().flat_map(move |(entry, failure)| {
                let (destination, reason) = (destination.clone(), failure.reason.clone());
                [put(entry), Record::Failed { destination, number: entry.number, at: failure.at, reason }]
            });
            seen.chain(failed).chain(queue.waiting.iter().map(put))
        })
    }
}

/// How long the key of an item is remembered once that was delivered, in milliseconds.
fn remembered(item: &Item, limits: &Limits) -> u64 {
    let long = if item.is_alert() { limits.same_alert } else { limits.same_usage };
    u64::try_from(long.as_millis()).unwrap_or(u64::MAX)
}

// === impl Queue ===

impl Queue {
    /// Takes an item out.
    fn take(&mut self, number: u64) -> Option<Entry> {
        let waiting = self.waiting.iter().position(|entry| entry.number == number);
        let failed = || self.failed.iter().position(|(entry, _)| entry.number == number);
        let entry = match waiting {
            Some(place) => self.waiting.remove(place),
            None => failed().and_then(|place| self.failed.remove(place)).map(|(entry, _)| entry),
        }?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// Whether an item is here, or was not long ago, that this one is the same as. An alert that failed is not the same as a new one.
    pub(super) fn has(&self, item: &Item, now: u64) -> bool {
        let key = item.key();
        let mut failed = self.failed.iter().map(|(entry, _)| entry).filter(|entry| !entry.item.is_alert());
        self.seen.until(key, now).is_some()
            || self.waiting.iter().any(|entry| entry.item.key() == key)
            || failed.any(|entry| entry.item.key() == key)
    }

    /// The alerts that go for an item of so many bytes: those that failed first, then the oldest.
    ///
    /// # Errors
    /// When there is no room even without all of them.
    pub(super) fn room_for(&self, bytes: u64, limits: &Limits) -> Result<Vec<u64>, Full> {
        let (mut items, mut held) = (self.waiting.len() + self.failed.len() + 1, self.bytes + bytes);
        let failed = self.failed.iter().map(|(entry, _)| entry);
        let mut alerts = failed.chain(&self.waiting).filter(|entry| entry.item.is_alert());
        let mut go = Vec::new();
        while items > limits.items || held > limits.bytes {
            let entry = alerts.next().ok_or(Full)?;
            items -= 1;
            held -= entry.bytes;
            go.push(entry.number);
        }
        Ok(go)
    }

    /// Whether nothing would be lost without it.
    fn is_idle(&self) -> bool {
        let is_empty = self.waiting.is_empty() && self.failed.is_empty() && self.seen.keys.is_empty();
        is_empty && Arc::strong_count(&self.news) == 1
    }
}

/// There is no room, and nothing that may go.
pub(super) struct Full;

// === impl Seen ===

impl Seen {
    /// Remembers a key until a moment. The oldest one goes when there are more than `most`.
    fn add(&mut self, key: &str, until: u64, most: usize) {
        let place = self.next;
        self.next += 1;
        if let Some(before) = self.keys.insert(key.to_owned(), Remembered { until, place }) {
            self.order.remove(&before.place);
        }
        self.order.insert(place, key.to_owned());
        if self.keys.len() > most
            && let Some((_, first)) = self.order.pop_first()
        {
            self.keys.remove(&first);
        }
    }

    /// Until when a key is remembered, if it is at this moment.
    fn until(&self, key: &str, now: u64) -> Option<u64> {
        self.keys.get(key).map(|remembered| remembered.until).filter(|until| *until > now)
    }

    /// Forgets the oldest ones whose time is over.
    pub(super) fn tidy(&mut self, now: u64) {
        while let Some(first) = self.order.first_entry()
            && self.keys.get(first.get()).is_none_or(|remembered| remembered.until <= now)
        {
            self.keys.remove(&first.remove());
        }
    }
}
