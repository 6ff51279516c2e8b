//! A short JSON answer, as often as possible.

use std::error::Error;

use crate::Bench;
use crate::client::get;
use crate::contest::Contest;
use crate::items::throughput;
use crate::promise::{HELLO_DENO, HELLO_WORKERD};
use crate::report::Section;
use crate::server::Runtime;

/// What every server answers.
pub(crate) const BODY: &[u8] = br#"{"message":"hi"}"#;
/// Connections at once.
pub(crate) const CONNECTIONS: usize = 64;

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let request = get("/");
    let contest = Contest::run(bench, &bench.contestants_and_floor(), "hello", "hello", |server| {
        throughput::measure(bench, server, CONNECTIONS, &request, BODY)
    })?;
    let workerd = contest.least_ratio(Runtime::Workerd).map(|ratio| HELLO_WORKERD.measured(ratio));
    let deno = contest.least_ratio(Runtime::Deno).map(|ratio| HELLO_DENO.measured(ratio));
    Ok(Section {
        title: format!("hello: requests per second, {CONNECTIONS} connections"),
        method: "`GET /` answered with `{\"message\":\"hi\"}`.".to_owned(),
        table: throughput::table(&contest, "requests/s", "CPU µs/request"),
        findings: workerd.into_iter().chain(deno).collect(),
        notes: contest.remarks(),
    })
}
