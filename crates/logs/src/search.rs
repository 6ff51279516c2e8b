//! Searching: the files of an account's Workers, read together from the newest entry to the oldest.
//!
//! Each Worker's frames are in the order of their sequences; those of several Workers overlap. So frames are read in the order of their last entries, and an
//! entry is given when no frame that is still to be read can have a newer one. A call stops when its page is full, or when it has decompressed enough,
//! and its cursor is the sequence that it came to. That stays right while entries are added, packed and removed.

use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::block::records;
use crate::frame::Owner;
use crate::index::Files;
use crate::logs::{Shared, milliseconds, now};
use crate::query::Filter;
use crate::segment::{self, Placed, Reader, Segment, Unreadable};
use crate::{Entry, Query, SearchError};

/// What a call decompresses, in bytes. It is more where a single step needs more: a frame of each Worker of the account.
const MOST_READ: u64 = 64 << 20;
/// Bytes of entries on a page.
const MOST_PAGE: usize = 16 << 20;

/// An event that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number, which no other event of this store has. Newer ones have higher ones.
    pub sequence: u64,
    /// The event.
    pub entry: Entry,
}

/// A place where events are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Whose events.
    pub worker: Arc<str>,
    /// They were dropped some time before this, in milliseconds since 1970.
    pub before: i64,
    /// How many.
    pub dropped: u64,
}

/// A part of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Events, the newest first, in the order in which they were appended. There may be none although [`Self::next`] says that there is more to look at.
    pub events: Vec<Found>,
    /// What [`Query::cursor`] is for the next page. `None` if there is nothing more.
    pub next: Option<String>,
    /// What was decompressed for this page, in bytes.
    pub scanned_bytes: u64,
    /// Where events are missing, of the Workers and times that were looked at, the newest first.
    pub gaps: Vec<Gap>,
    /// Frames that were to be read and could not be, as they are damaged.
    pub damaged: u64,
}

/// Answers a query.
pub(crate) fn search(shared: &Shared, query: &Query) -> Result<Page, SearchError> {
    let limit = query.page_size()?;
    let below = query.below()?;
    let written = shared.queue.flush();
    let begin = below.unwrap_or(u64::MAX).min(written + 1);
    let oldest = now().saturating_sub(milliseconds(shared.limits.keep));
    let mut search = Search {
        shared,
        query,
        filter: Filter::new(query, oldest),
        limit,
        below: begin,
        page: Page::default(),
        page_bytes: 0,
        gaps: BTreeMap::new(),
        missing: HashSet::new(),
        lowered: Vec::new(),
    };
    // Without memory for a decompressor nothing can be read: the cursor says so by standing still.
    let is_over = Reader::new().is_ok_and(|mut reader| {
        loop {
            match search.walk(&mut reader) {
                Walked::Over => break true,
                Walked::Stopped => break false,
                // Files were packed or removed meanwhile: what is there now is read from here on.
                Walked::Stale => {}
            }
        }
    });
    let Search { mut page, gaps, below, .. } = search;
    let reached = if is_over { 0 } else { below };
    page.next = (!is_over).then(|| query.cursor_at(below));
    page.gaps = gaps.range(reached..begin).rev().map(|(_, gap)| gap.clone()).collect();
    Ok(page)
}

/// How a walk through the files ended.
enum Walked {
    Over,
    Stopped,
    Stale,
}

struct Search<'s> {
    shared: &'s Shared,
    query: &'s Query,
    filter: Filter<'s>,
    limit: usize,
    /// Entries from this sequence on are on the page, or on one before.
    below: u64,
    page: Page,
    /// Bytes of its entries.
    page_bytes: usize,
    /// By the sequence of the entry after it.
    gaps: BTreeMap<u64, Gap>,
    /// Files that are in the index, and not on the disk.
    missing: HashSet<Arc<Path>>,
    lowered: Vec<u8>,
}

/// The frames of a Worker that are still to be read.
struct Lane {
    owner: Owner,
    segments: Vec<Arc<Segment>>,
    /// How many frames of the last segment are left.
    left: usize,
}

impl Lane {
    /// Takes off the newest frame that is left.
    fn pop(&mut self) -> Option<(Arc<Segment>, Placed)> {
        loop {
            let segment = self.segments.last()?;
            if let Some(left) = self.left.checked_sub(1) {
                self.left = left;
                return Some((Arc::clone(segment), segment.frames[left]));
            }
            self.segments.pop();
            self.left = self.segments.last().map_or(0, |segment| segment.frames.len());
        }
    }
}

/// Entries that were found and may not be given yet, by their sequences. Only so many are kept as can be given.
#[derive(Default)]
struct Pending {
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
    /// Entries up to this sequence may have been let go.
    floor: u64,
}

impl Pending {
    fn add(&mut self, sequence: u64, entry: Entry, most: usize) {
        self.bytes += entry.size();
        self.entries.insert(sequence, entry);
        while self.entries.len() > most || (self.bytes > MOST_PAGE && self.entries.len() > 1) {
            let Some((oldest, entry)) = self.entries.pop_first() else { break };
            self.bytes -= entry.size();
            self.floor = self.floor.max(oldest);
        }
    }

