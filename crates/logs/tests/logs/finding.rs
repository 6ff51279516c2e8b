//! What is appended is found, by what is asked for and page by page.

use skep_logs::{Entry, Level, Logs, Query, SearchError, Status};
use skep_worker::{Event, Outcome};

use crate::{ACCOUNT, all, entry, files, lines, noise, now, of_worker, open};

#[test]
fn what_is_appended_is_found_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    let mut wanted = Vec::new();
    for number in 0..20 {
        let entry = Entry {
            kind: [Event::Fetch, Event::Scheduled, Event::Queue, Event::Tail, Event::Alarm, Event::Rpc][number % 6],
            outcome: Outcome::ALL[number % 8],
            level: None,
            ray: format!("ray{number}"),
            status: None,
            cold: number % 2 == 0,
            interval: number as u32,
            ..entry(["a", "b"][number % 2], &number.to_string())
        };
        logs.append(entry.clone());
        wanted.insert(0, entry);
        let found: Vec<Entry> =
            logs.search(&Query::new(ACCOUNT)).unwrap().events.into_iter().map(|found| found.entry).collect();
        assert_eq!(found, wanted);
    }
    let before = logs.search(&Query::new(ACCOUNT)).unwrap();
    assert!(before.events.is_sorted_by(|newer, older| newer.sequence > older.sequence));
    drop(logs);
    let logs = open(folder.path());
    assert_eq!(logs.search(&Query::new(ACCOUNT)).unwrap(), before);
    logs.append(entry("c", "new"));
    assert_eq!(lines(&logs.search(&Query { limit: 2, ..Query::new(ACCOUNT) }).unwrap()), ["new", "19"]);
    assert_eq!(logs.search(&Query::new("another account")).unwrap().events, []);
    assert_eq!(logs.stats().events, 21);
    assert_eq!(logs.stats().workers, 3);
}

#[test]
fn a_viewers_text_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    let text = "</script><img src=x onerror=alert(1)> \u{0}\u{1b}[31m \u{202e}\r\n\\u0041 \u{1f41d} \"quoted\" \\";
    let odd = Entry { what: Some(text.to_owned()), ray: text.to_owned(), event: text.to_owned(), ..entry(text, text) };
    logs.append(odd.clone());
    let query = Query {
        worker: Some(text.to_owned()),
        ray: Some(text.to_owned()),
        text: Some(text.to_owned()),
        ..Query::new(ACCOUNT)
    };
    assert_eq!(logs.search(&query).unwrap().events[0].entry, odd);
    drop(logs);
    assert_eq!(open(folder.path()).search(&query).unwrap().events[0].entry, odd);
}

/// Events that differ in one thing each, named by their console line.
fn varied(logs: &Logs) {
    let ok = |line: &str| entry("shop", line);
    let at = now();
    let entries = [
        ok("plain"),
        Entry { status: Some(404), ..ok("missing") },
        Entry { status: Some(503), ..ok("busy") },
        Entry { status: None, outcome: Outcome::Exception, level: Some(Level::Error), ..ok("thrown") },
        Entry { status: Some(200), outcome: Outcome::ExceededCpu, level: Some(Level::Warn), ..ok("slow") },
        Entry { level: None, method: Some("POST".to_owned()), ..ok("silent") },
        Entry { version: "v2".into(), level: Some(Level::Debug), ..ok("new version") },
        Entry { ray: "8f2a".to_owned(), ..ok("ray") },
        Entry { at: at - 3_600_000, ..ok("an hour ago") },
        Entry { what: Some("https://shop.example/Checkout".to_owned()), ..ok("at the till") },
        Entry { worker: "other".into(), kind: Event::Scheduled, ..ok("another worker") },
    ];
    entries.into_iter().for_each(|entry| logs.append(entry));
}

