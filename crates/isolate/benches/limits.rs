//! What a Worker that misbehaves costs its neighbour, and how far it gets beyond its CPU budget:
//! `cargo test -p skep-isolate --bench limits [-- NAME…]`. The table goes to standard output.
//!
//! A neighbour in the same process is asked once a millisecond. Windows in which it is alone and windows in which the other
//! Worker misbehaves again and again take turns, so that whatever else the machine does weighs on both; the ratio is the
//! median over the pairs. Runs during which the host of a virtual machine took the CPU away are set aside: that time
//! counts on the thread's clock, and no program can give it back.

#![allow(clippy::print_stdout, reason = "a program that reports to a person at a terminal")]

#[path = "../tests/isolate/abuse_cases.rs"]
mod abuse_cases;

use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_isolate::Slot;
use skep_test_support::{RUNTIME, Recorder, get, options, text, version};
use tokio::runtime::Handle;

use crate::abuse_cases::{ABUSES, Abuse, CPU, End};

/// How long the neighbour is asked before it is the other's turn.
const WINDOW: Duration = Duration::from_millis(400);
/// Windows of each kind.
const WINDOWS: usize = 11;
const BETWEEN_REQUESTS: Duration = Duration::from_millis(1);

fn main() {
    skep_isolate::initialize();
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!(
        "| Worker | runs | set aside | CPU beyond its {} ms: median, most | neighbour alone: p50, p99 | beside: p50, p99 | p99 ratio |",
        CPU.as_millis()
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
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
    let (mut alone, mut beside, mut ratios, mut runs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    window(&neighbour).await;
    for _ in 0..WINDOWS {
        let mut lone = window(&neighbour).await;
        let (abuser, recorder) = (Arc::clone(&abuser), Arc::clone(&recorder));
        // On a thread of its own: it waits for the recorder, and is not to keep the neighbour's answers waiting.
        let misbehaving =
            tokio::task::spawn_blocking(move || Handle::current().block_on(misbehave(abuser, recorder, abuse)));
        let mut near = window(&neighbour).await;
        runs.extend(misbehaving.await.expect("the Worker is stopped"));
        ratios.push(quantile(&mut near, 0.99).div_duration_f64(quantile(&mut lone, 0.99)));
        alone.extend(lone);
        beside.extend(near);
        // The last isolate's thread gives its memory back.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ratios.sort_by(f64::total_cmp);
    let mut overshoots: Vec<Duration> = runs.iter().filter(|run| !run.stolen).map(|run| run.beyond).collect();
    let overshoot = if abuse.end == End::Cpu {
        format!("{}, {}", milliseconds(quantile(&mut overshoots, 0.5)), milliseconds(quantile(&mut overshoots, 1.0)))
    } else {
        String::new()
    };
    println!(
        "| {} | {} | {} | {overshoot} | {}, {} | {}, {} | {:.2} |",
        abuse.name,
        runs.len(),
        runs.len() - overshoots.len(),
        milliseconds(quantile(&mut alone, 0.5)),
        milliseconds(quantile(&mut alone, 0.99)),
        milliseconds(quantile(&mut beside, 0.5)),
        milliseconds(quantile(&mut beside, 0.99)),
        ratios[WINDOWS / 2]
    );
}

/// Asks for one window. Gives how long each answer took.
async fn window(slot: &Arc<Slot>) -> Vec<Duration> {
    let end = Instant::now() + WINDOW;
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

/// One misbehaviour.
struct Run {
    /// CPU time that it took beyond its budget.
    beyond: Duration,
    /// Whether the machine's host took the CPU away meanwhile.
    stolen: bool,
}

/// Misbehaves for one window.
async fn misbehave(slot: Arc<Slot>, recorder: Arc<Recorder>, abuse: Abuse) -> Vec<Run> {
    let end = Instant::now() + WINDOW;
    let mut runs = Vec::new();
    while Instant::now() < end && (abuse.runs > 1 || runs.is_empty()) {
        let before = stolen();
        if let Ok(response) = Arc::clone(&slot).fetch(get("http://localhost/abuse")).await {
            // It has answered before it misbehaves.
            assert!(response.into_body().collect(1 << 30).await.is_err(), "{} was not stopped", abuse.name);
        }
        runs.push(Run { beyond: recorder.finished().cpu.saturating_sub(CPU), stolen: stolen() != before });
        recorder.forget();
    }
    runs
}

/// What the host took from this virtual machine so far, in ticks: the eighth number of the first line of `/proc/stat`
/// (proc_stat(5)), as it stands there. Nothing on other systems.
fn stolen() -> Option<String> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().next()?.split_whitespace().nth(8).map(str::to_owned)
}

fn quantile(durations: &mut [Duration], quantile: f64) -> Duration {
    durations.sort();
    let last = durations.len().saturating_sub(1);
    durations.get((last as f64 * quantile).round() as usize).copied().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
