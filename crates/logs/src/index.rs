//! The index: which files each Worker has, with the heads of all frames, in memory. The writer changes it, searches take what they need.
//!
//! Here it is decided who loses what: when the files take more than the budget, the Worker that holds the most loses its oldest file. See the
//! crate's documentation for what follows from that.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use crate::frame::Owner;
use crate::segment::{Kind, Segment};

/// A segment gets no more frames when it has as many bytes. It is less when Workers hold less: a file is what one loses at once.
const LARGEST_SEGMENT: u64 = 8 << 20;
const SMALLEST_SEGMENT: u64 = 32 << 10;
/// A Worker that loses its oldest file keeps all but this part of its share.
const FILES_IN_A_SHARE: u64 = 4;

/// The files of a Worker.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// The oldest first.
    packed: VecDeque<Arc<Segment>>,
    /// What is not packed yet.
    young: Option<Arc<Segment>>,
    /// Entries that could not be written since the last frame.
    pub(crate) lost: u32,
}

impl Files {
    fn cost(&self) -> u64 {
        self.all().map(|segment| segment.cost()).sum()
    }

    /// All of them, the oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.packed.iter().chain(&self.young)
    }

    pub(crate) fn young(&self) -> Option<&Arc<Segment>> {
        self.young.as_ref()
    }

    /// The file of a kind that is added to.
    pub(crate) fn newest(&self, kind: Kind) -> Option<&Arc<Segment>> {
        match kind {
            Kind::Packed => self.packed.back(),
            Kind::Young => self.young.as_ref(),
        }
    }

    /// Takes the new state of the file that is added to, which is that or comes after it.
    pub(crate) fn set_newest(&mut self, kind: Kind, segment: Segment) {
        let segment = Arc::new(segment);
        match kind {
            Kind::Young => self.young = Some(segment),
            Kind::Packed => {
                self.packed.pop_back_if(|newest| newest.path == segment.path);
                self.packed.push_back(segment);
            }
        }
    }

    /// Takes out the young file.
    pub(crate) fn take_young(&mut self) -> Option<Arc<Segment>> {
        self.young.take()
    }

    fn remove_oldest(&mut self) -> Option<Arc<Segment>> {
        self.packed.pop_front().or_else(|| self.young.take())
    }
}

/// The files of all Workers.
#[derive(Debug, Default)]
pub(crate) struct Index {
    accounts: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Files>>,
    /// What they take on the disk, in bytes.
    bytes: u64,
    workers: u64,
}

/// Sums over everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) bytes: u64,
    pub(crate) files: usize,
    pub(crate) workers: u64,
    pub(crate) entries: u64,
    /// The earliest time of an entry, in milliseconds since 1970.
    pub(crate) earliest: Option<i64>,
}

impl Index {
    /// The index of files that were found, in the order of their sequences. Gives also those which are not needed: young files that were packed
    /// by a process that was killed before it removed them.
    pub(crate) fn new(segments: Vec<(Owner, Kind, Segment)>) -> (Self, Vec<Arc<Path>>) {
        let (mut index, mut needless) = (Self::default(), Vec::new());
        let (packed, young): (Vec<_>, Vec<_>) = segments.into_iter().partition(|(_, kind, _)| *kind == Kind::Packed);
        for (owner, _, segment) in packed {
            index.change(&owner, |files| files.set_newest(Kind::Packed, segment));
        }
        for (owner, _, segment) in young {
            let first = segment.summary.first;
            needless.extend(index.change(&owner, |files| {
                let is_packed = files.packed.back().is_some_and(|newest| newest.summary.last >= first);
                if is_packed {
                    return Some(segment.path);
                }
                let former = files.take_young().map(|former| Arc::clone(&former.path));
                files.set_newest(Kind::Young, segment);
                former
            }));
        }
        (index, needless)
    }

    /// The files of a Worker.
    pub(crate) fn files(&self, owner: &Owner) -> Option<&Files> {
        self.accounts.get(&owner.account)?.get(&owner.worker)
    }

    /// The files of an account's Workers, or of one of them.
    pub(crate) fn of_account(&self, account: &str, worker: Option<&str>) -> impl Iterator<Item = (&Arc<str>, &Files)> {
        let workers = self.accounts.get(account).into_iter().flatten();
        workers.filter(move |(name, _)| worker.is_none_or(|worker| ***name == *worker))
    }

