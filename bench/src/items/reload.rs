//! From a saved file to its answer.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::client::{AskError, Client, get};
use crate::promise::{RELOAD, RELOAD_FAILURES};
use crate::report::Section;
use crate::server::Server;
use crate::statistics::{median, percentile, range};
use crate::table::{Table, number, optional};

/// How long the new answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two requests of a client that waits for the new answer.
const PAUSE: Duration = Duration::from_millis(1);
/// Between two saves: a person's hand.
const THINKING: Duration = Duration::from_millis(200);

/// What was seen of the reloads.
#[derive(Default)]
struct Seen {
    /// Milliseconds from the save to the new answer.
    times: Vec<f64>,
    requests: usize,
    failed: usize,
}

pub(crate) fn run(bench: &Bench) -> Result<Section, Box<dyn Error>> {
    let project = bench.output.join("reload");
    fs::create_dir_all(&project)?;
    fs::copy(bench.source.join("workers/hello/wrangler.jsonc"), project.join("wrangler.jsonc"))?;
    let script = project.join("index.js");
    fs::write(&script, source("version 0"))?;
    let server = bench.start_on(&bench.skep, "hello", &project, &bench.cores.all)?;
    let mut seen = Seen::default();
    for version in 1..=bench.plan.repetitions {
        std::thread::sleep(THINKING);
        seen.reload(&server, &script, &format!("version {version}"))?;
    }
    let times = || seen.times.iter().copied();
    let mut table = Table::new(&["server", "ms", "least–most", "p90 ms", "requests meanwhile", "failed"]);
    let (least, most) = range(times()).unwrap_or_default();
    table.row([
        server.name.to_owned(),
        optional(median(times())),
        format!("{}–{}", number(least), number(most)),
        optional(percentile(times(), 0.9)),
        seen.requests.to_string(),
        seen.failed.to_string(),
    ]);
    let median = median(times()).map(|value| RELOAD.measured(value));
    Ok(Section {
        title: format!("reload: milliseconds from a saved file to its answer, median of {}", bench.plan.repetitions),
        method: "A client asks all the time while the script of hello is saved with another message. A request that \
                 comes during the reload has to wait, not to fail."
            .to_owned(),
        table,
        findings: median.into_iter().chain([RELOAD_FAILURES.measured(seen.failed as f64)]).collect(),
        notes: Vec::new(),
    })
}

impl Seen {
    /// Saves the script with another message and asks until it is answered.
    fn reload(&mut self, server: &Server, script: &Path, message: &str) -> Result<(), Box<dyn Error>> {
        let mut client = Client::connect(server.address)?;
        let expect = format!(r#"{{"message":"{message}"}}"#);
        client.ask(&get("/"))?;
        let begun = Instant::now();
        fs::write(script, source(message))?;
        loop {
            self.requests += 1;
            match client.ask(&get("/")) {
                Ok(body) if body == expect.as_bytes() => break,
                Ok(_) => {}
                Err(AskError::Status(..)) => self.failed += 1,
                Err(_) => {
                    self.failed += 1;
                    client = Client::connect(server.address)?;
                }
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("a saved file was not live in {PATIENCE:?}").into());
            }
            std::thread::sleep(PAUSE);
        }
        let time = begun.elapsed().as_secs_f64() * 1e3;
        eprintln!("reload, {message}: {}", number(time));
        self.times.push(time);
        Ok(())
    }
}

/// The script of hello with another message.
fn source(message: &str) -> String {
    include_str!("../../workers/hello/index.js").replace("\"hi\"", &format!("{message:?}"))
}

#[cfg(test)]
mod tests {
    use super::source;

    #[test]
    fn the_message_changes() {
        assert!(source("version 1").contains(r#"{ message: "version 1" }"#));
    }
}
