//! The ledger: what was used, per account, Worker, version and minute. It is only ever added to, and every byte of it is under a seal.
//!
//! A batch is first written to a **journal**, and is on the disk before it is acknowledged. Once an hour, or when it is large, a journal is closed and its
//! batches are added up by minute into the file of their **day** (UTC); only when that is on the disk the journal goes. A frame of a day names the
//! journal that it is made of, so that a crash in between counts nothing twice. A batch has the number that its process gave it, and is taken once.
//!
//! Beside them `heads` says how long each day's file was when it was last written, and `head` the same of the journal: a file that was cut
//! short, even between two frames, is found by that, and the end of a frame that was never acknowledged is told from damage. What is damaged is left where it is, named, and everything else is read.

mod day;
mod frame;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};

use crate::ledger::frame::{FIRST, Found, Frames, Seal};
use crate::{Batch, Entry};

pub use verify::{Damage, Verification, verify};

/// A journal is closed at this size, or age.
const LARGEST_JOURNAL: u64 = 16 << 20;
const OLDEST_JOURNAL: Duration = Duration::from_secs(3600);
/// Files.
const JOURNAL: &str = "journal-";
const DAMAGED: &str = ".damaged";
const DAY: &str = ".ledger";
const HEAD: &str = "head";
const HEADS: &str = "heads";
const DAMAGES: &str = "damages";

/// Why the ledger cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("the ledger of usage, {path}: {source}")]
pub struct LedgerError {
    /// The file or folder.
    path: String,
    /// What the system said.
    source: io::Error,
}

impl LedgerError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self { path, source }
    }
}

type LedgerResult<T> = Result<T, LedgerError>;

/// Minutes since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Minute(pub i64);

impl Minute {
    /// The minute of a time.
    pub fn of(time: OffsetDateTime) -> Self {
        Self(time.unix_timestamp().div_euclid(60))
    }

    /// When it begins. The ends of what `time` knows stand for all that is beyond.
    pub fn begins(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0.saturating_mul(60)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Its day, UTC.
    pub fn day(self) -> Date {
        self.begins().date()
    }
}

/// A batch as a journal has it.
#[derive(Serialize, Deserialize)]
struct Journaled {
    minute: Minute,
    batch: Batch,
}

/// The ledger of one node. One process writes it.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    journal: Mutex<Journal>,
    /// Held by who moves a journal's batches to their days, shared by who reads: a batch is in one of the two places.
    moving: RwLock<()>,
}

/// The journal that is written to.
#[derive(Debug)]
struct Journal {
    number: u64,
    path: PathBuf,
    file: File,
    /// Its length in bytes, and the seal of its last frame.
    length: u64,
    last: Seal,
    /// Whether something may be behind that.
    is_dirty: bool,
    begun: Instant,
    /// The last batch of each process.
    taken: HashMap<uuid::Uuid, u64>,
    head: File,
}

