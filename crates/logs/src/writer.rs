//! The writer: the thread that takes entries out of the queue and puts them on the disk.
//!
//! What came of a Worker goes to its young file, as one small frame. When that and what came are enough for a frame of full size, they are packed into
//! the Worker's newest segment: first the packed frame is written, then the young file goes. A process that is killed in between leaves both, which
//! the next start sees by their sequences. When the disk takes nothing, entries are dropped and counted, and the next ones are tried.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Entry;
use crate::block::{Block, Packer};
use crate::frame::{self, Owner};
use crate::index::Files;
use crate::logs::{Shared, milliseconds, now};
use crate::queue::Group;
use crate::segment::{Kind, Reader, Segment, Unreadable};

/// A frame of full size has as many bytes of entries, or a little more.
const FULL: usize = 128 << 10;
/// A young file has so many frames at most, however small they are.
const MOST_YOUNG: usize = 512;
/// How often what is too old is looked for.
const TIDY: Duration = Duration::from_secs(30);
/// A file spans at most this part of the time that entries are kept, so that what is too old can go.
const FILES_IN_A_LIFE: u32 = 8;

/// Entries that could not be written, and why.
struct Failure {
    error: io::Error,
    lost: u32,
}

/// What the thread has.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    packer: Packer,
    reader: Reader,
    /// Entries that were dropped since the disk took nothing. `None` if it takes them.
    failing: Option<u64>,
}

