//! Frames: what files of logs consist of.
//!
//! A frame is a head, the account and the Worker, and a block of entries. The head says how long both are, what the block's seal is (BLAKE3, cut to 16
//! bytes), and sums up the entries, so that a search leaves out a block without reading it. The head has a seal of its own, and holds one of
//! the names, so that it is known without the block: what is true of a frame's lengths is told from damage, and a frame that was begun from a whole one. All numbers are
//! little-endian:
//!
//! | Bytes | What |
//! |---|---|
//! | 4 | `SKL1` |
//! | 8 | Seal of the rest of the head |
//! | 4 | Length of the block |
//! | 4 | Its length before it was compressed |
//! | 4, 4 | Entries in it, and entries that were dropped before them |
//! | 8, 8 | Sequence of the first and of the last entry |
//! | 8, 8 | Earliest and latest time of an entry, in milliseconds since 1970 |
//! | 2, 1, 1, 1 | Sets of status classes, outcomes, levels, kinds of events |
//! | 2, 2 | Length of the account's id and of the Worker's name |
//! | 8 | Seal of these two |
//! | 16 | Seal of the block |

use std::sync::Arc;

use skep_worker::{Event, Outcome};

use crate::{Entry, Level};

/// What a frame begins with.
pub(crate) const MARK: [u8; 4] = *b"SKL1";
/// What an account's id and a Worker's name may have together, in bytes.
pub(crate) const LONGEST_NAMES: usize = 1024;
/// Bytes of a head.
pub(crate) const HEAD: usize = 93;
/// Bytes of a head that its seal is not about: the mark and the seal.
const BEFORE: usize = 12;
/// The largest block, before and after it is compressed. A length above that is none.
const LARGEST: u32 = 16 << 20;

/// What is in a block of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Its length before it is compressed, in bytes.
    pub(crate) raw: u32,
    /// Entries.
    pub(crate) count: u32,
    /// Entries of the same Worker that were dropped between the block before and this one.
    pub(crate) dropped: u32,
    /// The sequence of the first and of the last entry.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The earliest and the latest time, in milliseconds since 1970.
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
    /// Sets of what [`status_bit`] and its like give.
    pub(crate) statuses: u16,
    pub(crate) outcomes: u8,
    pub(crate) levels: u8,
    pub(crate) kinds: u8,
}

/// The class of a status as a set: its hundreds, 0 for none.
pub(crate) fn status_bit(status: Option<u16>) -> u16 {
    1 << (status.unwrap_or(0) / 100).min(15)
}

/// An outcome as a set.
pub(crate) fn outcome_bit(outcome: Outcome) -> u8 {
    let place = Outcome::ALL.iter().position(|known| *known == outcome);
    1 << place.unwrap_or(Outcome::ALL.len() - 1)
}

/// A level as a set: higher bits are louder, the lowest is for none.
pub(crate) const fn level_bit(level: Option<Level>) -> u8 {
    match level {
        None => 1,
        Some(level) => 2 << level as u8,
    }
}

/// A kind as a set.
pub(crate) const fn kind_bit(kind: Event) -> u8 {
    1 << kind as u8
}

impl Summary {
    /// The summary of no entry.
    pub(crate) const EMPTY: Self = Self {
        raw: 0,
        count: 0,
        dropped: 0,
        first: u64::MAX,
        last: 0,
        earliest: i64::MAX,
        latest: i64::MIN,
        statuses: 0,
        outcomes: 0,
        levels: 0,
        kinds: 0,
    };

    /// The summary of one entry.
    pub(crate) fn of(sequence: u64, entry: &Entry, raw: u32) -> Self {
        Self {
            raw,
            count: 1,
            dropped: 0,
            first: sequence,
            last: sequence,
            earliest: entry.at,
            latest: entry.at,
            statuses: status_bit(entry.status),
            outcomes: outcome_bit(entry.outcome),
            levels: level_bit(entry.level),
            kinds: kind_bit(entry.kind),
        }
    }

    /// Adds what another block has.
    pub(crate) fn add(&mut self, other: &Self) {
        self.raw = self.raw.saturating_add(other.raw);
        self.count = self.count.saturating_add(other.count);
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.earliest = self.earliest.min(other.earliest);
        self.latest = self.latest.max(other.latest);
        self.statuses |= other.statuses;
        self.outcomes |= other.outcomes;
        self.levels |= other.levels;
        self.kinds |= other.kinds;
    }
}

/// Whose entries a frame has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// The account's id.
    pub(crate) account: Arc<str>,
    /// The Worker's name.
    pub(crate) worker: Arc<str>,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) summary: Summary,
    /// The block's length in bytes.
    pub(crate) block: u32,
    /// The block's seal.
    pub(crate) seal: [u8; 16],
    account: u16,
    worker: u16,
    names: [u8; 8],
}