    /// Takes out the newest entry, if it comes after a sequence.
    fn pop_after(&mut self, sequence: u64) -> Option<(u64, Entry)> {
        let (newest, entry) = self.entries.pop_last()?;
        if newest <= sequence {
            self.entries.insert(newest, entry);
            return None;
        }
        self.bytes -= entry.size();
        Some((newest, entry))
    }
}

impl Search<'_> {
    /// Goes through what is in the index now, from where the last walk came to.
    fn walk(&mut self, reader: &mut Reader) -> Walked {
        let mut lanes = self.lanes();
        let mut next: BinaryHeap<(u64, usize)> = BinaryHeap::new();
        let mut heads: Vec<Option<(Arc<Segment>, Placed)>> = Vec::new();
        for (number, lane) in lanes.iter_mut().enumerate() {
            let head = self.next_of(lane);
            next.extend(head.as_ref().map(|(_, placed)| (placed.head.summary.last, number)));
            heads.push(head);
        }
        let mut pending = Pending::default();
        loop {
            let newest = next.peek().map_or(0, |(last, _)| *last);
            while let Some((sequence, entry)) = pending.pop_after(newest.max(pending.floor)) {
                self.below = sequence;
                self.page_bytes += entry.size();
                self.page.events.push(Found { sequence, entry });
                if self.page.events.len() == self.limit || self.page_bytes >= MOST_PAGE {
                    return Walked::Stopped;
                }
            }
            if pending.floor > 0 && pending.entries.is_empty() {
                return Walked::Stopped;
            }
            let Some((_, number)) = next.pop() else { return Walked::Over };
            // Everything that comes after `newest` is given.
            if newest + 1 < self.below {
                self.below = newest + 1;
                if self.page.scanned_bytes >= MOST_READ {
                    return Walked::Stopped;
                }
            }
            if let Some((segment, placed)) = heads[number].take() {
                match reader.read(&segment, &placed) {
                    Ok(()) => self.look(&reader.raw, &lanes[number].owner, &placed, &mut pending),
                    Err(Unreadable::Damaged(damage)) => self.leave_out(&segment, placed.offset, &damage),
                    Err(Unreadable::Gone) if self.missing.insert(Arc::clone(&segment.path)) => return Walked::Stale,
                    // It is in the index again: somebody else removed it.
                    Err(Unreadable::Gone) => {
                        self.leave_out(&segment, 0, &segment::damage(&segment, 0, "it is not there"));
                    }
                    Err(Unreadable::Closed(error)) => {
                        self.leave_out(&segment, 0, &segment::damage(&segment, 0, &error.to_string()));
                    }
                }
            }
            let head = self.next_of(&mut lanes[number]);
            next.extend(head.as_ref().map(|(_, placed)| (placed.head.summary.last, number)));
            heads[number] = head;
        }
    }

    /// The frames of the Workers that are asked for.
    fn lanes(&self) -> Vec<Lane> {
        let index = self.shared.index();
        let account: Arc<str> = self.query.account.as_str().into();
        let lane = |(worker, files): (&Arc<str>, &Files)| {
            let segments: Vec<_> = files.all().cloned().collect();
            let left = segments.last().map_or(0, |segment| segment.frames.len());
            Lane { owner: Owner { account: Arc::clone(&account), worker: Arc::clone(worker) }, segments, left }
        };
        index.of_account(&self.query.account, self.query.worker.as_deref()).map(lane).collect()
    }

    /// The next frame that may have something that is looked for. Notes gaps on the way.
    fn next_of(&mut self, lane: &mut Lane) -> Option<(Arc<Segment>, Placed)> {
        while let Some((segment, placed)) = lane.pop() {
            let summary = &placed.head.summary;
            if summary.first >= self.below {
                continue;
            }
            if summary.dropped > 0 && self.filter.is_then(summary) {
                let dropped = u64::from(summary.dropped);
                let gap = Gap { worker: Arc::clone(&lane.owner.worker), before: summary.earliest, dropped };
                self.gaps.insert(summary.first, gap);
            }
            if self.filter.may_have(summary) {
                return Some((segment, placed));
            }
        }
        None
    }

    /// Leaves out a frame that cannot be read.
    fn leave_out(&mut self, segment: &Segment, offset: u64, damage: &str) {
        self.page.damaged += 1;
        self.shared.tell_damage(segment, offset, damage);
    }

    /// Looks at the entries of a block.
    fn look(&mut self, raw: &[u8], owner: &Owner, placed: &Placed, pending: &mut Pending) {
        self.page.scanned_bytes += u64::from(placed.head.summary.raw);
        if !self.filter.may_be_in(raw, &mut self.lowered) {
            return;
        }
        let most = self.limit - self.page.events.len();
        for record in records(raw) {
            let is_wanted = record.sequence < self.below && record.sequence > pending.floor;
            if is_wanted && self.filter.admits(&record, &mut self.lowered) {
                pending.add(record.sequence, record.entry(owner), most);
            }
        }
    }
}
