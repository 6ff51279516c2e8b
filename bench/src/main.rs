//! `cargo xtask bench`: measures Skep side by side with its peers, in one run on one machine, and holds it to the numbers
//! of `docs/SPECIFICATION.md`.
//!
//! The same Workers (`bench/workers`) run in `skep dev`, in workerd, and behind the servers of Deno and Bun; for Node.js
//! there is what one writes for `node:http`. Each server has one core to itself and is asked from another one. Servers take
//! turns, in an order that rotates; what counts are medians over the rounds, and their ratios. The table goes to standard
//! output and to `bench/table.md` in cargo's target folder. A promise that is not kept makes the exit code 1.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports to a person at a terminal")]
#![allow(clippy::disallowed_methods, reason = "a measurement waits for a time, not for a condition")]

mod client;
mod contest;
mod http;
mod items;
mod load;
mod machine;
mod peers;
mod platform;
mod processes;
mod promise;
mod report;
mod server;
mod statistics;
mod steady;
mod table;
mod tail;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;

use crate::items::Item;
use crate::machine::Cores;
use crate::promise::Finding;
use crate::server::{Program, Runtime, Server, StartError};

/// Measure Skep side by side with its peers
#[derive(Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// Only these
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<Item>,
    /// How often each server is measured [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Shorter turns, fewer starts and reloads: numbers to look at, not to quote
    #[arg(long)]
    quick: bool,
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Turns of each server.
    pub(crate) rounds: usize,
    /// Load before each turn that does not count.
    pub(crate) warm_up: Duration,
    /// A turn.
    pub(crate) turn: Duration,
    /// Starts of each server, and reloads.
    pub(crate) repetitions: usize,
    /// Requests that are billed.
    pub(crate) billed: u64,
}

