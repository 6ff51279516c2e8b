//! A small static file through the platform, beside a bare server that has it in memory.

use std::error::Error;
use std::fs;

use crate::Bench;
use crate::contest::{Contest, Turn};
use crate::items::hello::CONNECTIONS;
use crate::items::throughput;
use crate::platform::Platform;
use crate::promise::ASSETS_SERVE;
use crate::report::Section;
use crate::server::Runtime;

const PAGE: &str = "<!doctype html><title>Hello</title><h1>Hello World!</h1>\n";
const WORKER: &str = "site";

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let data = Platform::new_data(bench, "assets-serve")?;
    let core = bench.cores.server.to_string();
    let mut platform = Platform::start(bench, &data, &core, &["--threads", "1"])?;
    platform.deploy_asset(WORKER, "/hello.html", PAGE.as_bytes())?;
    let file = data.join("hello.html");
    fs::write(&file, PAGE)?;
    let log = bench.output.join("logs/raw-hyper.log");
    let bare = bench.raw_hyper.start_with(vec![file.into()], &data, &core, &log)?;

    let (served, plain) = (Platform::request(WORKER, "/hello"), crate::client::get("/hello"));
    let turns = vec![Turn { server: platform.server, request: &served }, Turn { server: bare, request: &plain }];
    let contest = Contest::of(bench, Runtime::SkepServe, "assets-serve", &turns, |server, request| {
        throughput::measure(bench, server, CONNECTIONS, request, PAGE.as_bytes())
    })?;
    let share = contest.least_ratio(Runtime::RawHyper).map(|ratio| ASSETS_SERVE.measured(ratio));
    Ok(Section {
        title: format!("assets-serve: requests per second for a small file, {CONNECTIONS} connections"),
        method: format!(
            "`/hello`, which is `hello.html` ({} bytes), through `skep serve` with one thread for requests on one core; \
             *raw hyper* answers with the same bytes out of memory.",
            PAGE.len()
        ),
        table: throughput::table(&contest, "requests/s", "CPU µs/request"),
        findings: share.into_iter().collect(),
        notes: contest.remarks(),
    })
}
