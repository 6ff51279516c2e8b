//! What it costs a request that somebody watches its Worker, or that its events are kept, under load.
//!
//! In processor time and not in instructions: at the rates that valgrind leaves, every event is gathered, and under load
//! those that there is room for.

use std::error::Error;
use std::fs;

use crate::Bench;
use crate::items::hello::BODY;
use crate::items::throughput;
use crate::platform::{Account, Platform};
use crate::promise::{LOGS_COST, TAIL_COST, TAIL_STUCK};
use crate::report::Section;
use crate::statistics::{median, range};
use crate::table::{Table, number};
use crate::tail::Tail;

const CONNECTIONS: usize = 64;
/// A Worker whose events nobody keeps, and one whose events are kept.
const WORKERS: [&str; 2] = ["plain", "kept"];

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Nobody,
    Viewer,
    /// A viewer that reads nothing.
    Stuck,
    /// Nobody now: the events are kept.
    Kept,
}

const LOOKS: [(Look, &str); 3] =
    [(Look::Viewer, "skep tail"), (Look::Stuck, "skep tail, stopped"), (Look::Kept, "kept for skep logs")];

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let data = Platform::new_data(bench, "watched")?;
    let core = bench.cores.server.to_string();
    let mut platform = Platform::start(bench, &data, &core, &["--threads", "1"])?;
    let account = platform.new_account("watched")?;
    let script = fs::read_to_string(bench.source.join("workers/hello/index.js"))?;
    for worker in WORKERS {
        platform.deploy_for(&account, worker, &script, None)?;
    }
    platform.keep_events(&account, WORKERS[1])?;
    let mut ratios: [Vec<f64>; 3] = Default::default();
    let mut micros: [Vec<f64>; 3] = Default::default();
    let mut before = turn(bench, &platform, &account, Look::Nobody)?;
    let mut quiet = vec![before];
    for round in 0..bench.plan.rounds {
        for (index, (look, name)) in LOOKS.into_iter().enumerate() {
            let spent = turn(bench, &platform, &account, look)?;
            let after = turn(bench, &platform, &account, Look::Nobody)?;
            let ratio = spent / f64::midpoint(before, after);
            eprintln!("watched, round {}, {name}: {} µs for a request, {ratio:.3} ×", round + 1, number(spent));
            ratios[index].push(ratio);
            micros[index].push(spent);
            quiet.push(after);
            before = after;
        }
    }
    let mut table = Table::new(&["who looks", "CPU µs for a request", "× nobody", "least–most"]);
    let of = |values: &[f64]| median(values.iter().copied()).unwrap_or_default();
    table.row(["nobody".to_owned(), number(of(&quiet)), String::new(), String::new()]);
    for (index, (_, name)) in LOOKS.into_iter().enumerate() {
        let spread = range(ratios[index].iter().copied());
        let spread = spread.map_or_else(String::new, |(least, most)| format!("{least:.3}–{most:.3}"));
        table.row([name.to_owned(), number(of(&micros[index])), format!("{:.3}", of(&ratios[index])), spread]);
    }
    let cost = |index: usize| median(ratios[index].iter().map(|ratio| (ratio - 1.0) * 100.0));
    let findings = [(TAIL_COST, 0), (TAIL_STUCK, 1), (LOGS_COST, 2)];
    let findings = findings.into_iter().filter_map(|(promise, index)| Some(promise.measured(cost(index)?))).collect();
    Ok(Section {
        title: "watched: what it costs that somebody looks".to_owned(),
        method: format!(
            "hello JSON through `skep serve` with one thread for requests, all its processes on one core; {CONNECTIONS} connections from \
             another core, where `skep tail` runs too. Processor time of the platform's processes for a request; the ways take turns, and \
             each is compared with nobody just before and after it."
        ),
        table,
        findings,
        notes: Vec::new(),
    })
}

/// Processor time of the platform for a request, in microseconds.
fn turn(bench: &Bench, platform: &Platform, account: &Account, look: Look) -> Result<f64, Box<dyn Error>> {
    let worker = if look == Look::Kept { WORKERS[1] } else { WORKERS[0] };
    let request = account.request(worker, "/");
    let tail = match look {
        Look::Viewer | Look::Stuck => {
            let tail = Tail::start(bench, platform, account, worker)?;
            let ask = || crate::client::Client::connect(platform.server.address)?.ask(&request).map(drop);
            if tail.wait(1, "ok", || Ok(ask()?))? == 0 {
                return Err("skep tail shows nothing".into());
            }
            if look == Look::Stuck {
                tail.stop()?;
            }
            Some(tail)
        }
        Look::Nobody | Look::Kept => None,
    };
    let sample = throughput::measure(bench, &platform.server, CONNECTIONS, &request, BODY)?;
    drop(tail);
    Ok(sample.spent.server.as_secs_f64() * 1e6 / sample.work.max(1.0))
}
