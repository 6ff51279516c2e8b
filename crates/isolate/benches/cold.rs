//! Where the time of a cold start goes, without a platform around it: `cargo test -p skep-isolate --bench cold [-- STARTS]`. The table
//! goes to standard output.
//!
//! `made`: an isolate from the snapshot, with its thread. `loaded`: a version's modules, with the code that V8 compiled before.
//! `answered`: the first request. `warm`: the second one.

#![allow(clippy::print_stdout, reason = "a program that reports to a person at a terminal")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_isolate::{Code, Isolate, Options, Spare};
use skep_test_support::{RUNTIME, answered, get, options, text, version};

/// A Worker as the tutorial has it.
const HELLO: &str = "export default { async fetch(request, env, ctx) { return Response.json({ message: \"hi\" }); } };";
/// Starts, if nobody says how many.
const STARTS: usize = 200;
const PHASES: [&str; 5] = ["made", "loaded", "answered", "warm", "made to answered"];

fn main() {
    skep_isolate::initialize();
    let starts = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(STARTS);
    let mut phases = RUNTIME.block_on(async move { tokio::spawn(measure(starts)).await }).expect("it ends");
    println!("| phase | p50 | p90 | p99 |");
    println!("| --- | --- | --- | --- |");
    for (name, times) in PHASES.iter().zip(&mut phases) {
        times.sort_unstable();
        let quantile = |share: f64| {
            let place = ((times.len() - 1) as f64 * share).round() as usize;
            format!("{:.2} ms", times.get(place).copied().unwrap_or_default().as_secs_f64() * 1000.0)
        };
        println!("| {name} | {} | {} | {} |", quantile(0.5), quantile(0.9), quantile(0.99));
    }
}

async fn measure(starts: usize) -> [Vec<Duration>; 5] {
    let kept = Isolate::start(Options { code: Code::Keep, ..options(version(HELLO)).0 }).await.expect("it starts");
    let code = Arc::new(kept.code().clone());
    let mut phases: [Vec<Duration>; 5] = Default::default();
    for _ in 0..starts {
        let options = Options { code: Code::Use(Arc::clone(&code)), ..options(version(HELLO)).0 };
        let begun = Instant::now();
        let mut spare = Spare::start(options.version.limits.memory, None).expect("a thread");
        spare.made().await;
        let made = Instant::now();
        let isolate = spare.claim(options).await.expect("it starts");
        let loaded = Instant::now();
        ask(&isolate).await;
        let first = Instant::now();
        ask(&isolate).await;
        let times = [made - begun, loaded - made, first - loaded, first.elapsed(), first - begun];
        for (phase, time) in phases.iter_mut().zip(times) {
            phase.push(time);
        }
    }
    phases
}

async fn ask(isolate: &Isolate) {
    let response = answered(isolate.fetch(get("http://localhost/")).await).expect("the Worker answers");
    assert_eq!(text(response).await, "{\"message\":\"hi\"}");
}
