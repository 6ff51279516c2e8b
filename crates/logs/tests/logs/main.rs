//! The store on real files: what is found, what goes when room is short, crashes, damage, a disk that takes nothing.

mod budget;
mod damage;
mod disk;
mod finding;
mod load;
mod model;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_logs::{Entry, Level, Limits, Logs, Page, Query};
use skep_worker::{Event, Outcome};

const ACCOUNT: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
const LIMITS: Limits = Limits { bytes: 1 << 30, keep: Duration::from_secs(7 * 86_400) };

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// An event of a Worker that answered a request, and logged a line.
fn entry(worker: &str, line: &str) -> Entry {
    let at = now();
    let event = serde_json::json!({
        "outcome": "ok", "scriptName": worker, "eventTimestamp": at, "exceptions": [],
        "logs": [{ "message": [line], "level": "log", "timestamp": at }],
        "event": {
            "request": { "url": "https://shop.example/", "method": "GET", "headers": { "accept": "*/*" } },
            "response": { "status": 200 },
        },
    });
    Entry {
        account: ACCOUNT.into(),
        worker: worker.into(),
        version: "4f9d3c1e-8d2f-4f3a-9f61-0c9d7a8b1e22".into(),
        ray: String::new(),
        at,
        kind: Event::Fetch,
        method: Some("GET".to_owned()),
        what: Some("https://shop.example/".to_owned()),
        status: Some(200),
        outcome: Outcome::Ok,
        level: Some(Level::Log),
        cpu_us: 900,
        wall_us: 12_000,
        cold: false,
        interval: 1,
        event: event.to_string(),
    }
}

/// Text that does not get smaller when it is compressed, from a number.
fn noise(number: u64, bytes: usize) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state >> 33) as u8 % 90)
    };
    std::iter::repeat_with(letter)
        .take(bytes)
        .map(|letter| if letter == '\\' || letter == '"' { '.' } else { letter })
        .collect()
}

/// What the operator was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn open(&self, folder: &Path, limits: Limits) -> Logs {
        let told = self.clone();
        Logs::open(folder, limits, move |message| told.0.lock().unwrap().push(message.to_owned())).unwrap()
    }
}

/// A store whose operator is told nothing.
fn open(folder: &Path) -> Logs {
    Logs::open(folder, LIMITS, |message| panic!("told: {message}")).unwrap()
}

/// Follows cursors to the end. Gives all pages as one.
fn all(logs: &Logs, query: &Query) -> Page {
    let mut query = Query { limit: 1000, ..query.clone() };
    let mut all = logs.search(&query).unwrap();
    while let Some(next) = all.next.take() {
        query.cursor = Some(next);
        let page = logs.search(&query).unwrap();
        all.events.extend(page.events);
        all.gaps.extend(page.gaps);
        all.damaged += page.damaged;
        all.scanned_bytes += page.scanned_bytes;
        all.next = page.next;
    }
    all
}

/// The console lines of events that [`entry`] made.
fn lines(page: &Page) -> Vec<String> {
    let line = |event: &str| {
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        event["logs"][0]["message"][0].as_str().unwrap().to_owned()
    };
    page.events.iter().map(|found| line(&found.entry.event)).collect()
}

fn of_worker(worker: &str) -> Query {
    Query { worker: Some(worker.to_owned()), ..Query::new(ACCOUNT) }
}

/// Files with an ending, sorted by name.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == end));
    files.sort();
    files
}
