//! The outbox: a queue of items that is on the disk, one line for each destination.
//!
//! What is taken is in the file before [`Outbox::put`] returns, and out of it only when it was delivered, or when somebody said that it is not
//! wanted any more. A process that dies between a delivery and its record delivers once more, with the same idempotency key.

mod failed;
mod log;
mod queue;
mod worker;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

use crate::item::ItemError;
use crate::{Item, Limits, Message};
use log::{Log, Record};
use queue::{Full, Queue, State};

pub use failed::{Failed, Retried, Which};

/// The file is written anew when it is this many bytes longer than twice what it was then.
const SLACK: u64 = 1 << 20;

/// Why an item is not taken, or the queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The folder or its file cannot be made, read or written.
    #[error("the outbox in {path}: {source}: look at the disk's space and the folder's owner")]
    Io {
        /// The folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The item makes no sense.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// Nothing that failed and is kept has this key.
    #[error("nothing that failed has the id \"{0}\": it was sent, let go of, or never there")]
    Unknown(String),
    /// There is no room, and no alert that could go.
    #[error(
        "the queue for \"{destination}\" is full ({items} items, {bytes} bytes): nothing was taken; see why it is not delivered, or let go of \
         what failed, and hand in the same item again"
    )]
    Full {
        /// The destination.
        destination: String,
        /// Items that it has.
        items: usize,
        /// Bytes that these have on the disk.
        bytes: u64,
    },
    /// The item is larger than any may be.
    #[error(
        "an item for \"{destination}\" has {bytes} bytes, more than the {limit} that one may have: shorten its text"
    )]
    TooLarge {
        /// The destination.
        destination: String,
        /// Bytes that it would have on the disk.
        bytes: u64,
        /// Bytes that it may have.
        limit: u64,
    },
    /// There are items for too many destinations.
    #[error(
        "there are items for {0} destinations already, the most that may be: remove destinations that nobody configures any more"
    )]
    Destinations(usize),
}

/// What became of an item that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is on the disk and will be sent.
    Queued,
    /// The same item waits, or was delivered not long ago: this one is not sent.
    Known,
}

/// A queue on the disk. One process has it.
#[derive(Debug)]
pub struct Outbox {
    folder: PathBuf,
    limits: Limits,
    inner: Mutex<Inner>,
    damaged: u64,
}

#[derive(Debug)]
struct Inner {
    state: State,
    log: Log,
    /// How long the file was when it was written anew.
    fresh: u64,
}

/// What waits for a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The destination.
    pub destination: String,
    /// Items that will be sent.
    pub items: usize,
    /// When the first of them was taken.
    pub since: Option<OffsetDateTime>,
    /// Items that failed and are kept.
    pub failed: usize,
    /// Bytes of all of them on the disk.
    pub bytes: u64,
    /// Why the last try failed, as a sentence without its end. Nothing if it did not, or there was none since the start.
    pub reason: Option<String>,
    /// When the next try is, where the last one failed.
    pub next: Option<OffsetDateTime>,
}