#[test]
fn conditions_leave_out_what_does_not_meet_them() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    varied(&logs);
    let base = Query::new(ACCOUNT);
    let at = now();
    let text = |text: &str| Query { text: Some(text.to_owned()), ..Query::new(ACCOUNT) };
    let status = |status| Query { status: Some(status), ..Query::new(ACCOUNT) };
    let level = |level| Query { level: Some(level), worker: Some("shop".to_owned()), ..Query::new(ACCOUNT) };
    let cases: Vec<(Query, &[&str])> = vec![
        (of_worker("other"), &["another worker"]),
        (of_worker("nobody"), &[]),
        (status(Status::Exactly(404)), &["missing"]),
        (status(Status::Exactly(405)), &[]),
        (status(Status::Class(4)), &["missing"]),
        (status(Status::Class(5)), &["busy"]),
        (status(Status::Error), &["slow", "thrown", "busy"]),
        (Query { outcomes: vec![Outcome::Exception], ..base.clone() }, &["thrown"]),
        (Query { outcomes: vec![Outcome::Exception, Outcome::ExceededCpu], ..base.clone() }, &["slow", "thrown"]),
        (Query { outcomes: vec![Outcome::Canceled], ..base.clone() }, &[]),
        (level(Level::Error), &["thrown"]),
        (level(Level::Warn), &["slow", "thrown"]),
        (
            level(Level::Debug),
            &["at the till", "an hour ago", "ray", "new version", "slow", "thrown", "busy", "missing", "plain"],
        ),
        (Query { method: Some("POST".to_owned()), ..base.clone() }, &["silent"]),
        (Query { kind: Some(Event::Scheduled), ..base.clone() }, &["another worker"]),
        (Query { kind: Some(Event::Rpc), ..base.clone() }, &[]),
        (Query { version: Some("v2".to_owned()), ..base.clone() }, &["new version"]),
        (Query { ray: Some("8f2a".to_owned()), ..base.clone() }, &["ray"]),
        (Query { until: Some(at - 1_800_000), ..base.clone() }, &["an hour ago"]),
        (Query { since: Some(at - 1_800_000), text: Some("an hour".to_owned()), ..base.clone() }, &[]),
        (Query { since: Some(at + 60_000), ..base.clone() }, &[]),
        (text("CHECKOUT"), &["at the till"]),
        (text("another W"), &["another worker"]),
        (text("accept"), &[]),
        (text("GET"), &[]),
        (Query { status: Some(Status::Error), text: Some("o".to_owned()), ..base }, &["slow", "thrown", "busy"]),
    ];
    for (query, wanted) in &cases {
        assert_eq!(lines(&all(&logs, query)), *wanted, "{query:?}");
    }
    // The same when they are packed, among what is from the day before.
    for number in 0..600 {
        let worker = ["shop", "other"][number as usize % 2];
        logs.append(Entry { at: at - 86_400_000, event: noise(number, 1000), ..entry(worker, "") });
    }
    logs.flush();
    assert_eq!(files(folder.path(), "log").len(), 2);
    let recent = at - 43_200_000;
    for (query, wanted) in cases {
        let query = Query { since: query.since.or(Some(recent)), ..query };
        assert_eq!(lines(&all(&logs, &query)), wanted, "packed: {query:?}");
    }
}

#[test]
fn pages_together_are_what_one_large_page_is() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    // Three Workers whose frames overlap, packed and young ones.
    for number in 0..900_u64 {
        let worker = ["a", "b", "c"][number as usize * number as usize % 7 % 3];
        logs.append(Entry { ray: noise(number, 600), ..entry(worker, &number.to_string()) });
        if number % 90 == 0 {
            logs.flush();
        }
    }
    let whole = logs.search(&Query { limit: 1000, ..Query::new(ACCOUNT) }).unwrap();
    assert_eq!(lines(&whole), (0..900).rev().map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(!files(folder.path(), "log").is_empty() && !files(folder.path(), "young").is_empty());
    for query in [Query::new(ACCOUNT), of_worker("b"), Query { text: Some("7".to_owned()), ..Query::new(ACCOUNT) }] {
        for limit in [1, 7, 100, 899] {
            let whole = all(&logs, &query);
            let mut query = Query { limit, ..query.clone() };
            let mut events = Vec::new();
            loop {
                let page = logs.search(&query).unwrap();
                assert!(page.events.len() <= limit);
                events.extend(page.events);
                // What comes meanwhile is not on later pages.
                logs.append(entry("b", "meanwhile 7"));
                match page.next {
                    Some(next) => query.cursor = Some(next),
                    None => break,
                }
            }
            assert_eq!(events, whole.events, "{limit}");
        }
    }
}

#[test]
fn a_clock_that_jumps_back_does_not_change_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    let at = now();
    for (line, at) in [("first", at), ("second", at - 7_200_000), ("third", at + 60_000)] {
        logs.append(Entry { at, ..entry("shop", line) });
    }
    assert_eq!(lines(&all(&logs, &Query::new(ACCOUNT))), ["third", "second", "first"]);
    assert_eq!(lines(&all(&logs, &Query { until: Some(at - 1), ..Query::new(ACCOUNT) })), ["second"]);
}

#[test]
fn what_makes_no_sense_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path());
    for limit in [0, 1001] {
        assert_eq!(logs.search(&Query { limit, ..Query::new(ACCOUNT) }).unwrap_err(), SearchError::Limit(limit));
    }
    let error = logs.search(&Query { cursor: Some("yesterday".to_owned()), ..Query::new(ACCOUNT) }).unwrap_err();
    assert!(error.to_string().contains("leave it out to begin anew"), "{error}");
    assert_eq!(Logs::open(folder.path(), crate::LIMITS, |_| {}).unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
}
