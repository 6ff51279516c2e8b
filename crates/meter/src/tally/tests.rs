//! What is counted is told, and told once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_worker::{Outcome, Used};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::{Event, Meter};
use crate::{Counted, Kind, Usage};

fn event(kind: Kind, outcome: Outcome) -> Event {
    Event {
        kind,
        outcome,
        used: Used {
            cpu: Duration::from_nanos(1500),
            wall: Duration::from_micros(1001),
            bytes_in: 3,
            bytes_out: 5,
            subrequests: 2,
        },
        counted: None,
        server_error: false,
    }
}

#[test]
fn what_was_counted_is_told_once() {
    let meter = Meter::default();
    let tally = meter.tally("account", "worker", Uuid::nil());
    assert_eq!(meter.batch(), None);
    tally.count(&event(Kind::Fetch, Outcome::Ok));
    tally.count(&event(Kind::Fetch, Outcome::Ok));
    tally.count(&event(Kind::Scheduled, Outcome::Exception));
    let first = meter.batch().expect("a batch");
    assert_eq!((first.batch.number, first.batch.entries.len()), (1, 2));
    let in_buckets = |entry: usize| first.latencies[entry].counts[..5].to_vec();
    assert_eq!((in_buckets(0), in_buckets(1)), (vec![0, 0, 0, 2, 0], vec![0, 0, 0, 1, 0]));
    assert_eq!(
        first.batch.entries[0].usage,
        Usage {
            requests: 2,
            // Two halves of a microsecond make a whole one.
            cpu_us: 3,
            wall_us: 2002,
            wall_ms: 4,
            wall_100ms: 2,
            bytes_in: 6,
            bytes_out: 10,
            subrequests: 4,
            cold_starts: 0
        }
    );
    // Nobody has said that it arrived: what comes meanwhile waits.
    tally.count(&event(Kind::Fetch, Outcome::Ok));
    assert_eq!(meter.batch().map(|again| again.batch), Some(first.batch));
    // Of another batch nothing is known.
    meter.arrived(7);
    assert_eq!(meter.batch().expect("still the same").batch.number, 1);
    meter.arrived(1);
    let second = meter.batch().expect("the rest").batch;
    assert_eq!((second.number, second.entries[0].usage.requests), (2, 1));
    meter.arrived(2);
    assert_eq!(meter.batch(), None);
}

#[test]
fn what_nobody_takes_over_the_end_of_a_month_stays_in_its_hour() {
    let meter = Meter::default();
    let tally = meter.tally("account", "worker", Uuid::nil());
    let (begun, instant) = (datetime!(2026-11-30 22:59:59 UTC), Instant::now());
    let look = |at: OffsetDateTime| {
        let passed = Duration::try_from(at - begun).expect("it comes later");
        meter.batch_at(at, instant + passed).map(|told| {
            let requests: u64 = told.batch.entries.iter().map(|entry| entry.usage.requests).sum();
            (told.batch.number, requests, at - Duration::from_millis(told.age_ms))
        })
    };
    let count = |events: usize| (0..events).for_each(|_| tally.count(&event(Kind::Fetch, Outcome::Ok)));
    count(1);
    assert_eq!(look(begun), Some((1, 1, begun)));
    // Nobody takes it, for hours. What comes is kept, by hours.
    count(2);
    for (at, events) in [
        (datetime!(2026-11-30 23:00:00.2 UTC), 3),
        (datetime!(2026-11-30 23:30 UTC), 4),
        (datetime!(2026-11-30 23:59:59.8 UTC), 0),
        (datetime!(2026-12-01 0:00:00.3 UTC), 5),
    ] {
        assert_eq!(look(at), Some((1, 1, begun)));
        count(events);
    }
    let then = datetime!(2026-12-01 0:10 UTC);
    let mut told = Vec::new();
    while let Some((number, requests, at)) = look(then) {
        told.push((number, requests, at));
        meter.arrived(number);
    }
    assert_eq!(told, [(1, 1, begun), (2, 2, begun), (3, 7, datetime!(2026-11-30 23:59:59.8 UTC)), (4, 5, then)]);
}

