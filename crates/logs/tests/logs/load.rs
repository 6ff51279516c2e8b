//! Much at once.

use std::sync::atomic::{AtomicBool, Ordering};

use skep_logs::{Entry, Query};

use crate::{ACCOUNT, all, entry, files, lines, noise, of_worker, open};

#[test]
fn ten_thousand_events_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    for number in 0..10_000 {
        logs.append(entry(["a", "b", "c", "d"][number % 4], &format!("line {number}")));
    }
    assert_eq!(logs.dropped(), 0);
    assert_eq!(lines(&all(&logs, &Query { text: Some("LINE 77".to_owned()), ..Query::new(ACCOUNT) })).len(), 111);
    assert_eq!(all(&logs, &of_worker("c")).events.len(), 2500);
    let stats = logs.stats();
    assert_eq!((stats.events, stats.workers), (10_000, 4));
    drop(logs);
    assert_eq!(open(folder.path()).stats(), stats);
}

#[test]
fn lines_of_a_megabyte_are_kept_whole_and_a_page_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    let long: Vec<Entry> = (0..40).map(|number| Entry { event: noise(number, 1 << 20), ..entry("a", "") }).collect();
    for entry in &long {
        logs.append(entry.clone());
        logs.flush();
    }
    assert_eq!(logs.dropped(), 0);
    let page = logs.search(&Query::new(ACCOUNT)).unwrap();
    assert!((10..=17).contains(&page.events.len()), "{}", page.events.len());
    let found = all(&logs, &Query::new(ACCOUNT)).events;
    assert!(found.iter().map(|found| &found.entry).eq(long.iter().rev()));
}

#[test]
fn a_search_stops_when_it_has_read_enough_and_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    logs.append(entry("a", "the needle"));
    for number in 0..100 {
        let worker = ["a", "b", "c"][number % 3];
        logs.append(Entry { event: "\"hay\"".repeat(200_000), ..entry(worker, "") });
        logs.flush();
    }
    let mut query = Query { text: Some("needle".to_owned()), ..Query::new(ACCOUNT) };
    let mut calls = 0;
    let found = loop {
        calls += 1;
        let page = logs.search(&query).unwrap();
        assert!(page.scanned_bytes <= 66 << 20, "{}", page.scanned_bytes);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break page.events,
        }
    };
    assert_eq!((calls, found.len()), (2, 1));
}

#[test]
fn searches_and_appends_at_the_same_time_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in ["a", "b"] {
            let (logs, is_over) = (logs.clone(), &is_over);
            scope.spawn(move || {
                let mut most = 0;
                while !is_over.load(Ordering::Relaxed) {
                    // Everything up to a point, without a hole, although files are packed meanwhile.
                    let found = lines(&all(&logs, &of_worker(worker)));
                    assert_eq!(found, (0..found.len()).rev().map(|number| number.to_string()).collect::<Vec<_>>());
                    assert!(found.len() >= most);
                    most = found.len();
                }
            });
        }
        for number in 0..2000_u64 {
            for worker in ["a", "b"] {
                logs.append(Entry { ray: noise(number, 500), ..entry(worker, &number.to_string()) });
            }
            if number % 10 == 0 {
                logs.flush();
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(all(&logs, &Query::new(ACCOUNT)).events.len(), 4000);
}

#[test]
fn what_finds_no_room_in_the_queue_is_seen_as_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    let entry = Entry { event: "\"x\"".repeat(1 << 18), ..entry("a", "") };
    let mut appended = 0;
    // Faster than a writer writes.
    while logs.dropped() == 0 {
        for _ in 0..100 {
            logs.append(entry.clone());
            appended += 1;
        }
    }
    logs.append(entry);
    let page = all(&logs, &of_worker("a"));
    let missing: u64 = page.gaps.iter().map(|gap| gap.dropped).sum();
    assert_eq!(missing, logs.dropped());
    assert_eq!(page.events.len() as u64 + logs.dropped(), appended + 1);
}

#[test]
fn many_small_frames_do_not_stay_small() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    for number in 0..1100 {
        logs.append(Entry { what: None, event: number.to_string(), ..entry("a", "") });
        logs.flush();
    }
    assert_eq!(files(folder.path(), "log").len(), 1);
    let page = logs.search(&Query { limit: 1000, ..Query::new(ACCOUNT) }).unwrap();
    assert!(
        page.events
            .iter()
            .map(|found| &found.entry.event)
            .eq(&(100..1100).rev().map(|number| number.to_string()).collect::<Vec<_>>())
    );
}
