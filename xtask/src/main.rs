//! `cargo xtask`: everything a person types to work on Skep.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to a person at a terminal")]

mod bench;
mod dashboard;
mod demo;
mod fuzz;
mod process;
mod setup;
mod test;

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a task answers: nothing, or an error that says what to do.
type Outcome = Result<(), Box<dyn Error>>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Everything a person types to work on Skep")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Makes this machine ready to build: puts the V8 library where its build script looks
    Setup,
    /// Builds Skep, starts `skep dev` on examples/hello, asks it something, shows the answer and stops
    Demo,
    /// Builds the dashboard's pages into dashboard/dist, which is committed
    Dashboard,
    /// Runs everything that must pass: format, lints, tests, dependency rules
    Test,
    /// Builds Skep and measures it side by side with its peers; `--help` says how
    #[command(disable_help_flag = true)]
    Bench {
        /// Options of the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
        arguments: Vec<OsString>,
    },
    /// Feeds random input to what reads texts of other people: uploads, configurations, routes, rules
    Fuzz(fuzz::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Dashboard => dashboard::run(),
        Task::Demo => demo::run(),
        Task::Test => test::run(),
        Task::Bench { arguments } => bench::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Where cargo puts what it builds.
fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The `skep` binary that [`demo`] and the tests use.
fn skep_binary() -> PathBuf {
    binary("skep")
}

/// A binary of the workspace.
fn binary(name: &str) -> PathBuf {
    target_dir().join("debug").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
