//! What is kept of an event for live tails is bounded: 256 KiB of text, whatever a Worker prints or throws.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use skep_exchange::{Message, WebSocket};
use skep_observe::{Details, EventRecord, Exception, Filters, Level, LogLine, Source, Tails, Trigger};
use skep_worker::Outcome;

/// The bound, in bytes.
const MOST: usize = 256 * 1024;
/// What an entry counts beside its text, in bytes.
const ENTRY: usize = 16;

fn line(message: &str, arguments: Option<&str>) -> LogLine {
    let arguments = arguments.map(str::to_owned);
    LogLine { level: Level::Log, message: message.to_owned(), arguments, timestamp: SystemTime::UNIX_EPOCH }
}

fn exception(name: &str, message: &str, stack: &str) -> Exception {
    Exception {
        name: name.to_owned(),
        message: message.to_owned(),
        stack: stack.to_owned(),
        limit: None,
        timestamp: SystemTime::UNIX_EPOCH,
    }
}

/// What is kept of an event: lines, exceptions, and whether anything was left out.
fn kept(details: &Details) -> (usize, usize, bool) {
    (details.logs.len(), details.exceptions.len(), details.truncated)
}

#[test]
fn what_fits_is_kept_to_the_byte() {
    let full = "x".repeat(MOST - ENTRY);
    let mut details = Details::default();
    details.log(&line(&full, None));
    assert_eq!(kept(&details), (1, 0, false));
    details.log(&line("", None));
    assert_eq!(kept(&details), (1, 0, true));

    let mut details = Details::default();
    details.log(&line(&format!("{full}x"), None));
    assert_eq!(kept(&details), (0, 0, true));
    // A shorter one that comes later still has room.
    details.log(&line("short", Some("[\"short\"]")));
    assert_eq!(kept(&details), (1, 0, true));
}

#[test]
fn every_text_counts() {
    let long = "x".repeat(MOST);
    let refused = |keep: &dyn Fn(&mut Details)| {
        let mut details = Details::default();
        keep(&mut details);
        assert_eq!(kept(&details), (0, 0, true));
    };
    refused(&|details| details.log(&line(&long, None)));
    refused(&|details| details.log(&line("", Some(&long))));
    refused(&|details| details.exception(&exception(&long, "", "")));
    refused(&|details| details.exception(&exception("", &long, "")));
    refused(&|details| details.exception(&exception("", "", &long)));
}

#[test]
fn lines_and_exceptions_share_the_room() {
    let mut details = Details::default();
    let half = "x".repeat(MOST / 2);
    details.log(&line(&half, None));
    details.exception(&exception("Error", &half, ""));
    assert_eq!(kept(&details), (1, 0, true));
    details.exception(&exception("Error", "short", "Error: short"));
    assert_eq!(kept(&details), (1, 1, true));
}

#[test]
fn empty_lines_have_an_end() {
    let mut details = Details::default();
    for _ in 0..1_000_000 {
        details.log(&line("", None));
    }
    assert_eq!(kept(&details), (MOST / ENTRY, 0, true));
}

#[tokio::test]
async fn a_viewer_is_told_that_something_was_left_out() {
    let tails = Tails::start().expect("a thread");
    let (session, _) =
        tails.create("account", "hello", Filters::new(Vec::new(), None).expect("none")).expect("a session");
    let (ours, mut theirs) = WebSocket::pair();
    let _connection = tails.connect(session, ours.sender).expect("connected");
    let mut details = Details::default();
    let long = "x".repeat(10_000);
    for _ in 0..1_000 {
        details.log(&line(&long, Some(&format!("[\"{long}\"]"))));
    }
    let record = EventRecord {
        trigger: Trigger::Tail { workers: Vec::new() },
        outcome: Outcome::Ok,
        started: SystemTime::UNIX_EPOCH,
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        subrequests: 0,
        bytes_in: 0,
        bytes_out: 0,
        is_call: false,
        told: None,
        details: Some(Box::new(details)),
    };
    let source = Source { worker: Arc::from("hello"), version: Arc::from("1"), event: 1 };
    tails.channel("account", "hello").send(&source, record);
    let Some(Message::Text(text)) = theirs.receiver.next().await else { panic!("no event") };
    assert!(text.len() < MOST, "{} bytes", text.len());
    let event: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(event["truncated"], true);
    let logs = event["logs"].as_array().expect("a list");
    assert!(logs.len() > 10 && logs.iter().all(|log| log["message"][0] == *long), "{} lines", logs.len());
}
