//! Whether CPU time is charged to whose code it was: `cargo test -p skep-isolate --bench attribution`. The table goes to standard output;
//! the program fails if a handler is billed more than 5 % beside its cost.
//!
//! Two handlers of one version share one isolate: each computes in pieces, and waits in between. In one kind of window all requests under way at once are
//! for the same handler, so that what they are billed together is its cost, however it is shared out among them; in the other kind they are for both. So
//! many wait in both that the isolate wakes as often. Windows take turns; medians count.

#![allow(clippy::print_stdout, reason = "a program that reports to a person at a terminal")]

use std::sync::Arc;

use skep_isolate::Isolate;
use skep_observe::Trigger;
use skep_outbound::{AddressPolicy, Client};
use skep_test_support::server::{ok, server};
use skep_test_support::{RUNTIME, Recorder, Seen, answered, get, options, text, version};
use tokio::task::JoinSet;

/// Requests for each handler before anything counts: V8 compiles what runs often.
const WARM_UP: usize = 100;
/// Pairs of windows.
const PAIRS: usize = 7;
/// Requests for each handler in a window alone, and together.
const ALONE: usize = 100;
const TOGETHER: usize = 500;
/// Requests under way at once.
const AT_ONCE: usize = 8;
/// How far from its cost alone a handler may be billed.
const MOST: f64 = 0.05;

/// What a handler waits for between two pieces of work.
const WAYS: [(&str, &str); 2] = [("timer", "scheduler.wait(1)"), ("fetch()", "fetch('http://127.0.0.1:PORT/')")];

/// `/dear` computes five times as long as `/cheap`.
const WORKER: &str = "
    let sum = 0;
    const compute = (steps) => { for (let step = 0; step < steps; step++) sum = (sum + step * 7) % 1_000_003; };
    export default { async fetch(request) {
      const dear = new URL(request.url).pathname === '/dear';
      for (let piece = 0; piece < 6; piece++) {
        await WAY;
        compute(dear ? 250_000 : 50_000);
      }
      return new Response('done ' + (sum < 0));
    } };";

fn main() {
    skep_isolate::initialize();
    let good = RUNTIME.block_on(async { tokio::spawn(measure()).await }).expect("the measurement ends");
    assert!(good, "a handler is billed more than {} % beside its cost", MOST * 100.0);
}

async fn measure() -> bool {
    println!("| after a | handler | CPU ms alone | together | ratio |\n| --- | --- | --- | --- | --- |");
    let mut good = true;
    for (name, way) in WAYS {
        good &= measure_after(name, way).await;
    }
    good
}

async fn measure_after(name: &str, way: &str) -> bool {
    let port = server(|_| ok("")).await.to_string();
    let (mut options, recorder) = options(version(&WORKER.replace("WAY", way).replace("PORT", &port)));
    options.outbound = Client::new(AddressPolicy::with_loopback(), RUNTIME.handle().clone());
    let isolate = Arc::new(Isolate::start(options).await.expect("it starts"));
    let both = ["/dear", "/cheap"];
    for path in both {
        ask(&isolate, vec![path; WARM_UP], 1).await;
    }
    let mixed: Vec<&str> = both.into_iter().cycle().take(2 * TOGETHER).collect();
    let (mut alone, mut together) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..PAIRS {
        for (cost, path) in alone.iter_mut().zip(both) {
            recorder.forget();
            ask(&isolate, vec![path; ALONE], AT_ONCE).await;
            cost.push(billed(&recorder, path, ALONE).await);
        }
        recorder.forget();
        ask(&isolate, mixed.clone(), AT_ONCE).await;
        for (cost, path) in together.iter_mut().zip(both) {
            cost.push(billed(&recorder, path, TOGETHER).await);
        }
    }
    let mut good = true;
    for ((path, alone), together) in both.into_iter().zip(&mut alone).zip(&mut together) {
        let (alone, together) = (median(alone), median(together));
        let ratio = together / alone;
        good &= (ratio - 1.0).abs() <= MOST;
        println!("| {name} | {path} | {alone:.3} | {together:.3} | {ratio:.3} |");
    }
    good
}

async fn ask(isolate: &Arc<Isolate>, paths: Vec<&'static str>, at_once: usize) {
    let mut asking = JoinSet::new();
    for path in paths {
        if asking.len() >= at_once {
            asking.join_next().await.expect("one is asked").expect("it is answered");
        }
        let isolate = Arc::clone(isolate);
        asking.spawn(async move {
            let reply = isolate.fetch(get(&format!("http://localhost{path}"))).await;
            assert_eq!(text(answered(reply).expect("an answer")).await, "done false");
        });
    }
    while let Some(answered) = asking.join_next().await {
        answered.expect("it is answered");
    }
}

/// What the requests of a path were billed, on the average, in milliseconds.
async fn billed(recorder: &Recorder, path: &str, requests: usize) -> f64 {
    loop {
        let of_path = |seen| match seen {
            Seen::Finished(_, record) => {
                let is_its = matches!(&record.trigger, Trigger::Fetch { url, .. } if url.path() == path);
                is_its.then_some(record.cpu.as_secs_f64() * 1e3)
            }
            _ => None,
        };
        let cpu: Vec<f64> = recorder.seen().into_iter().filter_map(of_path).collect();
        if cpu.len() == requests {
            return cpu.iter().sum::<f64>() / requests as f64;
        }
        tokio::task::yield_now().await;
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