impl Outbox {
    /// Opens the queue in a folder, which is made if it is not there. What waited when the last process ended waits again.
    ///
    /// # Errors
    /// When the folder cannot be made, read or written, or another process has it.
    pub fn open(folder: impl Into<PathBuf>, limits: Limits) -> Result<Self, OutboxError> {
        let folder = folder.into();
        let (mut log, found) = Log::open(&folder).map_err(|source| io_error(&folder, source))?;
        let mut state = State::new(limits);
        for (record, bytes) in found.records {
            state.apply(record, bytes);
        }
        let damaged = found.damaged;
        if damaged > 0 {
            // It is told once, unless the disk is full: then the next start tells it again.
            drop(log.replace(state.records(now())));
        }
        let inner = Mutex::new(Inner { state, log, fresh: 0 });
        Ok(Self { folder, limits, inner, damaged })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an item. It is on the disk when this returns, which takes as long as the disk does: not for a thread that others wait for.
    ///
    /// When the destination's queue is full, the oldest alerts go, those that failed first.
    ///
    /// # Errors
    /// When the item makes no sense, is too large, or cannot be written; when the queue is full of usage events. Nothing is taken then, and
    /// nothing went.
    pub fn put(&self, item: Item) -> Result<Taken, OutboxError> {
        item.check()?;
        let destination = item.destination.clone();
        let now = now();
        let mut inner = self.lock();
        if !inner.state.admits(&destination) {
            return Err(OutboxError::Destinations(self.limits.destinations));
        }
        let number = inner.state.next;
        let queue = inner.state.queue(&destination);
        queue.seen.tidy(now);
        if queue.has(&item, now) {
            return Ok(Taken::Known);
        }
        let put = Record::Put { number, at: now, id: idempotency_key(&item, number, now), item };
        let bytes = log::line(&put).map_err(|source| io_error(&self.folder, source))?.len() as u64;
        if bytes > self.limits.item_bytes {
            return Err(OutboxError::TooLarge { destination, bytes, limit: self.limits.item_bytes });
        }
        let gone = queue.room_for(bytes, &self.limits).map_err(|Full| OutboxError::Full {
            destination: destination.clone(),
            items: queue.waiting.len() + queue.failed.len(),
            bytes: queue.bytes,
        })?;
        let dropped = gone.len() as u64;
        let gone = gone.into_iter().map(|number| Record::Dropped { destination: destination.clone(), number });
        self.write(&mut inner, gone.chain([put]).collect())?;
        let queue = inner.state.queue(&destination);
        queue.dropped += dropped;
        queue.news.notify_one();
        Ok(Taken::Queued)
    }

    /// Writes records, and changes what is in memory as they say.
    fn write(&self, inner: &mut Inner, records: Vec<Record>) -> Result<(), OutboxError> {
        inner.log.append(&records).map_err(|source| io_error(&self.folder, source))?;
        self.apply(inner, records);
        Ok(())
    }

    fn apply(&self, inner: &mut Inner, records: Vec<Record>) {
        for record in records {
            let bytes = match &record {
                Record::Put { .. } => log::line(&record).map_or(0, |line| line.len() as u64),
                _ => 0,
            };
            inner.state.apply(record, bytes);
        }
        if inner.log.length() > 2 * inner.fresh + SLACK {
            // If the disk is full, the old file is still good; the next one is tried when that has grown again.
            let written = inner.log.replace(inner.state.records(now()));
            inner.fresh = inner.log.length();
            drop(written);
        }
    }

    /// What waits, for each destination that has items, by name.
    pub fn waiting(&self) -> Vec<Waiting> {
        let inner = self.lock();
        let has_items = |queue: &Queue| !queue.waiting.is_empty() || !queue.failed.is_empty();
        let of = |(destination, queue): (&String, &Queue)| Waiting {
            destination: destination.clone(),
            items: queue.waiting.len(),
            since: queue.waiting.front().map(|entry| moment(entry.at)),
            failed: queue.failed.len(),
            bytes: queue.bytes,
            reason: queue.late.as_ref().map(|late| late.reason.clone()),
            next: queue.late.as_ref().map(|late| moment(late.at)),
        };
        inner.state.queues.iter().filter(|(_, queue)| has_items(queue)).map(of).collect()
    }

    /// How many records of the file could not be read when it was opened, although others came after them: no crash does that. The file as it
    /// was is beside it, as `outbox.damaged`.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }
}

/// The key with which an item is sent, each time.
fn idempotency_key(item: &Item, number: u64, at: u64) -> String {
    match &item.message {
        Message::Usage(event) => event.key.clone(),
        Message::Alert(alert) => {
            let mut hasher = blake3::Hasher::new();
            for part in [item.destination.as_bytes(), alert.key.as_bytes(), &number.to_le_bytes(), &at.to_le_bytes()] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
            format!("msg_{}", &hasher.finalize().to_hex()[..32])
        }
    }
}

fn io_error(folder: &Path, source: io::Error) -> OutboxError {
    OutboxError::Io { path: folder.display().to_string(), source }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn moment(ms: u64) -> OffsetDateTime {
    OffsetDateTime::from(UNIX_EPOCH + Duration::from_millis(ms))
}

#[cfg(test)]
mod tests;
