//! Blocks: entries one after the other, each behind its length, compressed together.
//!
//! What is in front of a frame (the account and the Worker) is not in it again. Blocks of one Worker can be joined without reading their entries.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skep_worker::{Event, Outcome};
use zstd::bulk::{Compressor, Decompressor};

use crate::frame::{Owner, Summary};
use crate::{Entry, Level};

/// zstd's usual level: the next ones cost twice the time and gain a tenth.
const COMPRESSION: i32 = 3;

/// An entry as a block has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record<'b> {
    pub(crate) sequence: u64,
    pub(crate) at: i64,
    pub(crate) kind: Event,
    pub(crate) outcome: Outcome,
    pub(crate) level: Option<Level>,
    pub(crate) status: Option<u16>,
    pub(crate) cpu_us: u64,
    pub(crate) wall_us: u64,
    pub(crate) cold: bool,
    pub(crate) interval: u32,
    pub(crate) version: &'b str,
    pub(crate) ray: &'b str,
    pub(crate) method: Option<&'b str>,
    pub(crate) what: Option<&'b str>,
    pub(crate) event: &'b str,
}

impl<'b> Record<'b> {
    fn new(sequence: u64, entry: &'b Entry) -> Self {
        Self {
            sequence,
            at: entry.at,
            kind: entry.kind,
            outcome: entry.outcome,
            level: entry.level,
            status: entry.status,
            cpu_us: entry.cpu_us,
            wall_us: entry.wall_us,
            cold: entry.cold,
            interval: entry.interval,
            version: &entry.version,
            ray: &entry.ray,
            method: entry.method.as_deref(),
            what: entry.what.as_deref(),
            event: &entry.event,
        }
    }

    /// The entry of an owner.
    pub(crate) fn entry(&self, owner: &Owner) -> Entry {
        Entry {
            account: Arc::clone(&owner.account),
            worker: Arc::clone(&owner.worker),
            version: self.version.into(),
            ray: self.ray.to_owned(),
            at: self.at,
            kind: self.kind,
            method: self.method.map(str::to_owned),
            what: self.what.map(str::to_owned),
            status: self.status,
            outcome: self.outcome,
            level: self.level,
            cpu_us: self.cpu_us,
            wall_us: self.wall_us,
            cold: self.cold,
            interval: self.interval,
            event: self.event.to_owned(),
        }
    }
}

/// Entries of one Worker, not compressed yet.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) raw: Vec<u8>,
    pub(crate) summary: Summary,
}

impl Block {
    pub(crate) fn new() -> Self {
        Self { raw: Vec::new(), summary: Summary::EMPTY }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.summary.count == 0
    }

    /// Adds an entry behind the others.
    pub(crate) fn push(&mut self, sequence: u64, entry: &Entry) -> io::Result<()> {
        let begin = self.raw.len();
        self.raw.extend([0; 4]);
        self.raw = postcard::to_extend(&Record::new(sequence, entry), std::mem::take(&mut self.raw))
            .map_err(io::Error::other)?;
        let length = u32::try_from(self.raw.len() - begin).map_err(io::Error::other)?;
        self.raw[begin..begin + 4].copy_from_slice(&(length - 4).to_le_bytes());
        self.summary.add(&Summary::of(sequence, entry, length));
        Ok(())
    }

    /// Adds the entries of another block behind these.
    pub(crate) fn join(&mut self, raw: &[u8], summary: &Summary) {
        self.raw.extend_from_slice(raw);
        self.summary.add(summary);
    }
}

/// The entries of a block, in their order. Ends early where one cannot be read, which the frame's seal leaves to other versions of this program.
pub(crate) fn records(mut raw: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (length, rest) = raw.split_first_chunk()?;
        let (record, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        raw = rest;
        postcard::from_bytes(record).ok()
    })
}

/// Compresses one block after the other.
pub(crate) struct Packer(Compressor<'static>);

impl Packer {
    pub(crate) fn new() -> io::Result<Self> {
        Compressor::new(COMPRESSION).map(Self)
    }

    pub(crate) fn pack(&mut self, block: &Block) -> io::Result<Vec<u8>> {
        self.0.compress(&block.raw)
    }
}

/// Decompresses one block after the other.
pub(crate) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    pub(crate) fn new() -> io::Result<Self> {
        Decompressor::new().map(Self)
    }

    /// Fills `raw` with what a block was before it was compressed.
    pub(crate) fn unpack(&mut self, block: &[u8], summary: &Summary, raw: &mut Vec<u8>) -> io::Result<()> {
        raw.clear();
        raw.reserve(summary.raw as usize);
        self.0.decompress_to_buffer(block, raw)?;
        if raw.len() != summary.raw as usize {
            return Err(io::Error::other("it has another length than its head says"));
        }
        Ok(())
    }
}
