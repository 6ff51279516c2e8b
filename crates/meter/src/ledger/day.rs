//! The file of a day: usage by minute, a frame for each journal that it came from.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use skep_worker::Outcome;
use time::Date;
use uuid::Uuid;

use crate::ledger::frame::{self, Found, Frames, Seal};
use crate::ledger::{DAMAGES, DAY, Damage, HEADS, LedgerError, LedgerResult, Minute, sync_folder};
use crate::{Batch, Entry, Kind, Usage};

/// How hard usage is compressed: it is much the same from minute to minute.
const LEVEL: i32 = 3;
/// What a frame holds at most once it is unpacked, in bytes.
const LARGEST: usize = 1 << 30;

/// What a frame of a day holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Settled {
    /// The journal that it was made of, by the seal of its last frame.
    pub(super) journal: Seal,
    /// The batches in it: of each process, from one number to another without a gap.
    pub(super) batches: Vec<(Uuid, u64, u64)>,
    /// What was used in each minute.
    pub(super) minutes: Vec<(Minute, Vec<Entry>)>,
}

impl Settled {
    fn of(journal: Seal, batches: &[(Minute, &Batch)]) -> Self {
        let mut numbers: BTreeMap<Uuid, Vec<u64>> = BTreeMap::new();
        let mut minutes: BTreeMap<Minute, Vec<Entry>> = BTreeMap::new();
        let mut places: HashMap<(Minute, Uuid, Kind, Outcome), usize> = HashMap::new();
        for (minute, batch) in batches {
            numbers.entry(batch.process).or_default().push(batch.number);
            let entries = minutes.entry(*minute).or_default();
            for entry in &batch.entries {
                let place = *places.entry((*minute, entry.version, entry.kind, entry.outcome)).or_insert_with(|| {
                    entries.push(Entry { usage: Usage::default(), ..entry.clone() });
                    entries.len() - 1
                });
                entries[place].usage += entry.usage;
            }
        }
        let mut batches: Vec<(Uuid, u64, u64)> = Vec::new();
        for (process, mut numbers) in numbers {
            numbers.sort_unstable();
            for number in numbers {
                match batches.last_mut().filter(|(of, _, last)| *of == process && *last + 1 == number) {
                    Some((_, _, last)) => *last = number,
                    None => batches.push((process, number, number)),
                }
            }
        }
        Self { journal, batches, minutes: minutes.into_iter().collect() }
    }

    fn pack(&self) -> io::Result<Vec<u8>> {
        let plain = postcard::to_stdvec(self).map_err(io::Error::other)?;
        zstd::bulk::compress(&plain, LEVEL)
    }

    pub(super) fn unpack(holds: &[u8]) -> io::Result<Self> {
        let plain = zstd::bulk::decompress(holds, LARGEST.min(holds.len().saturating_mul(1000).max(1 << 20)))?;
        postcard::from_bytes(&plain).map_err(io::Error::other)
    }
}

/// The name of a day's file.
pub(super) fn name(date: Date) -> String {
    format!("{date}{DAY}")
}

/// How long days' files are, and the seals of their last frames, in hexadecimal digits.
pub(super) type Heads = BTreeMap<String, (u64, String)>;

/// What `heads` says; nothing if it cannot be read.
pub(super) fn heads(folder: &Path) -> Option<Heads> {
    serde_json::from_slice(&fs::read(folder.join(HEADS)).ok()?).ok()
}

pub(super) fn hex(seal: &Seal) -> String {
    seal.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds what a journal has of a day to its file, if that was not done before. It is on the disk when this returns.
pub(super) fn add(folder: &Path, date: Date, journal: Seal, batches: &[(Minute, &Batch)]) -> LedgerResult<()> {
    let path = folder.join(name(date));
    let bytes = read_or_empty(&path)?;
    let mut frames = Frames::new(&bytes);
    let name = name(date);
    let known = heads(folder).and_then(|heads| heads.get(&name).map(|(length, _)| *length)).unwrap_or(0);
    let (mut is_there, mut end) = (false, bytes.len());
    for found in frames.by_ref() {
        match found {
            Found::Frame { holds, .. } => {
                is_there |= Settled::unpack(holds).is_ok_and(|settled| settled.journal == journal);
            }
            // A crash: the journal is still there. What was whole once is damaged, and stays.
            Found::Torn { offset, .. } if offset as u64 >= known => end = offset,
            Found::Torn { .. } | Found::Broken { .. } => {}
        }
    }
    let last = frames.last_seal();
    if is_there {
        // The disk may have been full when its length was to be told.
        return match known < bytes.len() as u64 && end == bytes.len() {
            true => tell(folder, name, bytes.len() as u64, &last),
            false => Ok(()),
        };
    }
    let at = || LedgerError::at(&path);
    if (bytes.len() as u64) < known {
        // From now on its length says nothing of that any more.
        let what = format!("the file was cut short: {} bytes of {known} were there", bytes.len());
        remember(folder, &Damage { file: name.clone(), offset: bytes.len() as u64, what })?;
    }
    let holds = Settled::of(journal, batches).pack().map_err(at())?;
    let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(at())?;
    file.set_len(end as u64).map_err(at())?;
    let written = frame::write(&mut file, &last, &holds).and_then(|written| file.sync_data().map(|()| written));
    let (seal, length) = written.inspect_err(|_| drop(file.set_len(end as u64))).map_err(at())?;
    tell(folder, name, end as u64 + length, &seal)
}

fn read_or_empty(path: &Path) -> LedgerResult<Vec<u8>> {
    match frame::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(LedgerError::at(path)),
    }
}

/// Damage of files that were written to since it was found.
pub(super) fn remembered(folder: &Path) -> Vec<Damage> {
    let lines = fs::read_to_string(folder.join(DAMAGES)).unwrap_or_default();
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn remember(folder: &Path, damage: &Damage) -> LedgerResult<()> {
    let path = folder.join(DAMAGES);
    let write = || {
        let mut line = serde_json::to_vec(damage).map_err(io::Error::other)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(&line)?;
        file.sync_data()
    };
    write().map_err(LedgerError::at(&path))
}

/// Says how long a day's file is.
fn tell(folder: &Path, name: String, length: u64, seal: &Seal) -> LedgerResult<()> {
    let path = folder.join(HEADS);
    let mut all = heads(folder).unwrap_or_default();
    all.insert(name, (length, hex(seal)));
    let begun = folder.join(format!("{HEADS}.new"));
    let write = || {
        let mut file = File::create(&begun)?;
        file.write_all(&serde_json::to_vec(&all).map_err(io::Error::other)?)?;
        file.sync_data()?;
        fs::rename(&begun, &path)
    };
    write().map_err(LedgerError::at(&path))?;
    sync_folder(folder)
}

/// Shows what a day has.
pub(super) fn read(folder: &Path, date: Date, see: &mut impl FnMut(Minute, &Entry)) -> LedgerResult<()> {
    let bytes = read_or_empty(&folder.join(name(date)))?;
    for found in Frames::new(&bytes) {
        if let Found::Frame { holds, .. } = found
            && let Ok(settled) = Settled::unpack(holds)
        {
            for (minute, entries) in &settled.minutes {
                entries.iter().for_each(|entry| see(*minute, entry));
            }
        }
    }
    Ok(())
}
