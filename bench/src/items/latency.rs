//! How long one request takes when nothing else is asked.

use std::error::Error;
use std::time::Instant;

use crate::Bench;
use crate::client::{AskError, Client, get};
use crate::contest::{Contest, Sample};
use crate::items::hello::BODY;
use crate::machine::Meter;
use crate::promise::LATENCY;
use crate::report::Section;
use crate::server::{Runtime, Server};
use crate::statistics::{median, percentile};
use crate::table::{Table, optional};

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let request = get("/");
    let contest = Contest::run(bench, &bench.contestants_and_floor(), "latency", "hello", |server| {
        measure(bench, server, &request)
    })?;
    let mut table =
        Table::new(&["server", "p50 µs", "least–most", "p99 µs", "above the floor", "server", "load", "others"]);
    for entry in &contest.entries {
        let high = median(entry.samples.iter().map(|sample| sample.high));
        let name = entry.runtime.name().to_owned();
        let cells =
            [name, optional(entry.value()), entry.range(), optional(high), optional(above(&contest, entry.runtime))];
        table.row(cells.into_iter().chain(entry.shares()));
    }
    Ok(Section {
        title: "latency: microseconds for one request, one connection".to_owned(),
        method:
            "The same request and answer as in hello; one request after the other. The floor is a raw hyper server \
                 that does nothing else."
                .to_owned(),
        table,
        findings: above(&contest, Runtime::Skep).map(|value| LATENCY.measured(value)).into_iter().collect(),
        notes: contest.remarks(),
    })
}

/// A server's median latency less the floor's, in microseconds.
pub(crate) fn above(contest: &Contest, server: Runtime) -> Option<f64> {
    Some(contest.value(server)? - contest.value(Runtime::RawHyper)?)
}

/// Requests one after the other, for a turn.
pub(crate) fn measure(bench: &Bench, server: &Server, request: &[u8]) -> Result<Sample, AskError> {
    let mut client = Client::connect(server.address)?;
    let body = client.ask(request)?;
    if body != BODY {
        return Err(AskError::Body(body.len() as u64));
    }
    let warm = Instant::now() + bench.plan.warm_up;
    while Instant::now() < warm {
        client.count(request, |_| {})?;
    }
    let meter = Meter::start(server.process(), &bench.cores)?;
    let mut times = Vec::new();
    let end = Instant::now() + bench.plan.turn;
    let mut begun = Instant::now();
    while begun < end {
        client.count(request, |_| {})?;
        let now = Instant::now();
        times.push((now - begun).as_secs_f64() * 1e6);
        begun = now;
    }
    let spent = meter.stop()?;
    let share = |share| percentile(times.iter().copied(), share).unwrap_or_default();
    Ok(Sample { value: share(0.5), high: share(0.99), work: times.len() as f64, spent })
}