impl Ledger {
    /// Opens the ledger in a folder, which is made if it is not there. What a crash has left unfinished is finished.
    ///
    /// # Errors
    /// When a file cannot be read or written. Damage is no error: [`verify`] finds it.
    pub fn open(folder: &Path) -> LedgerResult<Self> {
        fs::create_dir_all(folder).map_err(LedgerError::at(folder))?;
        let mut taken = HashMap::new();
        let journals = journals(folder)?;
        let next = journals.last().map_or(1, |(number, _)| number + 1);
        let ledger = Self {
            folder: folder.to_owned(),
            journal: Mutex::new(Journal::begin(folder, next)?),
            moving: RwLock::new(()),
        };
        for (number, path) in journals {
            for (_, batch) in ledger.settle(number, &path)? {
                let last: &mut u64 = taken.entry(batch.process).or_default();
                *last = (*last).max(batch.number);
            }
        }
        ledger.journal().taken = taken;
        Ok(ledger)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down a batch that came at a time. It is on the disk when this returns. Gives whether it is new: a batch that is there is not
    /// taken again.
    ///
    /// # Errors
    /// When it cannot be written: nothing of it is there then.
    pub fn append(&self, at: OffsetDateTime, batch: &Batch) -> LedgerResult<bool> {
        let mut journal = self.journal();
        if journal.taken.get(&batch.process).is_some_and(|last| batch.number <= *last) {
            return Ok(false);
        }
        let holds = postcard::to_stdvec(&Journaled { minute: Minute::of(at), batch: batch.clone() });
        let holds = holds.map_err(io::Error::other).map_err(LedgerError::at(&journal.path))?;
        journal.append(&holds).map_err(LedgerError::at(&journal.path))?;
        journal.taken.insert(batch.process, batch.number);
        Ok(true)
    }

    /// Closes the journal if it is large or old, and moves its batches to their days, and those of journals of which that failed before. Gives
    /// whether it was closed. Others may write and read meanwhile.
    ///
    /// # Errors
    /// When a file cannot be written. Nothing is lost then: it is finished the next time, or when the ledger is opened.
    pub fn tend(&self) -> LedgerResult<bool> {
        let is_due = |journal: &Journal| {
            journal.length >= LARGEST_JOURNAL || (journal.length > 0 && journal.begun.elapsed() >= OLDEST_JOURNAL)
        };
        if !is_due(&self.journal()) {
            return self.settle_closed().map(|()| false);
        }
        self.close_journal()?;
        Ok(true)
    }

    /// As [`Self::tend`], whatever its size and age.
    ///
    /// # Errors
    /// As [`Self::tend`].
    pub fn close_journal(&self) -> LedgerResult<()> {
        {
            let mut journal = self.journal();
            // What was begun before, and could not be used, has a number as well.
            let last = journals(&self.folder)?.last().map_or(journal.number, |(number, _)| *number);
            let next = Journal::begin(&self.folder, last.max(journal.number) + 1)?;
            let taken = std::mem::take(&mut journal.taken);
            *journal = Journal { taken, ..next };
        }
        self.settle_closed()
    }

    /// Moves the batches of all journals that are closed to their days.
    fn settle_closed(&self) -> LedgerResult<()> {
        let current = self.journal().number;
        for (number, path) in journals(&self.folder)? {
            if number < current {
                self.settle(number, &path)?;
            }
        }
        Ok(())
    }

    /// Moves the batches of a journal that is closed to their days. Gives them.
    fn settle(&self, number: u64, path: &Path) -> LedgerResult<Vec<(Minute, Batch)>> {
        let bytes = frame::read(path).map_err(LedgerError::at(path))?;
        let Readable { batches, end, last, mut is_damaged } = batches(&bytes);
        is_damaged |= acknowledged(&self.folder, number) > end as u64;
        let _moving = self.moving.write().unwrap_or_else(PoisonError::into_inner);
        let mut days: BTreeMap<Date, Vec<(Minute, &Batch)>> = BTreeMap::new();
        for (minute, batch) in &batches {
            days.entry(minute.day()).or_default().push((*minute, batch));
        }
        for (date, batches) in days {
            day::add(&self.folder, date, last, &batches)?;
        }
        if is_damaged {
            // Somebody may be able to read more of it.
            let kept = path.with_file_name(format!("{JOURNAL}{number:08}{DAMAGED}"));
            fs::rename(path, kept).map_err(LedgerError::at(path))?;
        } else {
            fs::remove_file(path).map_err(LedgerError::at(path))?;
        }
        sync_folder(&self.folder)?;
        Ok(batches)
    }

    /// Shows every entry of some days, both included, with its minute. Entries of one minute may come in parts.
    ///
    /// # Errors
    /// When a file cannot be read. What is damaged is left out.
    pub fn read(&self, from: Date, to: Date, mut see: impl FnMut(Minute, &Entry)) -> LedgerResult<()> {
        let _staying = self.moving.read().unwrap_or_else(PoisonError::into_inner);
        let mut date = from;
        while date <= to {
            day::read(&self.folder, date, &mut see)?;
            match date.next_day() {
                Some(next) => date = next,
                None => break,
            }
        }
        for (_, path) in journals(&self.folder)? {
            let bytes = frame::read(&path).map_err(LedgerError::at(&path))?;
            for (minute, batch) in batches(&bytes).batches {
                if (from..=to).contains(&minute.day()) {
                    batch.entries.iter().for_each(|entry| see(minute, entry));
                }
            }
        }
        Ok(())
    }

    /// Checks everything, as [`verify`] does.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn verify(&self) -> LedgerResult<Verification> {
        let _staying = self.moving.read().unwrap_or_else(PoisonError::into_inner);
        verify(&self.folder)
    }
}