/// What every benchmark needs.
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    pub(crate) cores: Cores,
    pub(crate) skep: Program,
    pub(crate) raw_hyper: Program,
    pub(crate) peers: Vec<Program>,
    /// The folder of this package: Workers and servers.
    pub(crate) source: PathBuf,
    /// The folder for the table, logs and copies of projects.
    pub(crate) output: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
        Ok(complaints) => {
            for complaint in complaints {
                eprintln!("error: {complaint}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for. Gives a sentence for each promise that was not kept.
fn run(arguments: &Arguments) -> Result<Vec<String>, Box<dyn Error>> {
    let items = if arguments.only.is_empty() { Item::ALL.to_vec() } else { arguments.only.clone() };
    let load_average = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let (bench, complaints) = Bench::new(Plan::new(arguments))?;
    let mut report = bench.preface(load_average.split(' ').next().unwrap_or_default(), &complaints);
    let mut findings: Vec<Finding> = Vec::new();
    let mut failures = Vec::new();
    for item in items {
        match item.run(&bench) {
            Ok(section) => {
                report.push_str(&section.to_string());
                findings.extend(&section.findings);
            }
            Err(error) => {
                report.push_str(&format!("## {}\n\nNot measured: {error}\n\n", item.name()));
                failures.push(format!("{}: {error}", item.name()));
            }
        }
    }
    report.push_str(&format!("## Promises\n\n{}", promise::table(&findings)));
    print!("{report}");
    let path = bench.output.join("table.md");
    fs::write(&path, report)?;
    eprintln!("\nwritten to {}", path.display());
    failures.extend(findings.iter().filter(|finding| !finding.is_kept()).map(|finding| finding.complaint()));
    Ok(failures)
}

// === impl Plan ===

impl Plan {
    fn new(arguments: &Arguments) -> Self {
        let plan = if arguments.quick {
            Self {
                rounds: 3,
                warm_up: Duration::from_millis(300),
                turn: Duration::from_secs(1),
                repetitions: 7,
                billed: 200_000,
            }
        } else {
            Self {
                rounds: 5,
                warm_up: Duration::from_millis(500),
                turn: Duration::from_secs(3),
                repetitions: 20,
                billed: 1_000_000,
            }
        };
        Self { rounds: arguments.rounds.map_or(plan.rounds, usize::from), ..plan }
    }
}

// === impl Bench ===

impl Bench {
    /// Finds everything, and keeps this process to the load's core. Also gives what is missing.
    fn new(plan: Plan) -> Result<(Self, Vec<String>), Box<dyn Error>> {
        let binaries = std::env::current_exe()?.parent().map(Path::to_owned).ok_or("this program has no folder")?;
        let program = |runtime: Runtime, name: &str| {
            let path = binaries.join(name);
            if !path.exists() {
                return Err(format!("{} is not there: run `cargo xtask bench`, which builds it", path.display()));
            }
            Ok(Program { runtime, path, version: String::new() })
        };
        let mut skep = program(Runtime::Skep, "skep")?;
        let version = Command::new(&skep.path).arg("--version").output()?.stdout;
        skep.version = String::from_utf8_lossy(&version).trim().trim_start_matches("skep ").to_owned();
        let output = binaries.parent().unwrap_or(&binaries).join("bench");
        fs::create_dir_all(output.join("logs"))?;
        let (peers, complaints) = peers::install();
        let bench = Self {
            plan,
            cores: Cores::allowed()?,
            skep,
            raw_hyper: program(Runtime::RawHyper, "raw-hyper")?,
            peers,
            source: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
            output,
        };
        bench.cores.keep_to_load()?;
        Ok((bench, complaints))
    }

    /// Skep and its peers.
    pub(crate) fn contestants(&self) -> Vec<&Program> {
        std::iter::once(&self.skep).chain(&self.peers).collect()
    }

    /// Skep, its peers and the floor.
    pub(crate) fn contestants_and_floor(&self) -> Vec<&Program> {
        let mut programs = self.contestants();
        programs.push(&self.raw_hyper);
        programs
    }

    /// Starts a program with a Worker of `bench/workers` on the servers' core.
    pub(crate) fn start(&self, program: &Program, worker: &str) -> Result<Server, StartError> {
        self.start_on(program, worker, &self.source.join("workers").join(worker), &self.cores.server.to_string())
    }

    /// Starts a program with a Worker, whose project is somewhere, on some cores.
    pub(crate) fn start_on(
        &self,
        program: &Program,
        worker: &str,
        project: &Path,
        cores: &str,
    ) -> Result<Server, StartError> {
        let log = self.output.join("logs").join(format!("{}.log", program.runtime.name().replace(' ', "-")));
        program.start(worker, project, &self.source, cores, &log)
    }

    /// What was measured, and where.
    fn preface(&self, load_average: &str, complaints: &[String]) -> String {
        let versions: Vec<String> = self
            .contestants()
            .iter()
            .map(|program| format!("{} {}", program.runtime.product(), program.version))
            .collect();
        let (server, load) = (self.cores.server, self.cores.load);
        let mut text = format!(
            "# Skep beside its peers\n\n\
             - Machine: {}. Load average before: {load_average}.\n\
             - Versions: {}.\n\
             - Servers on core {server}, the load on core {load}; they took turns in {} rounds of {:?}. Numbers are medians of \
             the rounds. *skep is*: Skep's median over this server's. *per CPU*: the same of the work done in a second of \
             the server's processor time, which other programs on the machine disturb less; a promised ratio holds for both.\n\
             - *server*, *load* and *others*: how busy the server, the load generator and all other programs on the two \
             cores were.\n\
             - `skep dev` writes a line for each request, to a file; the others write none.\n",
            machine::describe(&self.cores),
            versions.join(", "),
            self.plan.rounds,
            self.plan.turn,
        );
        if server == load {
            text.push_str("- There is one core only: servers and load share it.\n");
        }
        for complaint in complaints {
            text.push_str(&format!("- {complaint} The run goes on without.\n"));
        }
        text.push('\n');
        text
    }
}
