//! Processes that are killed, files that are cut short, bits that flip.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use skep_logs::{Entry, Query};

use crate::{ACCOUNT, LIMITS, Told, all, entry, files, lines, noise, of_worker, open};

/// Where the process that is killed has its logs.
const CHILD: &str = "SKEP_LOGS_TEST_FOLDER";

#[test]
fn a_process_that_appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let logs = open(Path::new(&folder));
    for number in 0_u64.. {
        for worker in ["a", "b"] {
            logs.append(Entry { ray: noise(number, 300), ..entry(worker, &number.to_string()) });
        }
        if number % 20 == 19 {
            logs.flush();
            println!("flushed {number}");
        }
    }
}

#[test]
fn what_was_flushed_survives_sigkill_whole_and_once() {
    let folder = tempfile::tempdir().unwrap();
    for (round, until) in [60, 700, 1500].into_iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["damage::a_process_that_appends_until_it_is_killed", "--exact", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let number = |line: &str| line.strip_prefix("flushed ").and_then(|number| number.parse::<usize>().ok());
        let first = output.find(|line| number(line).is_some_and(|number| number >= until)).expect("it appends");
        child.kill().unwrap();
        child.wait().unwrap();
        let flushed = output.filter_map(|line| number(&line)).last().or(number(&first)).unwrap();
        let logs = open(folder.path());
        for worker in ["a", "b"] {
            let found = lines(&all(&logs, &of_worker(worker)));
            // Of this round, the newest, then those of the rounds before.
            let count = found.iter().position(|line| line == "0").unwrap() + 1;
            assert!(count > flushed, "{count} of {flushed} in round {round}");
            assert!(found[..count].iter().eq(&(0..count).rev().map(|number| number.to_string()).collect::<Vec<_>>()));
            assert_eq!(found.iter().filter(|line| *line == "0").count(), round + 1);
        }
        drop(logs);
    }
}

/// A folder with one file of three frames, with events a, b, c, and the offsets at which the frames end.
fn three_frames() -> (tempfile::TempDir, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    let mut ends = Vec::new();
    for line in ["a", "b", "c"] {
        logs.append(entry("shop", line));
        logs.flush();
        ends.push(fs::read(&files(folder.path(), "young")[0]).unwrap().len());
    }
    (folder, ends)
}

#[test]
fn a_frame_that_was_begun_was_never_there() {
    let (whole, ends) = three_frames();
    let file = files(whole.path(), "young").remove(0);
    let bytes = fs::read(&file).unwrap();
    for length in ends[1]..ends[2] {
        fs::write(&file, &bytes[..length]).unwrap();
        let logs = open(whole.path());
        assert_eq!(fs::metadata(&file).unwrap().len(), ends[1] as u64, "{length}");
        if length % 9 == 0 {
            logs.append(entry("shop", "d"));
            assert_eq!(lines(&all(&logs, &Query::new(ACCOUNT))), ["d", "b", "a"], "{length}");
        } else {
            assert_eq!(lines(&all(&logs, &Query::new(ACCOUNT))), ["b", "a"], "{length}");
        }
    }
    // Files of others are left alone.
    let other = whole.path().join("nginx.log");
    fs::write(&other, &bytes[..10]).unwrap();
    // Nothing but the beginning of one.
    fs::write(&file, &bytes[..ends[0] - 1]).unwrap();
    let logs = open(whole.path());
    assert_eq!(logs.stats(), skep_logs::Stats::default());
    assert_eq!(files(whole.path(), "young").len(), 0);
    assert_eq!(fs::read(&other).unwrap(), &bytes[..10]);
}

