//! Memory that two processes share: what each client connection is doing, and which versions' code runs.
//!
//! The process that runs Workers writes, the supervisor reads when that process is dead. Nothing in it is trusted: every value means
//! something, and the memory cannot be made smaller under the reader.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use uuid::Uuid;
use vm_memory::{Bytes as _, FileOffset, MmapRegion, VolatileMemory as _};

use crate::CONNECTIONS;

/// Threads that may say what they run. There is nothing to be said of more.
const ROWS: usize = 8192;
/// A row: whether it runs, and the two halves of the version's id.
const ROW: usize = 24;
/// A connection's state in bytes.
const STATE: usize = 8;
const ROWS_AT: usize = CONNECTIONS * STATE;
const SIZE: usize = ROWS_AT + ROWS * ROW;

/// What a client connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing: what its client has sent was answered completely, and another process can go on with it.
    Idle,
    /// A request is being read or handled, and nothing of its answer was written.
    Asked,
    /// An answer is being written, or the connection is not HTTP any more.
    Answering,
    /// Idle, once so many bytes have been written to the connection since it began: the last of an answer are being written.
    IdleAfter(u64),
}

impl State {
    /// The lowest two bits say which one it is.
    fn encode(self) -> u64 {
        match self {
            Self::Idle => 0,
            Self::Asked => 1,
            Self::Answering => 2,
            Self::IdleAfter(written) => (written << 2) | 3,
        }
    }

    fn decode(value: u64) -> Self {
        match value {
            0 => Self::Idle,
            1 => Self::Asked,
            value if value & 3 == 3 => Self::IdleAfter(value >> 2),
            // What is no state is the one of which nothing can be said to the client.
            _ => Self::Answering,
        }
    }
}

/// The shared memory.
#[derive(Debug)]
pub struct Table {
    file: File,
    memory: MmapRegion,
    /// Rows that no thread has, in the process that writes.
    free: Mutex<Vec<usize>>,
}

/// One thread's row.
#[derive(Debug)]
pub struct Row {
    table: Arc<Table>,
    /// Where it is, if there was one left.
    offset: Option<usize>,
}

impl Table {
    /// New memory.
    ///
    /// # Errors
    /// When the system has none.
    pub fn new() -> io::Result<Arc<Self>> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let descriptor = memfd_create("skep-table", flags)?;
        ftruncate(&descriptor, SIZE as u64)?;
        fcntl_add_seals(&descriptor, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::open(descriptor)
    }

    /// Memory that another process made.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub fn open(descriptor: OwnedFd) -> io::Result<Arc<Self>> {
        let file = File::from(descriptor);
        let memory = MmapRegion::from_file(FileOffset::new(file.try_clone()?, 0), SIZE).map_err(io::Error::other)?;
        Ok(Arc::new(Self { file, memory, free: Mutex::new((0..ROWS).rev().collect()) }))
    }

    /// What to send to another process.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Says what a connection does from now on.
    pub fn set(&self, connection: u32, state: State) {
        let offset = connection as usize * STATE;
        if offset < ROWS_AT {
            self.store(offset, state.encode());
        }
    }

    /// What a connection was doing. Of one that cannot be, that is an answer.
    pub fn state(&self, connection: u32) -> State {
        let offset = connection as usize * STATE;
        if offset >= ROWS_AT {
            return State::Answering;
        }
        self.memory.as_volatile_slice().load(offset, Ordering::Acquire).map_or(State::Answering, State::decode)
    }

    /// A row for a thread that runs a version.
    pub fn row(self: &Arc<Self>, version: Uuid) -> Row {
        let index = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let offset = index.map(|index| ROWS_AT + index * ROW);
        if let Some(offset) = offset {
            let (high, low) = version.as_u64_pair();
            self.store(offset + 8, high);
            self.store(offset + 16, low);
        }
        Row { table: Arc::clone(self), offset }
    }

    /// The versions whose code ran.
    pub fn running(&self) -> Vec<Uuid> {
        let memory = self.memory.as_volatile_slice();
        let load = |offset| memory.load::<u64>(offset, Ordering::Acquire).unwrap_or(0);
        let rows = (0..ROWS).map(|index| ROWS_AT + index * ROW).filter(|offset| load(*offset) != 0);
        let mut running: Vec<Uuid> =
            rows.map(|offset| Uuid::from_u64_pair(load(offset + 8), load(offset + 16))).collect();
        running.sort_unstable();
        running.dedup();
        running
    }

    fn store<T: vm_memory::AtomicAccess>(&self, offset: usize, value: T) {
        // The offsets are inside and aligned.
        let _ = self.memory.as_volatile_slice().store(value, offset, Ordering::Release);
    }
}

impl Row {
    /// Whether the version's code runs from now on.
    pub fn running(&self, running: bool) {
        if let Some(offset) = self.offset {
            self.table.store(offset, u64::from(running));
        }
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        if let Some(offset) = self.offset {
            self.running(false);
            let index = (offset - ROWS_AT) / ROW;
            self.table.free.lock().unwrap_or_else(PoisonError::into_inner).push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::{State, Table};

    #[test]
    fn both_see_what_one_writes() {
        let ours = Table::new().expect("memory");
        let theirs = Table::open(ours.descriptor().try_clone_to_owned().expect("a descriptor")).expect("mapped");
        let after = State::IdleAfter(1 << 60);
        for (connection, state) in [(0, State::Asked), (7, State::Answering), (8, after), (65_535, State::Asked)] {
            theirs.set(connection, state);
            assert_eq!(ours.state(connection), state);
        }
        theirs.set(7, State::Idle);
        assert_eq!((ours.state(7), ours.state(9)), (State::Idle, State::Idle));
        // There is no such connection: nothing else is written to.
        theirs.set(65_536, State::Asked);
        assert_eq!(ours.state(65_536), State::Answering);
        assert!(ours.running().is_empty());
        let (one, other) = (theirs.row(Uuid::from_u128(1)), theirs.row(Uuid::from_u128(2)));
        one.running(true);
        assert_eq!(ours.running(), [Uuid::from_u128(1)]);
        other.running(true);
        one.running(false);
        assert_eq!(ours.running(), [Uuid::from_u128(2)]);
        drop(other);
        assert!(ours.running().is_empty());
    }

    #[test]
    fn the_memory_stays_as_large_as_it_is() {
        let table = Table::new().expect("memory");
        assert!(table.file.set_len(0).is_err() && table.file.set_len(1 << 30).is_err());
    }

    #[test]
    fn more_threads_than_rows_do_no_harm() {
        let table = Table::new().expect("memory");
        let rows: Vec<_> =
            (0..super::ROWS as u128 + 2).map(|id| Arc::clone(&table).row(Uuid::from_u128(id + 1))).collect();
        for row in &rows {
            row.running(true);
        }
        assert_eq!(table.running().len(), super::ROWS);
    }
}
