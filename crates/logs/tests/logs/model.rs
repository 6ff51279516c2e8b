//! Whatever is done in whatever order: a search finds what a list that keeps everything would.

use proptest::prelude::*;
use skep_logs::{Entry, Query, Status};
use skep_worker::Outcome;

use crate::{ACCOUNT, entry, noise, open};

/// What is done to a store.
#[derive(Clone, Debug)]
enum Step {
    /// Events of a Worker, with so many bytes each, that fail or not.
    Append {
        worker: usize,
        count: usize,
        bytes: usize,
        fails: bool,
    },
    Flush,
    Restart,
    /// All pages of so many events, of all Workers or one, all events or those that failed.
    Search {
        limit: usize,
        worker: Option<usize>,
        fails: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_usize, 1..30_usize, prop::sample::select(vec![10, 300, 9000]), any::<bool>())
            .prop_map(|(worker, count, bytes, fails)| Step::Append { worker, count, bytes, fails }),
        1 => Just(Step::Flush),
        1 => Just(Step::Restart),
        2 => (1..40_usize, prop::option::of(0..4_usize), any::<bool>())
            .prop_map(|(limit, worker, fails)| Step::Search { limit, worker, fails }),
    ]
}

fn name(worker: usize) -> String {
    format!("worker-{worker}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_search_finds_what_a_list_would(steps in prop::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = open(folder.path());
        let mut list: Vec<Entry> = Vec::new();
        for step in steps.into_iter().chain([Step::Search { limit: 7, worker: None, fails: false }]) {
            match step {
                Step::Append { worker, count, bytes, fails } => {
                    for _ in 0..count {
                        let outcome = if fails { Outcome::Exception } else { Outcome::Ok };
                        let line = noise(list.len() as u64, bytes);
                        let entry = Entry { outcome, ray: list.len().to_string(), ..entry(&name(worker), &line) };
                        logs.append(entry.clone());
                        list.push(entry);
                    }
                }
                Step::Flush => logs.flush(),
                Step::Restart => {
                    drop(logs);
                    logs = open(folder.path());
                }
                Step::Search { limit, worker, fails } => {
                    let status = fails.then_some(Status::Error);
                    let mut query = Query { limit, worker: worker.map(name), status, ..Query::new(ACCOUNT) };
                    let mut found = Vec::new();
                    loop {
                        let page = logs.search(&query).unwrap();
                        found.extend(page.events.into_iter().map(|found| found.entry));
                        match page.next {
                            Some(next) => query.cursor = Some(next),
                            None => break,
                        }
                    }
                    let is_wanted = |entry: &&Entry| {
                        query.worker.as_deref().is_none_or(|worker| *entry.worker == *worker)
                            && (!fails || entry.outcome == Outcome::Exception)
                    };
                    prop_assert!(found.iter().eq(list.iter().rev().filter(is_wanted)));
                }
            }
        }
    }
}
