//! A burst: from one request each second to as many as the cores can serve, of a handler that computes.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Bench;
use crate::client::Client;
use crate::platform::Platform;
use crate::promise::{BURST, BURST_LOST};
use crate::report::Section;
use crate::statistics::{median, percentile};
use crate::table::{Table, optional};

/// CPU time of a request in milliseconds.
const WORK: f64 = 20.0;
/// The part of what the cores could serve that is asked for: the load generator and the gateway need theirs.
const PART: f64 = 0.6;
/// Connections that ask.
const CONNECTIONS: usize = 64;
/// Seconds before the burst, with one request each, and seconds of the burst.
const CALM: u64 = 4;
const BURST_SECONDS: u64 = 6;
/// When the platform must have adapted itself, and how long it is then looked at, in seconds.
const ADAPTED: f64 = 0.5;
const LOOK: f64 = 1.0;
/// When the steady state begins.
const STEADY: f64 = 2.0;
/// Bursts, of which the median counts.
const BURSTS: usize = 5;
const SCRIPT: &str = "
    const work = (rounds) => { let value = 1; for (let round = 0; round < rounds; round++) value = (value * 48271) % 2147483647; return value; };
    export default { async fetch(request) { return new Response(String(work(Number(new URL(request.url).searchParams.get('rounds'))))); } };";

/// A request: when it was due, in seconds after the burst began, and how many milliseconds after that its answer was there.
#[derive(Clone, Copy)]
struct Asked {
    due: f64,
    took: f64,
}

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let data = Platform::new_data(bench, "burst")?;
    {
        let mut platform = Platform::start(bench, &data, &bench.cores.all, &[])?;
        platform.deploy("busy", SCRIPT)?;
    }
    let cores = bench.cores.count();
    let rate = cores as f64 * 1000.0 / WORK * PART;
    let mut table = Table::new(&["burst", "steady p50 ms", "steady p99 ms", "p99 ms after 0.5 s", "ratio", "failed"]);
    let (mut ratios, mut lost) = (Vec::new(), 0);
    for number in 0..BURSTS {
        let platform = Platform::start(bench, &data, &bench.cores.all, &[])?;
        let rounds = calibrate(platform.server.address)?;
        let (asked, failed) = burst(platform.server.address, rate, rounds)?;
        let within = |from: f64, to: f64, share| {
            percentile(asked.iter().filter(|asked| asked.due >= from && asked.due < to).map(|asked| asked.took), share)
        };
        let end = BURST_SECONDS as f64;
        let (steady, adapted) = (within(STEADY, end, 0.99), within(ADAPTED, ADAPTED + LOOK, 0.99));
        let ratio = adapted.zip(steady).map(|(adapted, steady)| adapted / steady);
        ratios.extend(ratio);
        lost += failed;
        table.row([
            number.to_string(),
            optional(within(STEADY, end, 0.5)),
            optional(steady),
            optional(adapted),
            optional(ratio),
            failed.to_string(),
        ]);
    }
    Ok(Section {
        title: format!("burst: from 1 to {rate} requests per second of {WORK} ms CPU time"),
        method: format!(
            "`skep serve` on all cores ({cores}), which the load generator shares. {CALM} s with one request each second, then {rate} per \
             second, each when it is due, whatever became of those before (open loop). Times are from when a request was due. The p99 of \
             the second that begins {ADAPTED} s after the burst, over the p99 from {STEADY} s on; median of {BURSTS}."
        ),
        table,
        findings: median(ratios)
            .map(|value| BURST.measured(value))
            .into_iter()
            .chain([BURST_LOST.measured(lost as f64)])
            .collect(),
        notes: Vec::new(),
    })
}

fn request(rounds: u64) -> Vec<u8> {
    Platform::request("busy", &format!("/?rounds={rounds}"))
}

/// Rounds that take as long as they should, when nothing else is asked.
fn calibrate(address: SocketAddr) -> Result<u64, Box<dyn Error>> {
    let mut client = Client::connect(address)?;
    const TRIAL: u64 = 2_000_000;
    let mut times = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        client.ask(&request(TRIAL))?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let took = median(times).unwrap_or(WORK);
    Ok((TRIAL as f64 * WORK / took) as u64)
}

/// Asks at a low rate, then at a high one. Gives what was asked during the burst, and how many requests failed.
fn burst(address: SocketAddr, rate: f64, rounds: u64) -> Result<(Vec<Asked>, usize), Box<dyn Error>> {
    let calm = (0..CALM).map(|second| second as f64 - CALM as f64);
    let busy = (0..(rate * BURST_SECONDS as f64) as usize).map(|number| number as f64 / rate);
    let due: Vec<f64> = calm.chain(busy).collect();
    let begin = Instant::now() + Duration::from_secs(CALM);
    let (next, asked, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let request = request(rounds);
    let ask = || {
        let mut client = Client::connect(address)?;
        while let Some(due) = due.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            let at =
                if due < 0.0 { begin - Duration::from_secs_f64(-due) } else { begin + Duration::from_secs_f64(due) };
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if let Err(error) = client.ask(&request) {
                eprintln!("burst: a request failed: {error}");
                failed.fetch_add(1, Ordering::Relaxed);
                client = Client::connect(address)?;
            }
            let took = at.elapsed().as_secs_f64() * 1e3;
            asked.lock().unwrap_or_else(PoisonError::into_inner).push(Asked { due, took });
        }
        Ok::<(), std::io::Error>(())
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    let asked = asked.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((asked.into_iter().filter(|asked| asked.due >= 0.0).collect(), failed.into_inner()))
}
