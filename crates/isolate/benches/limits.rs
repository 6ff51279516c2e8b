//! What a Worker that misbehaves costs its neighbour, and how far it gets beyond its CPU budget:
//! `cargo bench -p skep-isolate --bench limits [-- NAME…]`. The table goes to standard output.
//!
//! A neighbour in the same process is asked once a millisecond. Windows in which it is alone and windows in which the other
//! Worker misbehaves again and again take turns, so that whatever else the machine does weighs on both.

#![allow(clippy::print_stdout, reason = "a program that reports to a person at a terminal")]

#[path = "../tests/isolate/abuse_cases.rs"]
mod abuse_cases;

use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_isolate::Slot;
use skep_test_support::{RUNTIME, Recorder, Seen, get, options, text, version};

use crate::abuse_cases::{ABUSES, Abuse, CPU, End};

/// How long the neighbour is asked before it is the other's turn.
const WINDOW: Duration = Duration::from_millis(400);
/// Windows of each kind.
const WINDOWS: usize = 5;
const BETWEEN_REQUESTS: Duration = Duration::from_millis(1);

fn main() {
    skep_isolate::initialize();
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!(
        "| Worker | runs | CPU beyond its {} ms: median, most | neighbour alone: p50, p99 | beside: p50, p99 | p99 ratio |",
        CPU.as_millis()
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for abuse in ABUSES {
        if names.is_empty() || names.iter().any(|name| name == abuse.name) {
            RUNTIME.block_on(async { tokio::spawn(measure(*abuse)).await }).expect("the measurement ends");
        }
    }
}

async fn measure(abuse: Abuse) {
    let source = "export default { fetch: (request) => Response.json({ url: request.url }) }";
    let neighbour = Slot::new(options(version(source)).0);
    let (options, recorder) = options(abuse.version());
    let abuser = Slot::new(options);
    let (mut alone, mut beside, mut overshoots, mut runs) = (Vec::new(), Vec::new(), Vec::new(), 0);
    window(&neighbour, WINDOW).await;
    for _ in 0..WINDOWS {
        alone.extend(window(&neighbour, WINDOW).await);
        let misbehaving = tokio::spawn(misbehave(Arc::clone(&abuser), Arc::clone(&recorder), abuse));
        beside.extend(window(&neighbour, WINDOW).await);
        let (more, used) = misbehaving.await.expect("the Worker is stopped");
        runs += more;
        overshoots.extend(used);
        // The last isolate's thread gives its memory back.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let overshoot = if abuse.end == End::Cpu {
        format!("{}, {}", milliseconds(quantile(&mut overshoots, 0.5)), milliseconds(quantile(&mut overshoots, 1.0)))
    } else {
        String::new()
    };
    let (lone, near) = (quantile(&mut alone, 0.99), quantile(&mut beside, 0.99));
    println!(
        "| {} | {runs} | {overshoot} | {}, {} | {}, {} | {:.2} |",
        abuse.name,
        milliseconds(quantile(&mut alone, 0.5)),
        milliseconds(lone),
        milliseconds(quantile(&mut beside, 0.5)),
        milliseconds(near),
        near.as_secs_f64() / lone.as_secs_f64()
    );
}

/// Asks for so long. Gives how long each answer took.
async fn window(slot: &Arc<Slot>, length: Duration) -> Vec<Duration> {
    let end = Instant::now() + length;
    let mut took = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        let response = Arc::clone(slot).fetch(get("http://neighbour/")).await.expect("the neighbour answers");
        assert_eq!(text(response).await, r#"{"url":"http://neighbour/"}"#);
        took.push(began.elapsed());
        tokio::time::sleep(BETWEEN_REQUESTS).await;
    }
    took
}

/// Misbehaves for one window. Gives how often, and the CPU time that each run took beyond its budget.
async fn misbehave(slot: Arc<Slot>, recorder: Arc<Recorder>, abuse: Abuse) -> (usize, Vec<Duration>) {
    let end = Instant::now() + WINDOW;
    let mut runs = 0;
    while Instant::now() < end && (abuse.runs > 1 || runs == 0) {
        if let Ok(response) = Arc::clone(&slot).fetch(get("http://localhost/abuse")).await {
            // It has answered before it misbehaves.
            assert!(response.into_body().collect(1 << 30).await.is_err(), "{} was not stopped", abuse.name);
        }
        recorder.finished();
        runs += 1;
    }
    let over = recorder.seen().into_iter().filter_map(|seen| match seen {
        Seen::Finished(_, record) => Some(record.cpu.saturating_sub(CPU)),
        Seen::Log(..) | Seen::Exception(..) => None,
    });
    let over = over.collect();
    recorder.forget();
    (runs, over)
}

fn quantile(durations: &mut [Duration], quantile: f64) -> Duration {
    durations.sort();
    let last = durations.len().saturating_sub(1);
    durations.get((last as f64 * quantile).round() as usize).copied().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
