//! Cold starts: the first request of a Worker whose version was never loaded in this process.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Bench;
use crate::client::Client;
use crate::platform::Platform;
use crate::promise::{COLD_CROWD, COLD_CROWD_LOST, COLD_LARGE, COLD_P50, COLD_P99, COLD_SPARE_P50, COLD_SPARE_P99};
use crate::report::Section;
use crate::statistics::percentile;
use crate::table::{Table, optional};

/// Workers that are asked at once, by so many connections.
const CROWD: usize = 1000;
const CONNECTIONS: usize = 16;
/// Workers with a large bundle, and its size in bytes.
const LARGE: usize = 40;
const BUNDLE: usize = 1_000_000;
/// Between two cold starts that come one by one: spare isolates are made again meanwhile.
const PAUSE: Duration = Duration::from_millis(30);
/// What every Worker of these answers.
const BODY: &[u8] = br#"{"message":"hi"}"#;

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let data = Platform::new_data(bench, "cold")?;
    let small = bench.plan.repetitions * 10;
    {
        let mut platform = Platform::start(bench, &data, &bench.cores.all, &["--spare-isolates", "0"])?;
        for number in 0..CROWD {
            platform.deploy(&name("hello", number), HELLO)?;
        }
        for number in 0..LARGE {
            platform.deploy(&name("large", number), &large(number))?;
        }
    }
    let mut table = Table::new(&["", "spares", "requests", "p50 ms", "p99 ms", "most ms", "failed"]);
    let mut row = |what: &str, spares: &str, times: &Times| {
        let of = |share| optional(percentile(times.times.iter().copied(), share));
        let (count, failed) = (times.times.len().to_string(), times.failed.to_string());
        table.row([what.to_owned(), spares.to_owned(), count, of(0.5), of(0.99), of(1.0), failed]);
    };
    let of = |times: &Times, share| percentile(times.times.iter().copied(), share);
    let off: &[&str] = &["--spare-isolates", "0"];
    let without = one_by_one(bench, &data, off, "hello", small)?;
    let with = one_by_one(bench, &data, &[], "hello", small)?;
    let bundle = one_by_one(bench, &data, off, "large", LARGE)?;
    let crowd = crowd(bench, &data)?;
    row("hello, one by one", "off", &without);
    row("hello, one by one", "on", &with);
    row("1 MB bundle, one by one", "off", &bundle);
    row(&format!("{CROWD} Workers, {CONNECTIONS} in flight"), "on", &crowd);
    let failed = without.failed + with.failed + bundle.failed + crowd.failed;
    let findings = [
        of(&without, 0.5).map(|value| COLD_P50.measured(value)),
        of(&without, 0.99).map(|value| COLD_P99.measured(value)),
        of(&with, 0.5).map(|value| COLD_SPARE_P50.measured(value)),
        of(&with, 0.99).map(|value| COLD_SPARE_P99.measured(value)),
        of(&bundle, 0.5).map(|value| COLD_LARGE.measured(value)),
        of(&crowd, 0.99).map(|value| COLD_CROWD.measured(value)),
        Some(COLD_CROWD_LOST.measured(failed as f64)),
    ];
    Ok(Section {
        title: "cold: milliseconds of the first request of a Worker".to_owned(),
        method: format!(
            "`skep serve` on all cores, started anew: none of its Workers' versions was ever loaded in the process. Measured by the client, \
             on connections that are open: from the request's first byte sent to the answer's last byte read, so that the gateway and \
             loopback are in it. One by one with {PAUSE:?} between two. Where a bare isolate's time goes: \
             `cargo test --workspace --bench cold -- --bench`."
        ),
        table,
        findings: findings.into_iter().flatten().collect(),
        notes: Vec::new(),
    })
}

const HELLO: &str = "export default { async fetch(request, env, ctx) { return Response.json({ message: \"hi\" }); } };";

fn name(kind: &str, number: usize) -> String {
    format!("{kind}-{number}")
}

/// A Worker as a bundler makes it of many packages: a thousand functions, of which a request needs a few.
fn large(number: usize) -> String {
    let mut script = format!("const own = {number};\nconst table = [];\n");
    let mut index = 0;
    while script.len() < BUNDLE {
        script.push_str(&format!(
            "table.push(function helper{index}(input, options = {{}}) {{\n  const parts = String(input).split(\"{index}\");\n  \
             for (const part of parts) {{ if (options[part] === undefined) options[part] = part.length * {index} + own; }}\n  \
             return Object.keys(options).map((key) => `${{key}}=${{options[key]}}`).join(\"&\");\n}});\n"
        ));
        index += 1;
    }
    script.push_str(
        "export default { async fetch(request) { table[7](request.url); table[table.length - 1](request.method); \
         return Response.json({ message: \"hi\" }); } };\n",
    );
    script
}

/// What first requests took.
#[derive(Default)]
struct Times {
    /// Milliseconds.
    times: Vec<f64>,
    failed: usize,
}

/// The first request of each of some Workers, one after the other.
fn one_by_one(
    bench: &Bench,
    data: &Path,
    arguments: &[&str],
    kind: &str,
    count: usize,
) -> Result<Times, Box<dyn Error>> {
    let platform = Platform::start(bench, data, &bench.cores.all, arguments)?;
    let mut client = Client::connect(platform.server.address)?;
    // The way there is warm, the Workers are not.
    client.ask(&crate::client::get_from("localhost", "/readyz"))?;
    let mut times = Times::default();
    for number in 0..count {
        std::thread::sleep(PAUSE);
        let request = Platform::request(&name(kind, number), "/");
        let begun = Instant::now();
        let answer = client.ask(&request)?;
        times.times.push(begun.elapsed().as_secs_f64() * 1e3);
        times.failed += usize::from(answer != BODY);
    }
    Ok(times)
}

/// The first request of each of many Workers, by some connections at once.
fn crowd(bench: &Bench, data: &Path) -> Result<Times, Box<dyn Error>> {
    let platform = Platform::start(bench, data, &bench.cores.all, &[])?;
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Times::default()));
    let ask = |address: SocketAddr| {
        let mut client = Client::connect(address)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= CROWD {
                return Ok::<(), std::io::Error>(());
            }
            let begun = Instant::now();
            let answer = client.ask(&Platform::request(&name("hello", number), "/"));
            let took = begun.elapsed().as_secs_f64() * 1e3;
            let mut times = all.lock().unwrap_or_else(PoisonError::into_inner);
            times.times.push(took);
            if !answer.is_ok_and(|answer| answer == BODY) {
                times.failed += 1;
                client = Client::connect(address)?;
            }
        }
    };
    let address = platform.server.address;
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| ask(address))).collect();
        asking.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}
