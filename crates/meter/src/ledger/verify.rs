//! Proves that a ledger is whole, or says what is not.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Usage;
use crate::ledger::day::{self, Settled};
use crate::ledger::frame::{self, Found, Frames};
use crate::ledger::{DAMAGED, DAY, JOURNAL, Journaled, LedgerError, LedgerResult, acknowledged};

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What, for a person.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, byte {}: {}", self.file, self.offset, self.what)
    }
}

/// What a ledger has, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Files that were read.
    pub files: usize,
    /// Frames whose seals hold.
    pub frames: u64,
    /// Batches in them.
    pub batches: u64,
    /// What was used, by account.
    pub accounts: BTreeMap<String, Usage>,
    /// What is not as it was written. Nothing when all is well.
    pub damages: Vec<Damage>,
}

/// The batches of processes, to see that each is there once.
#[derive(Default)]
struct Numbers(HashMap<Uuid, Vec<(u64, u64, String)>>);

/// Reads a ledger that nobody writes to, and checks every seal, every link, and that each batch is there once.
///
/// # Errors
/// When a file cannot be read.
pub fn verify(folder: &Path) -> LedgerResult<Verification> {
    let mut verification = Verification { damages: day::remembered(folder), ..Verification::default() };
    let mut numbers = Numbers::default();
    let mut names: Vec<String> = fs::read_dir(folder)
        .map_err(LedgerError::at(folder))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let heads = day::heads(folder);
    let settled: Vec<&String> = names.iter().filter(|name| name.ends_with(DAY)).collect();
    if heads.is_none() && !settled.is_empty() {
        verification.damage("heads", 0, "is missing or cannot be read: a file that was cut short would not be found");
    }
    for (name, (length, seal)) in heads.unwrap_or_default() {
        let path = folder.join(&name);
        let bytes = frame::read(&path).unwrap_or_default();
        if (bytes.len() as u64) < length {
            let what = format!("the file was cut short: {} bytes of {length} are there", bytes.len());
            verification.damage(&name, bytes.len() as u64, &what);
        } else {
            let mut frames = Frames::new(&bytes[..usize::try_from(length).unwrap_or(bytes.len())]);
            frames.by_ref().for_each(drop);
            if day::hex(&frames.last_seal()) != seal {
                verification.damage(&name, length, "the last frame is not the one that was written");
            }
        }
    }
    for name in &settled {
        verification.day(folder, name, &mut numbers)?;
    }
    let journals: Vec<&String> = names.iter().filter(|name| name.starts_with(JOURNAL)).collect();
    for name in &journals {
        verification.journal(folder, name, &mut numbers)?;
    }
    numbers.check(&mut verification);
    Ok(verification)
}

impl Verification {
    /// Whether everything is as it was written.
    pub fn is_clean(&self) -> bool {
        self.damages.is_empty()
    }

    fn damage(&mut self, file: &str, offset: u64, what: &str) {
        self.damages.push(Damage { file: file.to_owned(), offset, what: what.to_owned() });
    }

    /// Gives what each frame holds that can be read.
    fn frames<'f>(&mut self, name: &str, bytes: &'f [u8], acknowledged: u64) -> Vec<(usize, &'f [u8])> {
        self.files += 1;
        let mut all = Vec::new();
        for found in Frames::new(bytes) {
            match found {
                Found::Frame { offset, holds, follows } => {
                    self.frames += 1;
                    if !follows {
                        self.damage(name, offset as u64, "the frame before this one is not the one that was written");
                    }
                    all.push((offset, holds));
                }
                Found::Broken { offset, length } => {
                    self.damage(name, offset as u64, &format!("{length} bytes are damaged; what follows is read"));
                }
                Found::Torn { offset, .. } if offset as u64 >= acknowledged => {}
                Found::Torn { offset, length } => {
                    self.damage(name, offset as u64, &format!("the last {length} bytes are damaged, or cut short"));
                }
            }
        }
        all
    }

    fn day(&mut self, folder: &Path, name: &str, numbers: &mut Numbers) -> LedgerResult<()> {
        let path = folder.join(name);
        let bytes = frame::read(&path).map_err(LedgerError::at(&path))?;
        let mut journals = HashMap::new();
        for (offset, holds) in self.frames(name, &bytes, u64::MAX) {
            let Ok(settled) = Settled::unpack(holds) else {
                self.damage(name, offset as u64, "the frame is whole, and this program cannot read it");
                continue;
            };
            if let Some(before) = journals.insert(settled.journal, offset) {
                let what = format!("what this frame has is there twice, first at byte {before}");
                self.damage(name, offset as u64, &what);
            }
            for (process, first, last) in settled.batches {
                self.batches += last - first + 1;
                numbers.add(process, first, last, name);
            }
            for entry in settled.minutes.iter().flat_map(|(_, entries)| entries) {
                *self.accounts.entry(entry.account.clone()).or_default() += entry.usage;
            }
        }
        Ok(())
    }

    fn journal(&mut self, folder: &Path, name: &str, numbers: &mut Numbers) -> LedgerResult<()> {
        if name.ends_with(DAMAGED) {
            self.damage(name, 0, "this journal was damaged; what can be read of it is in the files of its days");
            return Ok(());
        }
        let path = folder.join(name);
        let bytes = frame::read(&path).map_err(LedgerError::at(&path))?;
        let number = name.strip_prefix(JOURNAL).and_then(|number| number.parse().ok()).unwrap_or(0);
        let length = acknowledged(folder, number);
        if (bytes.len() as u64) < length {
            let what = format!("the file was cut short: {} bytes of {length} are there", bytes.len());
            self.damage(name, bytes.len() as u64, &what);
        }
        let frames = self.frames(name, &bytes, length);
        for (offset, holds) in frames {
            let Ok(Journaled { batch, .. }) = postcard::from_bytes(holds) else {
                self.damage(name, offset as u64, "the frame is whole, and this program cannot read it");
                continue;
            };
            self.batches += 1;
            numbers.add(batch.process, batch.number, batch.number, name);
            for entry in &batch.entries {
                *self.accounts.entry(entry.account.clone()).or_default() += entry.usage;
            }
        }
        Ok(())
    }
}

impl Numbers {
    fn add(&mut self, process: Uuid, first: u64, last: u64, file: &str) {
        self.0.entry(process).or_default().push((first, last, file.to_owned()));
    }

    fn check(self, verification: &mut Verification) {
        for (process, mut ranges) in self.0 {
            // A process begins with 1.
            ranges.push((0, 0, String::new()));
            ranges.sort();
            for pair in ranges.windows(2) {
                let ((_, end, _), (begin, _, file)) = (&pair[0], &pair[1]);
                if begin <= end {
                    verification.damage(file, 0, &format!("batch {begin} of process {process} is there twice"));
                } else if *begin > end + 1 {
                    let what = format!("batches {} to {} of process {process} are missing", end + 1, begin - 1);
                    verification.damage(file, 0, &what);
                }
            }
        }
    }
}