#[test]
fn every_flipped_bit_is_found_and_named_once_and_costs_one_frame() {
    let (whole, ends) = three_frames();
    let file = files(whole.path(), "young").remove(0);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let bytes = fs::read(&file).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&file, &flipped).unwrap();
        let told = Told::default();
        let logs = told.open(whole.path(), LIMITS);
        let hit = ends.iter().position(|end| at < *end).unwrap();
        let rest: Vec<&str> = ["c", "b", "a"].into_iter().filter(|line| *line != ["a", "b", "c"][hit]).collect();
        for _ in 0..2 {
            assert_eq!(lines(&all(&logs, &Query::new(ACCOUNT))), rest, "{at}");
        }
        let messages = told.all();
        let begin = if hit == 0 { 0 } else { ends[hit - 1] };
        assert!(
            messages.len() == 1 && messages[0].contains(&name) && messages[0].contains(&format!("at byte {begin}:")),
            "{at}: {messages:?}"
        );
        if at % 16 == 0 {
            // What comes is written, also when everything is packed.
            let long = noise(1, 130_000);
            logs.append(entry("shop", &long));
            assert_eq!(lines(&all(&logs, &Query::new(ACCOUNT))), [&[&*long], &*rest].concat(), "{at}");
            assert_eq!(told.all(), messages);
            drop(logs);
            fs::remove_file(files(whole.path(), "log").remove(0)).unwrap();
        }
    }
}

#[test]
fn packed_frames_that_are_damaged_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    for number in 0..60 {
        logs.append(entry("shop", &noise(number, 10_000)));
    }
    logs.flush();
    drop(logs);
    let file = files(folder.path(), "log").remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let within = bytes.len() / 3;
    bytes[within] ^= 1;
    fs::write(&file, bytes).unwrap();
    let told = Told::default();
    let logs = told.open(folder.path(), LIMITS);
    let page = all(&logs, &Query::new(ACCOUNT));
    assert_eq!(page.damaged, 1);
    assert!((40..60).contains(&page.events.len()), "{}", page.events.len());
    assert_eq!(told.all().len(), 1);
}

#[test]
fn files_that_somebody_removed_are_told_once_and_the_rest_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let told = Told::default();
    let logs = told.open(folder.path(), LIMITS);
    logs.append(entry("a", "gone"));
    logs.flush();
    fs::remove_file(files(folder.path(), "young").remove(0)).unwrap();
    logs.append(entry("b", "there"));
    for _ in 0..2 {
        let page = all(&logs, &Query::new(ACCOUNT));
        assert_eq!((lines(&page), page.damaged), (vec!["there".to_owned()], 1));
    }
    assert_eq!(told.all().len(), 1, "{:?}", told.all());
}

#[test]
fn a_crash_between_packing_and_removing_what_was_packed_shows_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    for number in 0..10 {
        logs.append(entry("shop", &number.to_string()));
        logs.flush();
    }
    let young = files(folder.path(), "young").remove(0);
    let kept = fs::read(&young).unwrap();
    let long = noise(1, 130_000);
    logs.append(entry("shop", &long));
    logs.append(entry("shop", "after"));
    logs.flush();
    let before = all(&logs, &Query::new(ACCOUNT)).events;
    assert_eq!(before.len(), 12);
    drop(logs);
    assert!(!young.exists() && files(folder.path(), "log").len() == 1);
    // Killed before the young file was removed, with the packed frame whole, and in the middle of writing it.
    fs::write(&young, &kept).unwrap();
    assert_eq!(all(&open(folder.path()), &Query::new(ACCOUNT)).events, before);
    assert!(!young.exists());
    let packed = files(folder.path(), "log").remove(0);
    let bytes = fs::read(&packed).unwrap();
    for later in files(folder.path(), "young") {
        fs::remove_file(later).unwrap();
    }
    fs::write(&young, &kept).unwrap();
    fs::write(&packed, &bytes[..bytes.len() / 2]).unwrap();
    let lines: Vec<String> = (0..10).rev().map(|number| number.to_string()).collect();
    assert_eq!(crate::lines(&all(&open(folder.path()), &Query::new(ACCOUNT))), lines);
}
