//! A long body in chunks.

use std::error::Error;
use std::time::Instant;

use crate::Bench;
use crate::client::{AskError, Client, get};
use crate::contest::{Contest, Sample};
use crate::items::throughput;
use crate::machine::Meter;
use crate::report::Section;
use crate::server::Server;

/// What the Worker `stream` sends.
const BYTES: u64 = 64 << 20;
const MEGABYTE: f64 = 1e6;

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let contest = Contest::run(bench, &bench.contestants(), "stream", "stream", |server| measure(bench, server))?;
    Ok(Section {
        title: "stream: megabytes per second, one connection".to_owned(),
        method: "64 MiB from a `ReadableStream` that makes chunks of 64 KiB as they are pulled; node:http from a \
                 `Readable`."
            .to_owned(),
        table: throughput::table(&contest, "MB/s", "CPU µs/MB"),
        findings: Vec::new(),
        notes: contest.remarks(),
    })
}

/// Bodies one after the other, for a turn.
fn measure(bench: &Bench, server: &Server) -> Result<Sample, AskError> {
    let request = get("/");
    let mut client = Client::connect(server.address)?;
    let mut ask = || match client.count(&request, |_| {})? {
        BYTES => Ok(BYTES as f64 / MEGABYTE),
        length => Err(AskError::Body(length)),
    };
    ask()?;
    let meter = Meter::start(server.process(), &bench.cores)?;
    let end = Instant::now() + bench.plan.turn;
    let mut work = 0.0;
    while Instant::now() < end {
        work += ask()?;
    }
    let spent = meter.stop()?;
    Ok(Sample { value: work / spent.wall.as_secs_f64(), high: 0.0, work, spent })
}
