//! `skep tail`: what whoever watches a Worker is told of its events.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Bench;
use crate::platform::{Account, Platform};
use crate::server::{command, end};

/// How long events may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at what came.
const GLANCE: Duration = Duration::from_millis(20);

/// A tail that runs. It ends when this goes out of scope.
pub(crate) struct Tail {
    child: Child,
    output: PathBuf,
}

impl Tail {
    /// Begins to watch a Worker of an account.
    pub(crate) fn start(
        bench: &Bench,
        platform: &Platform,
        account: &Account,
        worker: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let output = bench.output.join(format!("logs/tail-{worker}.jsonl"));
        let arguments = ["tail", worker, "--format", "json"].map(OsString::from).to_vec();
        let child = command(&bench.skep.path, arguments, &bench.cores.load.to_string())
            .current_dir(&bench.output)
            .env("SKEP_URL", format!("http://{}", platform.server.address))
            .env("SKEP_TOKEN", &account.token)
            .env("SKEP_ACCOUNT_ID", &account.id)
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(output.with_extension("log"))?)
            .spawn()?;
        Ok(Self { child, output })
    }

    /// Stops the process, which then reads nothing until it is ended.
    pub(crate) fn stop(&self) -> Result<(), Box<dyn Error>> {
        // The shell's own `kill`: there may be no program of that name.
        let status = command_of_shell(self.child.id()).status()?;
        if status.success() { Ok(()) } else { Err("skep tail cannot be stopped".into()) }
    }

    /// How many events have ended so.
    pub(crate) fn count(&self, outcome: &str) -> Result<usize, Box<dyn Error>> {
        Ok(count(&fs::read_to_string(&self.output)?, outcome))
    }

    /// Waits until as many events have come that ended so, but not for ever. `ask` is called before each look.
    pub(crate) fn wait(
        &self,
        events: usize,
        outcome: &str,
        mut ask: impl FnMut() -> Result<(), Box<dyn Error>>,
    ) -> Result<usize, Box<dyn Error>> {
        let begun = Instant::now();
        loop {
            ask()?;
            std::thread::sleep(GLANCE);
            let seen = self.count(outcome)?;
            if seen >= events || begun.elapsed() > PATIENCE {
                return Ok(seen);
            }
        }
    }
}

fn command_of_shell(process: u32) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "kill -STOP \"$0\"", &process.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The events of an output that ended so. Its last line may not be whole.
fn count(output: &str, outcome: &str) -> usize {
    let events = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["outcome"] == outcome).count()
}

impl Drop for Tail {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn events_are_counted_by_outcome() {
        let output = "{\"outcome\":\"ok\"}\n{\"outcome\":\"exception\"}\n{\"outcome\":\"ok\"}\n{\"outcome\":\"exc";
        assert_eq!([count(output, "ok"), count(output, "exception"), count(output, "canceled")], [2, 1, 0]);
    }
}