/// BLAKE3, cut.
pub(crate) fn seal<const BYTES: usize>(parts: &[&[u8]]) -> [u8; BYTES] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut seal = [0; BYTES];
    hasher.finalize_xof().fill(&mut seal);
    seal
}

/// A frame of a block, as it is in the file. `None` if a name or the block is longer than a frame can have.
pub(crate) fn frame(owner: &Owner, summary: Summary, block: &[u8]) -> Option<(Head, Vec<u8>)> {
    let (account, worker) = (owner.account.as_bytes(), owner.worker.as_bytes());
    let head = Head {
        summary,
        block: u32::try_from(block.len()).ok().filter(|length| *length <= LARGEST)?,
        seal: seal(&[block]),
        account: u16::try_from(account.len()).ok()?,
        worker: u16::try_from(worker.len()).ok()?,
        names: seal(&[account, worker]),
    };
    (summary.raw <= LARGEST).then(|| (head, [&head.to_bytes(), account, worker, block].concat()))
}

impl Head {
    fn to_bytes(self) -> [u8; HEAD] {
        let Summary { raw, count, dropped, first, last, earliest, latest, statuses, outcomes, levels, kinds } =
            self.summary;
        let mut bytes = [0; HEAD];
        let mut at = BEFORE;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        for number in [self.block, raw, count, dropped] {
            put(&number.to_le_bytes());
        }
        put(&first.to_le_bytes());
        put(&last.to_le_bytes());
        put(&earliest.to_le_bytes());
        put(&latest.to_le_bytes());
        put(&statuses.to_le_bytes());
        put(&[outcomes, levels, kinds]);
        put(&self.account.to_le_bytes());
        put(&self.worker.to_le_bytes());
        put(&self.names);
        put(&self.seal);
        let seal: [u8; 8] = seal(&[&bytes[BEFORE..]]);
        bytes[..MARK.len()].copy_from_slice(&MARK);
        bytes[MARK.len()..BEFORE].copy_from_slice(&seal);
        bytes
    }

    /// The head that bytes begin with, if it is whole.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD] = bytes.get(..HEAD)?.try_into().ok()?;
        let is_whole = bytes.starts_with(&MARK) && bytes[MARK.len()..BEFORE] == seal::<8>(&[&bytes[BEFORE..]]);
        if !is_whole {
            return None;
        }
        let mut rest = &bytes[BEFORE..];
        let block = u32::from_le_bytes(take(&mut rest)?);
        let summary = Summary {
            raw: u32::from_le_bytes(take(&mut rest)?),
            count: u32::from_le_bytes(take(&mut rest)?),
            dropped: u32::from_le_bytes(take(&mut rest)?),
            first: u64::from_le_bytes(take(&mut rest)?),
            last: u64::from_le_bytes(take(&mut rest)?),
            earliest: i64::from_le_bytes(take(&mut rest)?),
            latest: i64::from_le_bytes(take(&mut rest)?),
            statuses: u16::from_le_bytes(take(&mut rest)?),
            outcomes: u8::from_le_bytes(take(&mut rest)?),
            levels: u8::from_le_bytes(take(&mut rest)?),
            kinds: u8::from_le_bytes(take(&mut rest)?),
        };
        let account = u16::from_le_bytes(take(&mut rest)?);
        let worker = u16::from_le_bytes(take(&mut rest)?);
        let (names, seal) = (take(&mut rest)?, take(&mut rest)?);
        (block <= LARGEST && summary.raw <= LARGEST).then_some(Self { summary, block, seal, account, worker, names })
    }

    /// Bytes between the head and the block.
    pub(crate) fn owner_length(&self) -> usize {
        usize::from(self.account) + usize::from(self.worker)
    }

    /// Bytes of the whole frame.
    pub(crate) fn length(&self) -> u64 {
        (HEAD + self.owner_length()) as u64 + u64::from(self.block)
    }

    /// Whose entries these are, of the bytes that follow the head. `None` if they are not what was written.
    pub(crate) fn owner(&self, bytes: &[u8]) -> Option<Owner> {
        let (account, worker) = bytes.get(..self.owner_length())?.split_at(usize::from(self.account));
        if seal(&[account, worker]) != self.names {
            return None;
        }
        let text = |bytes| std::str::from_utf8(bytes).ok();
        Some(Owner { account: text(account)?.into(), worker: text(worker)?.into() })
    }
}

/// Takes a field off the front.
fn take<const BYTES: usize>(from: &mut &[u8]) -> Option<[u8; BYTES]> {
    let (field, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*field)
}

#[cfg(test)]
mod tests;
