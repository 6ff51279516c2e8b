//! Crashes, damage, clocks that jump: what is acknowledged is there once, and what is not as it was written is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use skep_worker::Outcome;
use time::macros::datetime;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::{Ledger, Minute, verify};
use crate::{Batch, Entry, Kind, Usage};

const NOON: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

fn batch(process: u128, number: u64, requests: u64) -> Batch {
    let entry = |worker: &str| Entry {
        account: "a".repeat(32),
        worker: worker.to_owned(),
        version: Uuid::from_u128(worker.len() as u128),
        kind: Kind::Fetch,
        outcome: Outcome::Ok,
        usage: Usage { requests, cpu_us: 7 * requests, ..Usage::default() },
    };
    Batch { process: Uuid::from_u128(process), number, entries: vec![entry("one"), entry("three")] }
}

/// Requests by minute.
fn requests(ledger: &Ledger, from: Date, to: Date) -> BTreeMap<Minute, u64> {
    let mut sums = BTreeMap::new();
    let see = |minute, entry: &Entry| *sums.entry(minute).or_default() += entry.usage.requests;
    ledger.read(from, to, see).expect("it can be read");
    sums
}

fn total(ledger: &Ledger) -> u64 {
    requests(ledger, NOON.date().previous_day().expect("a day"), NOON.date().next_day().expect("a day")).values().sum()
}

fn files(folder: &Path, of: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    found.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains(of)));
    found.sort();
    found
}

fn damages(folder: &Path) -> Vec<String> {
    verify(folder).expect("it can be read").damages.iter().map(ToString::to_string).collect()
}

#[test]
fn a_batch_is_taken_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path()).expect("opened");
    assert!(ledger.append(NOON, &batch(1, 1, 10)).expect("written"));
    assert!(!ledger.append(NOON, &batch(1, 1, 10)).expect("known"));
    assert!(ledger.append(NOON, &batch(2, 1, 1)).expect("another process"));
    ledger.close_journal().expect("closed");
    // Also when the journal is another one.
    assert!(!ledger.append(NOON, &batch(1, 1, 10)).expect("known"));
    assert!(ledger.append(NOON, &batch(1, 2, 100)).expect("the next"));
    assert_eq!(total(&ledger), 222);
    drop(ledger);
    // And after a restart, as long as the process can still send it.
    let ledger = Ledger::open(folder.path()).expect("opened");
    assert!(!ledger.append(NOON, &batch(1, 2, 100)).expect("known"));
    assert_eq!(total(&ledger), 222);
    let verification = ledger.verify().expect("read");
    assert_eq!((verification.damages, verification.batches), (Vec::new(), 3));
    assert_eq!(verification.accounts.values().next().expect("an account").cpu_us, 222 * 7);
}

#[test]
fn batches_are_added_up_by_minute_in_the_files_of_their_days() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path()).expect("opened");
    let midnight = datetime!(2026-11-27 00:00 UTC);
    // A clock that jumps back does no harm.
    let second = time::Duration::SECOND;
    for (number, at) in [NOON, NOON + second * 59, midnight - second, midnight, NOON].into_iter().enumerate() {
        assert!(ledger.append(at, &batch(1, number as u64 + 1, 1)).expect("written"));
    }
    let before = requests(&ledger, NOON.date(), midnight.date());
    ledger.close_journal().expect("closed");
    assert_eq!(before.values().copied().collect::<Vec<_>>(), [6, 2, 2]);
    assert_eq!(requests(&ledger, NOON.date(), midnight.date()), before);
    assert_eq!(requests(&ledger, midnight.date(), midnight.date()), BTreeMap::from([(Minute::of(midnight), 2)]));
    assert_eq!(Minute::of(midnight).begins(), midnight);
    let names = files(folder.path(), ".ledger");
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(damages(folder.path()), Vec::<String>::new());
}

#[test]
fn a_crash_while_a_journal_is_moved_counts_nothing_twice_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path()).expect("opened");
    for number in 1..=5 {
        ledger.append(NOON, &batch(1, number, 1)).expect("written");
    }
    let journal = files(folder.path(), "journal-").remove(0);
    let kept = fs::read(&journal).expect("the journal");
    ledger.close_journal().expect("closed");
    drop(ledger);
    let day = files(folder.path(), ".ledger").remove(0);
    let moved = fs::read(&day).expect("the day");
    // Killed before the journal was removed: with the day's frame whole, cut anywhere, and not there.
    for length in (0..=moved.len()).step_by(7).chain([moved.len()]) {
        fs::write(&day, &moved[..length]).expect("written");
        fs::write(&journal, &kept).expect("written");
        if length < moved.len() {
            // The file's length is told after the frame is on the disk.
            fs::remove_file(folder.path().join("heads")).expect("removed");
        }
        let ledger = Ledger::open(folder.path()).expect("opened");
        assert_eq!(total(&ledger), 10, "{length}");
        assert_eq!(damages(folder.path()), Vec::<String>::new(), "{length}");
    }
}

#[test]
fn a_batch_that_was_begun_was_never_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path()).expect("opened");
    ledger.append(NOON, &batch(1, 1, 1)).expect("written");
    let journal = files(folder.path(), "journal-").remove(0);
    let first = fs::read(&journal).expect("read").len();
    let head = fs::read(folder.path().join("head")).expect("read");
    ledger.append(NOON, &batch(1, 2, 1)).expect("written");
    drop(ledger);
    let both = fs::read(&journal).expect("read");
    for length in first..both.len() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("head"), &head).expect("written");
        fs::write(folder.path().join(journal.file_name().expect("a name")), &both[..length]).expect("written");
        assert_eq!(damages(folder.path()), Vec::<String>::new(), "{length}");
        let ledger = Ledger::open(folder.path()).expect("opened");
        assert_eq!(total(&ledger), 2, "{length}");
        assert_eq!(damages(folder.path()), Vec::<String>::new(), "{length}");
    }
}

