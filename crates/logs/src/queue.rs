//! The queue between those who append and the thread that writes. It has a limit in bytes and in entries, and nobody waits at it.
//!
//! Entries are sorted by their Worker as they come. One Worker may have half of the room, so that one that logs wildly cannot take the place of the
//! others. What finds no room is counted, and the count goes with the next entries of its Worker.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Entry;
use crate::frame::{LONGEST_NAMES, Owner};

/// What may wait to be written.
pub(crate) const MOST_BYTES: usize = 32 << 20;
const MOST_ENTRIES: usize = 65_536;
/// The largest entry in bytes.
pub(crate) const LARGEST_ENTRY: usize = 4 << 20;
/// What the first entry of a Worker takes of the room beside itself.
const GROUP: usize = 256;
/// The writer is woken for this many bytes, and otherwise when the first entry has waited for so long.
const EAGER: usize = 1 << 20;
const PAUSE: Duration = Duration::from_secs(1);

/// What waits of one Worker.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Entries by their sequence.
    pub(crate) entries: Vec<(u64, Entry)>,
    /// Entries that found no room.
    pub(crate) dropped: u32,
    bytes: usize,
}

/// What the writer takes out at once.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) groups: Vec<(Owner, Group)>,
    /// Every entry up to this sequence is in this batch or was in one before.
    pub(crate) last: u64,
    /// Whether nothing comes after it.
    pub(crate) is_over: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By account and Worker.
    groups: HashMap<Arc<str>, HashMap<Arc<str>, Group>>,
    bytes: usize,
    entries: usize,
    /// The sequence of the next entry.
    next: u64,
    /// Every entry up to this sequence is on the disk, or was dropped.
    written: u64,
    /// When the first entry came.
    since: Option<Instant>,
    /// Whether somebody waits for what is in here.
    is_urgent: bool,
    is_closed: bool,
    /// Whether nobody writes any more.
    is_over: bool,
    /// All entries that were dropped, here or by the writer.
    dropped: u64,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// For the writer.
    news: Condvar,
    /// For those who wait until something is written.
    written: Condvar,
}

impl Queue {
    /// A queue whose first entry gets a sequence.
    pub(crate) fn new(next: u64) -> Self {
        let waiting = Waiting { next, written: next - 1, ..Waiting::default() };
        Self { waiting: Mutex::new(waiting), news: Condvar::new(), written: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an entry in, or counts it if there is no room.
    pub(crate) fn append(&self, entry: Entry) {
        let size = entry.size();
        let mut waiting = self.lock();
        let had = waiting.bytes;
        if !waiting.put(entry, size) {
            return;
        }
        let was_empty = waiting.since.is_none();
        if was_empty {
            waiting.since = Some(Instant::now());
        }
        // To wake a thread takes a system call: not for each entry.
        if was_empty || (had < EAGER && waiting.bytes >= EAGER) {
            drop(waiting);
            self.news.notify_one();
        }
    }

    /// Takes out what is in here: when it is much, has waited for a while, or somebody waits for it; at the latest after `longest`, which may be nothing.
    pub(crate) fn take(&self, longest: Duration) -> Batch {
        let until = Instant::now() + longest;
        let mut waiting = self.lock();
        loop {
            let due = waiting.since.map_or(until, |since| since + PAUSE).min(until);
            let left = due.saturating_duration_since(Instant::now());
            if waiting.is_urgent || waiting.is_closed || waiting.bytes >= EAGER || left.is_zero() {
                break;
            }
            waiting = self.news.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let taken = std::mem::take(&mut waiting.groups);
        (waiting.bytes, waiting.entries, waiting.since, waiting.is_urgent) = (0, 0, None, false);
        let of_account = |(account, workers): (Arc<str>, HashMap<Arc<str>, Group>)| {
            let owner = move |worker| Owner { account: Arc::clone(&account), worker };
            workers.into_iter().map(move |(worker, group)| (owner(worker), group))
        };
        let groups = taken.into_iter().flat_map(of_account).collect();
        Batch { groups, last: waiting.next - 1, is_over: waiting.is_closed }
    }

    /// Says that every entry up to a sequence is on the disk, or was dropped.
    pub(crate) fn written(&self, last: u64) {
        self.lock().written = last;
        self.written.notify_all();
    }

    /// Waits until everything that was appended before is on the disk, or was dropped. Gives the sequence up to which that is so.
    pub(crate) fn flush(&self) -> u64 {
        let mut waiting = self.lock();
        let last = waiting.next - 1;
        while waiting.written < last && !waiting.is_over {
            waiting.is_urgent = true;
            self.news.notify_one();
            waiting = self.written.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.written
    }

    /// Counts entries that the writer dropped.
    pub(crate) fn count_dropped(&self, entries: u64) {
        self.lock().dropped += entries;
    }

    /// Entries that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Lets the writer write what is here, and then end.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    /// Says that nobody writes any more.
    pub(crate) fn end(&self) {
        let mut waiting = self.lock();
        (waiting.is_closed, waiting.is_over) = (true, true);
        self.written.notify_all();
    }
}

impl Waiting {
    /// Gives whether it was taken.
    fn put(&mut self, entry: Entry, size: usize) -> bool {
        let has_room = !self.is_closed
            && size <= LARGEST_ENTRY
            && entry.account.len() + entry.worker.len() <= LONGEST_NAMES
            && self.entries < MOST_ENTRIES
            && self.bytes + size + GROUP <= MOST_BYTES;
        let of_account = self.groups.get_mut(&entry.account);
        match of_account.and_then(|workers| workers.get_mut(&entry.worker)) {
            Some(group) => {
                if !has_room || group.bytes + size > MOST_BYTES / 2 {
                    group.dropped = group.dropped.saturating_add(1);
                    self.dropped += 1;
                    return false;
                }
                group.bytes += size;
                group.entries.push((self.next, entry));
            }
            None if has_room => {
                let workers = self.groups.entry(Arc::clone(&entry.account)).or_default();
                let group = workers.entry(Arc::clone(&entry.worker)).or_default();
                group.bytes = size;
                group.entries.push((self.next, entry));
                self.bytes += GROUP;
            }
            None => {
                self.dropped += 1;
                return false;
            }
        }
        self.bytes += size;
        self.entries += 1;
        self.next += 1;
        true
    }
}

#[cfg(test)]
mod tests;