/// Has those who wait for the writer go on, however it ends.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.queue.end();
    }
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        Ok(Self { shared, packer: Packer::new()?, reader: Reader::new()?, failing: None })
    }

    /// Writes until the queue is closed.
    pub(crate) fn run(mut self) {
        let _end = End(Arc::clone(&self.shared));
        self.tidy();
        let mut tidied = Instant::now();
        let pause = (self.shared.limits.keep / FILES_IN_A_LIFE).clamp(Duration::from_secs(1), TIDY);
        loop {
            let batch = self.shared.queue.take(pause);
            let had_entries = !batch.groups.is_empty();
            let mut failure: Option<Failure> = None;
            for (owner, group) in batch.groups {
                if let Err(Failure { error, lost }) = self.write(&owner, &group, false) {
                    failure.get_or_insert(Failure { error, lost: 0 }).lost += lost;
                }
            }
            self.shared.queue.count_dropped(failure.as_ref().map_or(0, |failure| u64::from(failure.lost)));
            if had_entries {
                self.tell_failure(failure);
            }
            self.shared.queue.written(batch.last);
            if tidied.elapsed() >= pause {
                self.tidy();
                tidied = Instant::now();
            }
            if batch.is_over {
                return;
            }
        }
    }

    /// Tells once that the disk takes nothing, and once that it does again.
    fn tell_failure(&mut self, failure: Option<Failure>) {
        let folder = self.shared.folder.display();
        match (failure, &mut self.failing) {
            (Some(failure), Some(lost)) => *lost += u64::from(failure.lost),
            (Some(Failure { error, lost }), None) => {
                self.failing = Some(u64::from(lost));
                self.shared.tell(&format!(
                    "logs of Workers cannot be written to {folder}: {error}; new ones are dropped until they can: look at the disk's space and \
                     the folder's owner"
                ));
            }
            (None, failing) => {
                if let Some(lost) = failing.take() {
                    self.shared
                        .tell(&format!("logs of Workers are written to {folder} again; {lost} events were dropped"));
                }
            }
        }
        if self.failing.is_some() {
            // Somebody may have removed it. That it cannot be made is what was told.
            drop(fs::create_dir_all(&self.shared.folder));
        }
    }

    /// Writes what came of a Worker. What is young is packed when there is enough, or when it `must`.
    fn write(&mut self, owner: &Owner, group: &Group, must: bool) -> Result<(), Failure> {
        let all = group.entries.len() as u32;
        let mut left = all;
        self.write_entries(owner, group, must, &mut left).map_err(|error| {
            // If nothing was written, what had been dropped before is still to be told.
            let before = if left == all { group.dropped } else { 0 };
            self.shared
                .index()
                .change(owner, |files| files.lost = files.lost.saturating_add(left).saturating_add(before));
            Failure { error, lost: left }
        })
    }

    /// As [`Self::write`]. Says how many entries are `left`.
    fn write_entries(&mut self, owner: &Owner, group: &Group, must: bool, left: &mut u32) -> io::Result<()> {
        let (young, lost) = {
            let index = self.shared.index();
            let files = index.files(owner);
            (files.and_then(|files| files.young().cloned()), files.map_or(0, |files| files.lost))
        };
        let came: usize = group.entries.iter().map(|(_, entry)| entry.size()).sum();
        let is_full = |young: &Segment| young.summary.raw as usize + came >= FULL || young.frames.len() >= MOST_YOUNG;
        let packs = |young: &Segment| must || young.is_closed || is_full(young);
        let young = young.filter(|young| packs(young));
        let mut begun = match &young {
            Some(young) => self.read_young(young)?,
            None => Block::new(),
        };
        begun.summary.dropped = begun.summary.dropped.saturating_add(group.dropped).saturating_add(lost);
        for (place, (block, entries)) in cut(begun, &group.entries)?.into_iter().enumerate() {
            let replaces_young = place == 0 && young.is_some();
            let is_packed = replaces_young || block.raw.len() >= FULL;
            let kind = if is_packed { Kind::Packed } else { Kind::Young };
            self.add(owner, &block, kind, replaces_young)?;
            *left -= entries;
        }
        Ok(())
    }

    /// All entries of a young file that can be read.
    fn read_young(&mut self, young: &Segment) -> io::Result<Block> {
        let mut block = Block::new();
        for placed in &young.frames {
            let summary = &placed.head.summary;
            match self.reader.read(young, placed) {
                Ok(()) => block.join(&self.reader.raw, summary),
                Err(Unreadable::Closed(error)) => return Err(error),
                Err(unreadable) => {
                    if let Unreadable::Damaged(damage) = unreadable {
                        self.shared.tell_damage(young, placed.offset, &damage);
                    }
                    block.summary.dropped = block.summary.dropped.saturating_add(summary.count);
                }
            }
        }
        Ok(block)
    }

    /// Adds a frame to the Worker's newest file of a kind, or to a new one. It may replace the young file.
    fn add(&mut self, owner: &Owner, block: &Block, kind: Kind, replaces_young: bool) -> io::Result<()> {
        if block.is_empty() {
            // Nothing of a young file could be read.
            let take = |files: &mut Files| if replaces_young { files.take_young() } else { None };
            let needless = self.shared.index().change(owner, take);
            self.remove(needless.iter().map(|young| &young.path));
            return Ok(());
        }
        let (newest, largest) = {
            let index = self.shared.index();
            let newest = index.files(owner).and_then(|files| files.newest(kind).cloned());
            (newest, index.largest_segment(self.shared.limits.bytes))
        };
        let longest = milliseconds(self.shared.limits.keep / FILES_IN_A_LIFE);
        let has_room = |segment: &Segment| {
            let spans = block.summary.latest.saturating_sub(segment.summary.earliest);
            !segment.is_closed && segment.length < largest && spans <= longest
        };
        // A young file is replaced when it is full or old, and there is one only.
        let newest = newest.filter(|segment| kind == Kind::Young || has_room(segment));
        let mut segment = newest.map_or_else(
            || Segment::new(&self.shared.folder, owner, kind, block.summary.first),
            |segment| Segment::clone(&segment),
        );
        let (head, frame) = frame::frame(owner, block.summary, &self.packer.pack(block)?)
            .ok_or_else(|| io::Error::other("an entry, or the name of its Worker, is too long"))?;
        let appended = segment.append(head, &frame);
        let replaced = self.shared.index().change(owner, |files| {
            if segment.length > 0 {
                files.set_newest(kind, segment);
            }
            appended?;
            files.lost = 0;
            io::Result::Ok(if replaces_young { files.take_young() } else { None })
        })?;
        self.remove(replaced.iter().map(|young| &young.path));
        self.make_room();
        Ok(())
    }

    fn make_room(&self) {
        let gone = self.shared.index().keep_within(self.shared.limits.bytes);
        self.remove(&gone);
    }

    /// Removes what is too old, and packs what would keep a young file from growing old as a whole.
    fn tidy(&mut self) {
        let keep = self.shared.limits.keep;
        let gone = self.shared.index().keep_since(now().saturating_sub(milliseconds(keep)));
        self.remove(&gone);
        self.make_room();
        let due = self.shared.index().young_since(now().saturating_sub(milliseconds(keep / FILES_IN_A_LIFE)));
        for owner in due {
            // What cannot be packed now stays young.
            drop(self.write(&owner, &Group::default(), true));
        }
    }

    /// Removes files that are not in the index any more: whoever reads one of them looks there again.
    fn remove<'p>(&self, paths: impl IntoIterator<Item = &'p Arc<Path>>) {
        for path in paths {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => self.shared.tell(&format!(
                    "the log file {} cannot be removed: {error}: remove it by hand, it takes room",
                    path.display()
                )),
                _ => {}
            }
        }
    }
}

/// Adds entries to a block, and begins another one whenever it is full. Gives with each how many of the entries it has.
fn cut(mut block: Block, entries: &[(u64, Entry)]) -> io::Result<Vec<(Block, u32)>> {
    let (mut blocks, mut count) = (Vec::new(), 0);
    for (sequence, entry) in entries {
        if block.raw.len() >= FULL {
            blocks.push((std::mem::replace(&mut block, Block::new()), std::mem::take(&mut count)));
        }
        block.push(*sequence, entry)?;
        count += 1;
    }
    blocks.push((block, count));
    Ok(blocks)
}