/// A ledger with a day of three frames and a journal of three batches, 12 requests.
fn ledger() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path()).expect("opened");
    for number in 1..=6 {
        ledger.append(NOON, &batch(1, number, 1)).expect("written");
        if number <= 3 {
            ledger.close_journal().expect("closed");
        }
    }
    assert_eq!((total(&ledger), damages(folder.path())), (12, Vec::new()));
    folder
}

#[test]
fn every_flipped_byte_is_found_and_named_and_the_rest_is_there() {
    let whole = ledger();
    for of in [".ledger", "journal-"] {
        let file = files(whole.path(), of).pop().expect("a file");
        let bytes = fs::read(&file).expect("read");
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        for at in (0..bytes.len()).step_by(5) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            fs::write(&file, &flipped).expect("written");
            let found = damages(whole.path());
            assert!(found.iter().any(|damage| damage.starts_with(&name)), "{of} {at}: {found:?}");
            // Opened anew it is not forgotten.
            let copy = copied(whole.path());
            let opened = Ledger::open(copy.path()).expect("opened");
            assert_eq!(total(&opened), 10, "{of} {at}");
            assert!(!damages(copy.path()).is_empty(), "{of} {at}");
            // And what comes is written.
            opened.append(NOON, &batch(2, 1, 1)).expect("written");
            opened.close_journal().expect("closed");
            assert_eq!(total(&opened), 12, "{of} {at}");
        }
        fs::write(&file, &bytes).expect("written");
    }
    assert_eq!(damages(whole.path()), Vec::<String>::new());
}

fn copied(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for file in files(folder, "") {
        fs::copy(&file, copy.path().join(file.file_name().expect("a name"))).expect("copied");
    }
    copy
}

#[test]
fn every_cut_is_found_and_named_and_the_rest_is_there() {
    let whole = ledger();
    for of in [".ledger", "journal-"] {
        let file = files(whole.path(), of).pop().expect("a file");
        let bytes = fs::read(&file).expect("read");
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        for length in 0..bytes.len() {
            fs::write(&file, &bytes[..length]).expect("written");
            let found = damages(whole.path());
            assert!(found.iter().any(|damage| damage.starts_with(&name)), "{of} {length}: {found:?}");
            if length % 11 == 0 {
                let copy = copied(whole.path());
                let opened = Ledger::open(copy.path()).expect("opened");
                assert!((6..=10).contains(&total(&opened)), "{of} {length}");
                opened.append(NOON, &batch(2, 1, 1)).expect("written");
                opened.close_journal().expect("closed");
                assert!(!damages(copy.path()).is_empty(), "{of} {length}");
            }
        }
        fs::write(&file, &bytes).expect("written");
    }
}

#[test]
fn files_that_are_gone_are_found() {
    for of in [".ledger", "heads"] {
        let whole = ledger();
        fs::remove_file(files(whole.path(), of).remove(0)).expect("removed");
        assert!(!damages(whole.path()).is_empty(), "{of}");
    }
}

#[test]
fn a_disk_that_takes_nothing_is_told_and_nothing_is_half_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path()).expect("opened");
    ledger.append(NOON, &batch(1, 1, 1)).expect("written");
    // A file that cannot be written to, as it is open for reading only.
    let path = ledger.journal().path.clone();
    let file = std::mem::replace(&mut ledger.journal().file, fs::File::open(&path).expect("opened"));
    let error = ledger.append(NOON, &batch(1, 2, 1)).expect_err("it cannot be written").to_string();
    assert!(error.contains("journal-"), "{error}");
    ledger.journal().file = file;
    assert!(ledger.append(NOON, &batch(1, 2, 1)).expect("it is taken when it comes again"));
    assert_eq!((total(&ledger), damages(folder.path())), (4, Vec::new()));
}

#[test]
fn a_journal_that_was_begun_and_never_used_is_in_nobodys_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path()).expect("opened");
    assert!(ledger.append(NOON, &batch(1, 1, 1)).expect("written"));
    // The disk was full when it had its name, and nothing more.
    fs::write(folder.path().join("journal-00000002"), "").expect("written");
    ledger.close_journal().expect("closed");
    assert!(!ledger.append(NOON, &batch(1, 1, 1)).expect("read"), "it was taken");
    assert_eq!((files(folder.path(), "journal-").len(), total(&ledger)), (1, 2));
    assert_eq!(damages(folder.path()), Vec::<String>::new());
}

#[test]
fn what_could_not_be_moved_to_its_day_is_moved_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path()).expect("opened");
    assert!(ledger.append(NOON, &batch(1, 1, 1)).expect("written"));
    // Nothing can be written there.
    let day = folder.path().join(super::day::name(NOON.date()));
    fs::create_dir(&day).expect("a folder");
    ledger.close_journal().expect_err("it cannot be written");
    assert!(!ledger.append(NOON, &batch(1, 1, 1)).expect("read"), "it was taken");
    fs::remove_dir(&day).expect("removed");
    assert_eq!(total(&ledger), 2);
    assert!(!ledger.tend().expect("moved"), "the new one is young");
    assert_eq!((files(folder.path(), "journal-").len(), total(&ledger)), (1, 2));
    assert_eq!(damages(folder.path()), Vec::<String>::new());
}
