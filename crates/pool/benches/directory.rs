//! Finding the Worker of an address among 100,000 Workers and 10,000 routes: `cargo bench -p skep-pool`. Fails when a look-up takes
//! longer than `docs/SPECIFICATION.md` promises (`workers-lookup`).

#![allow(clippy::print_stdout, reason = "a benchmark reports to a person")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use skep_pool::Directory;
use skep_store::{Change, LiveWorker, Observability, Share};
use uuid::Uuid;

const WORKERS: u128 = 100_000;
/// Half of them share a host, the others have one of their own.
const ROUTES: u128 = 10_000;
/// What is promised for one look-up.
const PROMISED: Duration = Duration::from_micros(1);
const ROUNDS: usize = 7;
const LOOKUPS: u32 = 200_000;
/// Addresses that are asked for in turns, so that not one of them is always in the processor's cache.
const ADDRESSES: usize = 4096;

fn worker(number: u128) -> LiveWorker {
    let route = match number {
        number if number >= ROUTES => None,
        number if number % 2 == 0 => Some(format!("shared.example.com/team-{}/service-{number}/*", number % 100)),
        number if number % 10 == 1 => Some(format!("*.wild-{number}.example.com/*")),
        number => Some(format!("host-{number}.example.com/*")),
    };
    LiveWorker {
        account_id: "0123456789abcdef0123456789abcdef".to_owned(),
        subdomain: "dev".to_owned(),
        id: Uuid::from_u128(number),
        name: format!("worker-{number}"),
        workers_dev: true,
        previews: true,
        deployment: vec![Share { version_id: Uuid::from_u128(number + WORKERS), percentage: 100.0 }],
        routes: route.into_iter().collect(),
        domains: Vec::new(),
        crons: Vec::new(),
        observability: Observability::default(),
    }
}

/// The time of one look-up: the median of some rounds.
fn lookup(directory: &Directory, found: bool, address: impl Fn(u128) -> (String, String)) -> Duration {
    // Spread over all Workers.
    let addresses: Vec<(String, String)> =
        (0..ADDRESSES as u128).map(|number| address(number * 2_654_435_761 % WORKERS)).collect();
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for (host, path) in addresses.iter().cycle().take(LOOKUPS as usize) {
                assert_eq!(black_box(directory.find(false, black_box(host), path)).is_some(), found, "{host}{path}");
            }
            begun.elapsed() / LOOKUPS
        })
        .collect();
    rounds.sort();
    rounds[ROUNDS / 2]
}

fn main() -> ExitCode {
    let directory = Directory::new("localhost");
    let all: Vec<Change> = (0..WORKERS).map(|number| Change::Worker(Box::new(worker(number)))).collect();
    let begun = Instant::now();
    all.chunks(1000).for_each(|page| directory.apply(page));
    println!("{WORKERS} Workers and {ROUTES} routes are taken over in {:?}", begun.elapsed());
    let begun = Instant::now();
    for number in 0..1000 {
        let live = LiveWorker { deployment: Vec::new(), ..worker(number) };
        directory.apply(&[Change::Worker(Box::new(live))]);
    }
    println!("a deployment is taken over in {:?}", begun.elapsed() / 1000);

    let even = |number: u128| number % ROUTES / 2 * 2;
    let root = || "/".to_owned();
    let times = [
        (
            "an address below the domain",
            lookup(&directory, true, |number| (format!("worker-{number}.dev.localhost"), root())),
        ),
        (
            "an address that nobody has",
            lookup(&directory, false, |number| (format!("nobody-{number}.dev.localhost"), root())),
        ),
        (
            "a version's own address",
            lookup(&directory, true, |number| (format!("0123abcd-worker-{number}.dev.localhost"), root())),
        ),
        (
            "a route of a host with 5,000",
            lookup(&directory, true, |number| {
                let number = even(number);
                ("shared.example.com".to_owned(), format!("/team-{}/service-{number}/a/b/c", number % 100))
            }),
        ),
        (
            "no route of that host",
            lookup(&directory, false, |number| {
                ("shared.example.com".to_owned(), format!("/team-{}/other", number % 100))
            }),
        ),
        (
            "a route of a wildcard",
            lookup(&directory, true, |number| {
                (format!("a.b.wild-{}.example.com", number % (ROUTES / 10) * 10 + 1), "/x".to_owned())
            }),
        ),
    ];
    let mut kept = true;
    for (name, time) in times {
        kept &= time < PROMISED;
        println!("{name}: {time:?}{}", if time < PROMISED { "" } else { ", which is more than was promised" });
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
