//! A disk that takes nothing: events are dropped and counted, the operator is told once, and writing goes on by itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use skep_logs::{Entry, Gap, Query};

use crate::{ACCOUNT, LIMITS, Told, all, entry, lines, noise};

#[test]
fn a_folder_that_cannot_be_written_to_is_told_once_and_writing_goes_on_by_itself() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, aside) = (parent.path().join("logs"), parent.path().join("aside"));
    let told = Told::default();
    let logs = told.open(&folder, LIMITS);
    logs.append(entry("a", "before"));
    logs.flush();
    // A file is where the folder was.
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "").unwrap();
    for number in 0..10 {
        logs.append(entry(["a", "b"][number % 2], "lost"));
        logs.flush();
    }
    assert_eq!(logs.dropped(), 10);
    let messages = told.all();
    assert!(
        messages.len() == 1 && messages[0].contains("cannot be written") && messages[0].contains("disk's space"),
        "{messages:?}"
    );
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    for worker in ["a", "b"] {
        logs.append(entry(worker, "after"));
    }
    let page = all(&logs, &Query::new(ACCOUNT));
    assert_eq!(lines(&page), ["after", "after", "before"]);
    let gaps: Vec<(&str, u64)> = page.gaps.iter().map(|Gap { worker, dropped, .. }| (&**worker, *dropped)).collect();
    assert_eq!(gaps, [("b", 5), ("a", 5)]);
    let messages = told.all();
    assert!(messages.len() == 2 && messages[1].contains("again; 10 events were dropped"), "{messages:?}");
    // And after a restart the gaps are still seen.
    drop(logs);
    assert_eq!(all(&told.open(&folder, LIMITS), &Query::new(ACCOUNT)).gaps, page.gaps);
}

#[test]
fn a_folder_that_was_removed_is_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("logs");
    let told = Told::default();
    let logs = told.open(&folder, LIMITS);
    logs.append(entry("a", "before"));
    logs.flush();
    fs::remove_dir_all(&folder).unwrap();
    for number in 0..5 {
        logs.append(entry("a", &number.to_string()));
        logs.flush();
    }
    assert_eq!(lines(&all(&logs, &Query::new(ACCOUNT)))[0], "4");
    assert!(logs.dropped() < 5);
}

/// Where the process has its logs whose files may not be large.
const CHILD: &str = "SKEP_LOGS_TEST_SMALL_FILES";

#[test]
fn a_process_whose_files_may_not_be_large() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let told = Told::default();
    let logs = told.open(Path::new(&folder), LIMITS);
    for number in 0..200 {
        logs.append(Entry { ray: noise(number, 10_000), ..entry("a", &number.to_string()) });
        logs.flush();
    }
    let page = all(&logs, &Query::new(ACCOUNT));
    // Each file took a few frames, then one that was cut off again, and the next frame went to another file.
    let dropped: u64 = page.gaps.iter().map(|gap| gap.dropped).sum();
    assert_eq!((page.damaged, page.events.len() as u64 + logs.dropped()), (0, 200));
    assert!(dropped > 0 && dropped <= logs.dropped());
    assert!(told.all()[0].contains("File too large"), "{:?}", told.all());
    println!("survived");
}

/// As a full disk: a part of a frame is written, and then nothing more. The kernel's signal for that is ignored, as the shell leaves it.
#[test]
fn a_frame_that_finds_no_room_is_cut_off_again() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 600; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["disk::a_process_whose_files_may_not_be_large", "--exact", "--nocapture"])
        .env(CHILD, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("survived"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let logs = crate::open(folder.path());
    assert!(all(&logs, &Query::new(ACCOUNT)).events.len() > 100);
}