impl Journal {
    fn begin(folder: &Path, number: u64) -> LedgerResult<Self> {
        let path = folder.join(format!("{JOURNAL}{number:08}"));
        let file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(LedgerError::at(&path))?;
        let head_path = folder.join(HEAD);
        let head = OpenOptions::new().create(true).truncate(false).write(true).open(&head_path);
        let head = head.map_err(LedgerError::at(&head_path))?;
        sync_folder(folder)?;
        let (begun, taken) = (Instant::now(), HashMap::new());
        Ok(Self { number, path, file, length: 0, last: FIRST, is_dirty: false, begun, taken, head })
    }

    fn append(&mut self, holds: &[u8]) -> io::Result<()> {
        if self.is_dirty {
            self.file.set_len(self.length)?;
        }
        self.is_dirty = true;
        let written = frame::write(&mut self.file, &self.last, holds).and_then(|written| {
            self.file.sync_data()?;
            Ok(written)
        });
        match written {
            Ok((last, length)) => {
                self.last = last;
                self.length += length;
                self.is_dirty = false;
                self.tell_head();
                Ok(())
            }
            Err(error) => {
                // What is there of it must not come before the next one. If it cannot go now, it goes then.
                self.is_dirty = self.file.set_len(self.length).is_err();
                Err(error)
            }
        }
    }

    /// Says how long the journal is. Never before it is that long; that it may say less after a crash of the machine does no harm.
    fn tell_head(&mut self) {
        let line = format!("{:<20} {:>20}\n", self.number, self.length);
        let told = self.head.seek(io::SeekFrom::Start(0)).and_then(|_| self.head.write_all(line.as_bytes()));
        // It is there to find what others do to the file.
        drop(told);
    }
}

/// What can be read of a journal.
struct Readable {
    batches: Vec<(Minute, Batch)>,
    /// Where the last frame ends, and its seal.
    end: usize,
    last: Seal,
    /// Whether something before it cannot be read.
    is_damaged: bool,
}

/// The batches of a journal. The beginning of a frame at its end was never acknowledged, if [`acknowledged`] says so.
fn batches(bytes: &[u8]) -> Readable {
    let mut readable = Readable { batches: Vec::new(), end: bytes.len(), last: FIRST, is_damaged: false };
    let mut frames = Frames::new(bytes);
    for found in frames.by_ref() {
        match found {
            Found::Frame { holds, follows, .. } => match postcard::from_bytes::<Journaled>(holds) {
                Ok(Journaled { minute, batch }) => {
                    readable.is_damaged |= !follows;
                    readable.batches.push((minute, batch));
                }
                Err(_) => readable.is_damaged = true,
            },
            Found::Broken { .. } => readable.is_damaged = true,
            Found::Torn { offset, .. } => readable.end = offset,
        }
    }
    readable.last = frames.last_seal();
    readable
}

/// How long a journal was when its last batch was acknowledged, in bytes, as far as `head` knows.
fn acknowledged(folder: &Path, number: u64) -> u64 {
    let head = fs::read_to_string(folder.join(HEAD)).unwrap_or_default();
    let mut words = head.split_whitespace().map(|word| word.parse::<u64>().ok());
    let (of, length) = (words.next().flatten(), words.next().flatten());
    length.filter(|_| of == Some(number)).unwrap_or(0)
}

/// Journals by their numbers, in this order.
fn journals(folder: &Path) -> LedgerResult<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(LedgerError::at(folder))? {
        let path = entry.map_err(LedgerError::at(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_prefix(JOURNAL).and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Has the names in a folder on the disk.
fn sync_folder(folder: &Path) -> LedgerResult<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(LedgerError::at(folder))
}

#[cfg(test)]
mod tests;
