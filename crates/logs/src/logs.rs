//! The store itself: what its users hold, and what the writer and searches share.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::index::Index;
use crate::queue::Queue;
use crate::segment::{self, Segment};
use crate::writer::Writer;
use crate::{Entry, Page, Query, SearchError, search};

/// The file whose lock says that a process has the folder.
const LOCK: &str = "lock";
/// Places of files that are remembered to be damaged.
const MOST_DAMAGES: usize = 10_000;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on the disk, all Workers together. For a moment it can be one frame more.
    pub bytes: u64,
    /// How long an event is kept.
    pub keep: Duration,
}

/// What is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes on the disk, in whole pages of 4 KiB.
    pub bytes: u64,
    /// Files.
    pub files: usize,
    /// Workers that have events here.
    pub workers: u64,
    /// Events.
    pub events: u64,
    /// The time of the earliest event, in milliseconds since 1970.
    pub oldest: Option<i64>,
    /// Events that were dropped since the start: there was no room in the queue, or the disk did not take them.
    pub dropped: u64,
}

/// What users, searches and the writer share.
pub(crate) struct Shared {
    pub(crate) folder: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) queue: Queue,
    index: Mutex<Index>,
    tell: Box<dyn Fn(&str) + Send + Sync>,
    /// Places that the operator was told of: files and offsets in bytes.
    damages: Mutex<HashSet<(Arc<Path>, u64)>>,
    /// Held as long as this lives.
    lock: File,
}

/// Events that are kept. Clones are the same store, and the last one that goes writes what is in the queue.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl Logs {
    /// Opens the store in a folder, which is made if it is not there, and starts the thread that writes. Heads of frames are read, and no
    /// entries. What the operator should know is told: damage, a disk that takes nothing, that it does again. Not from within a call of
    /// [`Self::append`].
    ///
    /// # Errors
    /// When the folder cannot be made, read or written, or another process has it.
    pub fn open(folder: &Path, limits: Limits, tell: impl Fn(&str) + Send + Sync + 'static) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another process has its logs there")
            }
            TryLockError::Error(error) => error,
        })?;
        let opened = segment::open(folder)?;
        opened.damages.iter().for_each(|damage| tell(damage));
        let (index, needless) = Index::new(opened.segments);
        for path in needless {
            std::fs::remove_file(path)?;
        }
        // Above what a former process gave to entries that are gone.
        let next = (u64::try_from(now()).unwrap_or(0) << 20).max(index.last() + 1).max(1);
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            limits,
            queue: Queue::new(next),
            index: Mutex::new(index),
            tell: Box::new(tell),
            damages: Mutex::default(),
            lock,
        });
        let writer = Writer::new(Arc::clone(&shared))?;
        let writer = std::thread::Builder::new().name("logs".to_owned()).spawn(move || writer.run())?;
        Ok(Self(Arc::new(Inner { shared, writer: Some(writer) })))
    }

    /// Takes an entry. It never waits for the disk: when there is no room in the queue (32 MiB, half of it for one Worker, 65,536 entries), when it has more
    /// than 4 MiB, or its names more than 1 KiB, it is dropped and counted.
    pub fn append(&self, entry: Entry) {
        self.0.shared.queue.append(entry);
    }

    /// Waits until everything that was appended before is in the files, or was dropped. Nothing is synchronised to the disk.
    pub fn flush(&self) {
        self.0.shared.queue.flush();
    }

    /// Finds events, the newest first. What was appended before the call is found. It reads files: not for a thread that others wait for.
    ///
    /// # Errors
    /// When the query's limit or cursor makes no sense. What cannot be read is left out and counted, and the operator is told.
    pub fn search(&self, query: &Query) -> Result<Page, SearchError> {
        search::search(&self.0.shared, query)
    }

    /// Events that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.0.shared.queue.dropped()
    }

    /// What is there.
    pub fn stats(&self) -> Stats {
        let sums = self.0.shared.index().sums();
        Stats {
            bytes: sums.bytes,
            files: sums.files,
            workers: sums.workers,
            events: sums.entries,
            oldest: sums.earliest,
            dropped: self.dropped(),
        }
    }
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Logs").field("folder", &self.0.shared.folder).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.take() {
            // That it panicked was printed.
            drop(writer.join());
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A process that was forked a moment ago has the file as well, until it runs its program. If that fails, it goes with the file.
        drop(self.lock.unlock());
    }
}

impl Shared {
    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, message: &str) {
        (self.tell)(message);
    }

    /// Tells about a place of a file, once.
    pub(crate) fn tell_damage(&self, segment: &Segment, offset: u64, damage: &str) {
        let mut damages = self.damages.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = damages.len() < MOST_DAMAGES && damages.insert((Arc::clone(&segment.path), offset));
        drop(damages);
        if is_new {
            self.tell(damage);
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
