//! The short JSON answer through the whole platform: as often as possible, and how long one takes.

use std::error::Error;
use std::fs;

use crate::Bench;
use crate::client::get;
use crate::contest::{self, Contest, Turn};
use crate::items::hello::{BODY, CONNECTIONS};
use crate::items::{latency, throughput};
use crate::platform::Platform;
use crate::promise::{PLATFORM_HELLO_DENO, PLATFORM_HELLO_HYPER, PLATFORM_HELLO_WORKERD, PLATFORM_LATENCY};
use crate::report::Section;
use crate::server::{Program, Runtime};
use crate::table::optional;

const WORKER: &str = "hello";

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let data = Platform::new_data(bench, "platform-hello")?;
    let mut platform = Platform::start(bench, &data, &bench.cores.server.to_string(), &["--threads", "1"])?;
    platform.deploy(WORKER, &fs::read_to_string(bench.source.join("workers/hello/index.js"))?)?;

    let (through, plain) = (Platform::request(WORKER, "/"), get("/"));
    let mut turns = vec![Turn { server: platform.server, request: &through }];
    let is_asked = |program: &&Program| matches!(program.runtime, Runtime::Workerd | Runtime::Deno);
    let programs: Vec<&Program> = bench.peers.iter().filter(is_asked).chain([&bench.raw_hyper]).collect();
    let (others, mut notes) = contest::start(bench, &programs, WORKER, &plain)?;
    turns.extend(others);
    let often = Contest::of(bench, Runtime::SkepServe, "platform-hello", &turns, |server, request| {
        throughput::measure(bench, server, CONNECTIONS, request, BODY)
    })?;
    let alone = Contest::of(bench, Runtime::SkepServe, "platform-hello, latency", &turns, |server, request| {
        latency::measure(bench, server, request)
    })?;

    notes.extend(often.remarks());
    let times = alone.entries.iter().map(|entry| {
        let above = latency::above(&alone, entry.runtime);
        let name = entry.runtime.name();
        format!("{name} p50 {} µs ({}), {} above the floor", optional(entry.value()), entry.range(), optional(above))
    });
    notes.push(format!("One request at a time on one connection: {}.", times.collect::<Vec<_>>().join("; ")));
    let of = |runtime| often.least_ratio(runtime);
    let findings = [
        of(Runtime::Workerd).map(|ratio| PLATFORM_HELLO_WORKERD.measured(ratio)),
        of(Runtime::Deno).map(|ratio| PLATFORM_HELLO_DENO.measured(ratio)),
        of(Runtime::RawHyper).map(|ratio| PLATFORM_HELLO_HYPER.measured(ratio)),
        latency::above(&alone, Runtime::SkepServe).map(|above| PLATFORM_LATENCY.measured(above)),
    ];
    Ok(Section {
        title: format!("platform-hello: requests per second, {CONNECTIONS} connections"),
        method:
            "The request and answer of hello through `skep serve`, where the Worker was deployed by the API, with one \
                 thread for requests on one core. Then the same one by one, as in latency."
                .to_owned(),
        table: throughput::table(&often, "requests/s", "CPU µs/request"),
        findings: findings.into_iter().flatten().collect(),
        notes,
    })
}