#[test]
fn what_nobody_takes_is_shown_and_billed_once() {
    let meter = Meter::default();
    let tally = meter.tally("account", "worker", Uuid::nil());
    let count = |events: usize| (0..events).for_each(|_| tally.count(&event(Kind::Fetch, Outcome::Ok)));
    let of = |counted: &Counted| {
        let requests: u64 = counted.batch.entries.iter().map(|entry| entry.usage.requests).sum();
        let seen: u64 = counted.latencies.iter().map(crate::Latency::events).sum();
        (counted.batch.number, requests, seen)
    };
    assert_eq!(meter.meanwhile(), None);
    count(1);
    assert_eq!(meter.meanwhile(), None, "the batch shows it");
    let first = meter.batch().expect("a batch");
    let mut shown = Vec::new();
    for events in [2, 0, 3] {
        count(events);
        shown.extend(meter.meanwhile());
    }
    assert_eq!(shown.iter().map(of).collect::<Vec<_>>(), [(1, 2, 2), (2, 3, 3)]);
    assert_eq!(shown[0].batch.process, shown[1].batch.process);
    assert_ne!(shown[0].batch.process, first.batch.process);
    count(4);
    let mut told = Vec::new();
    while let Some(counted) = meter.batch() {
        told.push(of(&counted));
        meter.arrived(counted.batch.number);
    }
    // All of it is billed, and nothing is shown twice.
    assert_eq!(told, [(1, 1, 1), (2, 5, 0), (3, 4, 4)]);
}

#[test]
fn a_tally_that_nobody_has_goes_when_it_is_told() {
    let meter = Meter::default();
    let tally = meter.tally("account", "worker", Uuid::nil());
    assert!(Arc::ptr_eq(&tally, &meter.tally("account", "worker", Uuid::nil())));
    tally.count_cold_start(Kind::Fetch);
    drop(tally);
    let batch = meter.batch().expect("a batch").batch;
    assert_eq!(batch.entries[0].usage, Usage { cold_starts: 1, ..Usage::default() });
    meter.arrived(batch.number);
    assert_eq!(meter.batch(), None);
    assert!(super::lock(&meter.tallies).is_empty());
}

#[test]
fn what_threads_count_adds_up() {
    let meter = Meter::default();
    let mut told = 0;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let tally = meter.tally("account", "worker", Uuid::nil());
            scope.spawn(move || (0..10_000).for_each(|_| tally.count(&event(Kind::Fetch, Outcome::Ok))));
        }
        while told < 40_000 {
            let Some(Counted { batch, .. }) = meter.batch() else { continue };
            told += batch.entries.iter().map(|entry| entry.usage.requests).sum::<u64>();
            meter.arrived(batch.number);
        }
    });
    assert_eq!((told, meter.batch()), (40_000, None));
}

#[test]
fn what_the_platform_runs_for_itself_is_told_nobody() {
    let meter = Meter::default();
    meter.tally("", "canary", Uuid::nil()).count(&event(Kind::Fetch, Outcome::Ok));
    assert_eq!(meter.batch(), None);
}

#[test]
fn the_parts_of_an_event_are_its_whole() {
    let (meter, whole) = (Meter::default(), Meter::default());
    let (tally, of_whole) = (meter.tally("a", "w", Uuid::nil()), whole.tally("a", "w", Uuid::nil()));
    let mut event = event(Kind::Fetch, Outcome::Ok);
    for part in [1_700, 250_900, 250_900, 1_000_001] {
        let counted = event.counted;
        event.used.wall = Duration::from_micros(part);
        event.used.cpu += Duration::from_nanos(700);
        event.used.bytes_out += 9;
        tally.count_so_far(&Event { counted, ..event });
        event.counted = Some(event.used);
    }
    let so_far = meter.batch().expect("a batch");
    // It is counted, and nobody knows yet how long it takes.
    assert_eq!((so_far.batch.entries[0].usage.requests, so_far.latencies[0].is_empty()), (1, true));
    event.used.wall = Duration::from_secs(2);
    event.used.subrequests = 5;
    tally.count(&event);
    of_whole.count(&Event { counted: None, ..event });
    meter.arrived(1);
    let (rest, whole) = (meter.batch().expect("the rest"), whole.batch().expect("the whole"));
    let mut sum = so_far.batch.entries[0].usage;
    sum += rest.batch.entries[0].usage;
    assert_eq!((sum, rest.latencies[0]), (whole.batch.entries[0].usage, whole.latencies[0]));
}
