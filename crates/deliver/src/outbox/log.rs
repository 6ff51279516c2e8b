//! The file of an outbox: one record in each line, behind its checksum.
//!
//! It is only added to, until most of it is about what is gone: then a new file with what is left takes its place. A record is on the disk
//! when [`Log::append`] returns. What a crash left of one at the end of the file was never acknowledged, and is cut off.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Item;

/// Files.
const LOG: &str = "outbox.log";
const NEW: &str = "outbox.new";
const DAMAGED: &str = "outbox.damaged";
const LOCK: &str = "lock";
/// Hexadecimal digits of a checksum.
const CHECKSUM: usize = 16;

/// What happened. Moments are milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Record {
    /// An item was taken.
    Put { number: u64, at: u64, id: String, item: Item },
    /// It was delivered.
    Sent { destination: String, number: u64, at: u64 },
    /// It will never be.
    Failed { destination: String, number: u64, at: u64, reason: String },
    /// It is tried again.
    Again { destination: String, number: u64, at: u64 },
    /// It is not wanted any more.
    Dropped { destination: String, number: u64 },
    /// An item with this key was delivered, and is remembered until a moment.
    Seen { destination: String, key: String, until: u64 },
}

/// The file.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    file: File,
    /// Where the last record ends.
    length: u64,
    /// Whether something may be behind that.
    is_dirty: bool,
    /// Held as long as this lives.
    _lock: File,
}

/// What was found in a file.
#[derive(Default)]
pub(super) struct Found {
    /// Each record, and how many bytes it has.
    pub(super) records: Vec<(Record, u64)>,
    /// Records that cannot be read although others come after them: no crash does that.
    pub(super) damaged: u64,
    /// Where the last record ends.
    end: u64,
}

impl Log {
    /// Opens the file of a folder, and makes both where they are not there.
    ///
    /// # Errors
    /// When they cannot be made, read or written, or another process has the folder.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Found)> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = options().truncate(false).open(folder.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process has it"),
            TryLockError::Error(error) => error,
        })?;
        let path = folder.join(LOG);
        let file = options().read(true).append(true).open(&path)?;
        sync_folder(folder)?;
        let found = read(&file)?;
        if found.damaged > 0 {
            // Somebody may be able to read more of it.
            fs::copy(&path, folder.join(DAMAGED))?;
        }
        if file.metadata()?.len() > found.end {
            file.set_len(found.end)?;
            file.sync_all()?;
        }
        let log = Self { folder: folder.to_owned(), file, length: found.end, is_dirty: false, _lock: lock };
        Ok((log, found))
    }

    /// Adds records. They are on the disk when this returns.
    ///
    /// # Errors
    /// When they cannot be written: none of them is there then.
    pub(super) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut lines = Vec::new();
        for record in records {
            lines.extend(line(record)?);
        }
        if self.is_dirty {
            self.file.set_len(self.length)?;
        }
        self.is_dirty = true;
        let written = self.file.write_all(&lines).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += lines.len() as u64;
                self.is_dirty = false;
                Ok(())
            }
            Err(error) => {
                // What is there of it must not come before the next one. If it cannot go now, it goes then.
                self.is_dirty = self.file.set_len(self.length).is_err();
                Err(error)
            }
        }
    }

    /// Replaces all records. Whoever opens the file after a crash finds the old ones or the new ones.
    ///
    /// # Errors
    /// When the new file cannot be written: the old one is still there then.
    pub(super) fn replace(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        let new = self.folder.join(NEW);
        let mut file = io::BufWriter::new(options().truncate(true).open(&new)?);
        let mut length = 0;
        for record in records {
            let line = line(&record)?;
            file.write_all(&line)?;
            length += line.len() as u64;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        // Opened before it takes its place: after that nothing may fail.
        let file = OpenOptions::new().append(true).open(&new)?;
        fs::rename(&new, self.folder.join(LOG))?;
        (self.file, self.length, self.is_dirty) = (file, length, false);
        sync_folder(&self.folder)
    }

    /// How long the file is, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
impl Log {
    /// Writes to another file from now on. Gives the one before.
    pub(super) fn exchange_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

/// Files that only their owner reads: items name customers.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// A record as it is in the file.
pub(super) fn line(record: &Record) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(record)?;
    let mut line = checksum(&json).into_bytes();
    line.push(b' ');
    line.extend(json);
    line.push(b'\n');
    Ok(line)
}

fn checksum(json: &[u8]) -> String {
    blake3::hash(json).to_hex()[..CHECKSUM].to_owned()
}

fn parse(line: &[u8]) -> Option<Record> {
    let (sum, json) = line.strip_suffix(b"\n")?.split_at_checked(CHECKSUM + 1)?;
    let is_whole = sum.strip_suffix(b" ")? == checksum(json).as_bytes();
    is_whole.then(|| serde_json::from_slice(json).ok())?
}

/// What is in a file.
fn read(file: &File) -> io::Result<Found> {
    let mut reader = BufReader::new(file);
    let (mut found, mut offset, mut unread) = (Found::default(), 0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            return Ok(found);
        }
        offset += length;
        match parse(&line) {
            Some(record) => {
                found.records.push((record, length));
                found.damaged += std::mem::take(&mut unread);
                found.end = offset;
            }
            None => unread += 1,
        }
    }
}

/// Has the names in a folder on the disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
