//! What goes when room is short, and when time is over.

use std::fs;
use std::path::Path;
use std::time::Duration;

use skep_logs::{Entry, Limits, Query};

use crate::{ACCOUNT, LIMITS, Told, all, entry, lines, noise, now, of_worker};

const BUDGET: u64 = 4 << 20;

/// What all files take, in bytes.
fn bytes(folder: &Path) -> u64 {
    let files = crate::files(folder, "log").into_iter().chain(crate::files(folder, "young"));
    files.map(|path| fs::metadata(path).unwrap().len()).sum()
}

#[test]
fn a_worker_that_logs_wildly_pushes_out_nobody_who_holds_no_more_than_his_share() {
    let folder = tempfile::tempdir().unwrap();
    let told = Told::default();
    let logs = told.open(folder.path(), Limits { bytes: BUDGET, ..LIMITS });
    // Three hold a fifth of the budget each, below their share of a quarter; before, between and after what the wild one logs.
    let quiet = ["a", "b", "c"];
    let mut written = 0;
    for number in 0..80_u64 {
        for worker in quiet {
            logs.append(Entry { ray: noise(number, 8000), ..entry(worker, &number.to_string()) });
        }
        for _ in 0..40 {
            written += 8000;
            logs.append(Entry { ray: noise(written, 8000), ..entry("wild", &written.to_string()) });
        }
        logs.flush();
        assert!(bytes(folder.path()) <= BUDGET, "{}", bytes(folder.path()));
    }
    assert_eq!(logs.dropped(), 0);
    assert!(written > 5 * BUDGET);
    let everything: Vec<String> = (0..80).rev().map(|number| number.to_string()).collect();
    for worker in quiet {
        assert_eq!(lines(&all(&logs, &of_worker(worker))), everything, "{worker}");
    }
    // The wild one has what room is left, the newest of what it logged.
    let wild = lines(&all(&logs, &of_worker("wild")));
    assert_eq!(wild, (0..wild.len() as u64).map(|back| (written - back * 8000).to_string()).collect::<Vec<_>>());
    assert!(wild.len() as u64 * 8000 > BUDGET / 4, "{}", wild.len());
    assert_eq!(told.all(), Vec::<String>::new());
    // The same is there after a restart.
    let before = all(&logs, &Query::new(ACCOUNT)).events;
    let stats = logs.stats();
    drop(logs);
    let logs = told.open(folder.path(), Limits { bytes: BUDGET, ..LIMITS });
    assert_eq!(all(&logs, &Query::new(ACCOUNT)).events, before);
    assert_eq!(logs.stats(), stats);
}

#[test]
fn workers_that_log_alike_keep_alike() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Told::default().open(folder.path(), Limits { bytes: BUDGET, ..LIMITS });
    for number in 0..3000_u64 {
        logs.append(Entry { ray: noise(number, 8000), ..entry(&format!("w{}", number % 10), &number.to_string()) });
        if number % 100 == 0 {
            logs.flush();
        }
    }
    logs.flush();
    assert!(bytes(folder.path()) <= BUDGET);
    for worker in 0..10 {
        let kept = all(&logs, &of_worker(&format!("w{worker}"))).events.len() as u64 * 8000;
        let share = BUDGET / 10;
        assert!(kept >= share / 2 && kept <= share * 2, "w{worker}: {kept}");
    }
}

#[test]
fn a_cursor_goes_on_when_what_it_points_to_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Told::default().open(folder.path(), Limits { bytes: BUDGET, ..LIMITS });
    let fill = |from: u64| {
        for number in from..from + 500 {
            logs.append(Entry { ray: noise(number, 8000), ..entry("a", &number.to_string()) });
            if number % 100 == 0 {
                logs.flush();
            }
        }
    };
    fill(0);
    let page = logs.search(&Query { limit: 100, ..Query::new(ACCOUNT) }).unwrap();
    assert_eq!(lines(&page)[99], "400");
    fill(500);
    let cursor = page.next;
    let page = logs.search(&Query { limit: 1000, cursor, ..Query::new(ACCOUNT) }).unwrap();
    let rest = lines(&page);
    assert!(rest.len() < 400 && rest.first().is_none_or(|line| line == "399"), "{rest:?}");
    assert_eq!(page.next, None);
}

#[test]
fn what_is_too_old_is_not_found_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { keep: Duration::from_secs(3600), ..LIMITS };
    let logs = Told::default().open(folder.path(), limits);
    for number in 0..100 {
        let (worker, at) = if number % 2 == 0 { ("a", now()) } else { ("b", now() - 3_600_001) };
        logs.append(Entry { at, ray: noise(number, 8000), ..entry(worker, &number.to_string()) });
    }
    assert_eq!(all(&logs, &Query::new(ACCOUNT)).events.len(), 50);
    assert_eq!(logs.stats().workers, 2);
    drop(logs);
    let logs = Told::default().open(folder.path(), limits);
    logs.append(entry("a", "new"));
    logs.flush();
    // Removed by the first thing that the writer does.
    assert_eq!(logs.stats().workers, 1);
    assert_eq!(all(&logs, &Query::new(ACCOUNT)).events.len(), 51);
}
