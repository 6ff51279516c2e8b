//! Seats, sums and bounds.

use std::time::Duration;

use skep_meter::{Batch, Counted, Entry, Kind, Latency, Usage};
use skep_worker::Outcome;
use uuid::Uuid;

use super::{HOUR, JUDGE, MOST_STEPS, MOST_WORKERS, SIT, Series, State};

/// A batch in which Workers did something: each by its number, and how many events.
fn counted(number: u64, did: &[(usize, u64)]) -> Counted {
    let entry = |(worker, requests): &(usize, u64)| Entry {
        account: "account".to_owned(),
        worker: format!("worker-{worker}"),
        version: Uuid::nil(),
        kind: Kind::Fetch,
        outcome: Outcome::Ok,
        usage: Usage { requests: *requests, cpu_us: 7, ..Usage::default() },
    };
    let latency = |(_, requests): &(usize, u64)| {
        let mut latency = Latency { server_errors: 1, ..Latency::default() };
        latency.counts[2] = *requests;
        latency
    };
    let batch = Batch { process: Uuid::max(), number, entries: did.iter().map(entry).collect() };
    Counted { batch, latencies: did.iter().map(latency).collect(), age_ms: 0 }
}

/// All events, those of Workers that lost their seats too, and those of `other`.
fn told(series: &Series) -> (u64, u64) {
    let State { workers, other, .. } = &*series.state();
    (workers.values().map(|worker| worker.totals.requests).sum::<u64>() + other.requests, other.requests)
}

#[test]
fn five_hundred_workers_have_a_hundred_series_and_no_counter_goes_down() {
    let series = Series::new(100);
    let all: Vec<(usize, u64)> = (0..500).map(|worker| (worker, 1)).collect();
    series.take_at(&counted(1, &all), 1000);
    // It comes again when nobody knows whether it arrived.
    series.take_at(&counted(1, &all), 1000);
    assert_eq!((series.totals().0.len(), told(&series)), (100, (500, 400)));
    // One of the others becomes busy, but nobody has sat for ten minutes.
    let mut number = 1;
    let mut before = series.totals();
    let mut sat = 0;
    for step in (1000 + JUDGE..1000 + 2 * SIT).step_by(usize::try_from(JUDGE).expect("small")) {
        number += 1;
        series.take_at(&counted(number, &[(499, 50), (498, 2)]), step);
        let now = series.totals();
        assert!(now.1.requests >= before.1.requests);
        assert!(now.0.len() <= 100);
        for (named, totals) in &before.0 {
            let later = now.0.iter().find(|(other, _)| other == named);
            assert!(later.is_none_or(|(_, later)| later.requests >= totals.requests), "{named:?}");
        }
        let seated = now.0.iter().find(|(named, _)| &*named.1 == "worker-499");
        assert!(seated.is_none() || step >= 1000 + SIT);
        sat += u64::from(seated.is_some());
        before = now;
    }
    assert!(sat > 0, "the busiest one has a seat in the end");
    // Every event once, whoever sat.
    assert_eq!(told(&series).0, 500 + (number - 1) * 52);
    // After an hour of silence it is forgotten.
    series.take_at(&counted(number + 1, &[(499, 1)]), 1000 + 2 * SIT + 2 * HOUR);
    assert_eq!(series.totals().0.len(), 1);
}

#[test]
fn workers_and_steps_are_bounded() {
    let series = Series::new(1);
    let all: Vec<(usize, u64)> = (0..MOST_WORKERS + 5).map(|worker| (worker, 1)).collect();
    for step in 0..60 {
        series.take_at(&counted(step + 1, &all), 1000 + step);
        let State { workers, steps, .. } = &*series.state();
        let kept: usize = workers.values().map(|worker| worker.hour.since(0).count()).sum();
        assert_eq!((workers.len(), *steps), (MOST_WORKERS, kept));
        assert!(*steps <= MOST_STEPS);
    }
    assert_eq!(told(&series).0, 60 * (MOST_WORKERS as u64 + 5));
}

#[test]
fn the_last_hour_is_shown_step_by_step() {
    let series = Series::new(1);
    series.take_at(&counted(1, &[(1, 10), (2, 1)]), 100_000);
    series.take_at(&counted(2, &[(1, 10)]), 100_002);
    // The clock was set back.
    series.take_at(&counted(3, &[(1, 5)]), 100_001);
    let shown = series.analytics_at("account", None, Duration::from_secs(40), 100_002);
    let requests: Vec<u64> = shown.series.iter().map(|moment| moment.requests).collect();
    assert_eq!((shown.step, shown.since, requests), (10, 999_990_000, vec![0, 11, 0, 15]));
    assert_eq!((shown.series[1].at, shown.series[1].errors, shown.series[1].cpu_us), (1_000_000_000, 2, 14));
    assert_eq!((shown.series[0].p50_ms, shown.series[1].p50_ms), (None, Some(0.75)));
    let workers: Vec<_> = shown.workers.iter().map(|doing| (doing.worker.as_str(), doing.requests)).collect();
    assert_eq!(workers, [("worker-1", 25), ("worker-2", 1)]);
    let rates = series.rates_at(Duration::from_secs(20), 100_002);
    let mut rates: Vec<_> = rates.iter().map(|rate| (&*rate.worker, rate.requests, rate.errors)).collect();
    rates.sort_unstable();
    assert_eq!(rates, [("worker-1", 25, 3), ("worker-2", 1, 1)]);
    let one = series.analytics_at("account", Some("worker-2"), Duration::from_secs(10), 100_000);
    assert_eq!((one.series.len(), one.series[0].requests, one.workers.len()), (1, 1, 1));
    assert!(series.analytics_at("another", None, Duration::from_secs(3600), 100_002).workers.is_empty());
    // What is older than what is asked for is no matter.
    assert!(series.analytics_at("account", None, Duration::from_secs(3600), 101_000).workers.is_empty());
}