    /// Changes the files of a Worker.
    pub(crate) fn change<T>(&mut self, owner: &Owner, change: impl FnOnce(&mut Files) -> T) -> T {
        let workers = self.accounts.entry(Arc::clone(&owner.account)).or_default();
        let mut is_new = false;
        let files = workers.entry(Arc::clone(&owner.worker)).or_insert_with(|| {
            is_new = true;
            Files::default()
        });
        let before = files.cost();
        let changed = change(files);
        self.bytes = self.bytes - before + files.cost();
        self.workers += u64::from(is_new);
        let is_empty = files.all().next().is_none() && files.lost == 0;
        if is_empty {
            workers.remove(&owner.worker);
            self.workers -= 1;
            if workers.is_empty() {
                self.accounts.remove(&owner.account);
            }
        }
        changed
    }

    /// How large a segment becomes within a budget, in bytes.
    pub(crate) fn largest_segment(&self, budget: u64) -> u64 {
        (budget / self.workers.max(1) / FILES_IN_A_SHARE).clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT)
    }

    fn owners(&self) -> impl Iterator<Item = (Owner, &Files)> {
        self.accounts.iter().flat_map(|(account, workers)| {
            let owner = |worker| Owner { account: Arc::clone(account), worker: Arc::clone(worker) };
            workers.iter().map(move |(worker, files)| (owner(worker), files))
        })
    }

    /// Lets go of files until the others take no more than a budget, in bytes. Gives those which are to be removed.
    pub(crate) fn keep_within(&mut self, budget: u64) -> Vec<Arc<Path>> {
        let mut gone = Vec::new();
        while self.bytes > budget {
            let costs = self.accounts.iter().flat_map(|(account, workers)| {
                workers.iter().map(move |(worker, files)| (files.cost(), account, worker))
            });
            let Some((_, account, worker)) = costs.max_by_key(|(cost, ..)| *cost) else { break };
            let most = Owner { account: Arc::clone(account), worker: Arc::clone(worker) };
            gone.extend(self.change(&most, Files::remove_oldest).map(|segment| Arc::clone(&segment.path)));
        }
        gone
    }

    /// Lets go of files whose entries are all from before a time, in milliseconds since 1970. Gives those which are to be removed.
    pub(crate) fn keep_since(&mut self, time: i64) -> Vec<Arc<Path>> {
        let is_old = |segment: &Arc<Segment>| segment.summary.latest < time;
        let old: Vec<Owner> =
            self.owners().filter(|(_, files)| files.all().any(is_old)).map(|(owner, _)| owner).collect();
        let mut gone = Vec::new();
        for owner in old {
            self.change(&owner, |files| {
                gone.extend(files.all().filter(|segment| is_old(segment)).map(|segment| Arc::clone(&segment.path)));
                files.packed.retain(|segment| !is_old(segment));
                files.young.take_if(|segment| is_old(segment));
            });
        }
        gone
    }

    /// Workers whose young file has an entry from before a time, in milliseconds since 1970.
    pub(crate) fn young_since(&self, time: i64) -> Vec<Owner> {
        let is_due = |files: &Files| files.young().is_some_and(|young| young.summary.earliest < time);
        self.owners().filter(|(_, files)| is_due(files)).map(|(owner, _)| owner).collect()
    }

    /// Sums over everything.
    pub(crate) fn sums(&self) -> Sums {
        let mut sums = Sums { bytes: self.bytes, workers: self.workers, ..Sums::default() };
        for segment in self.owners().flat_map(|(_, files)| files.all()) {
            let summary = segment.summary;
            sums.files += 1;
            sums.entries += u64::from(summary.count);
            let earliest = summary.earliest;
            sums.earliest = Some(sums.earliest.map_or(earliest, |before| before.min(earliest)));
        }
        sums
    }

    /// The sequence of the newest entry, or 0.
    pub(crate) fn last(&self) -> u64 {
        self.owners().flat_map(|(_, files)| files.all()).map(|segment| segment.summary.last).max().unwrap_or(0)
    }
}
