//! The `skep` command: arguments in, an exit code out. What a command does is in the room it is named for.

#![forbid(unsafe_code)]

mod commands;
mod output;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

use crate::commands::{dev, init, serve, service, types};

/// A request is allocated on one thread and freed on another, which glibc's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serverless on your own machines: write the logic that handles a request, run one command, and it is live
#[derive(Parser)]
#[command(name = "skep", version, about, propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Dev(dev::Arguments),
    Serve(serve::Arguments),
    Service(service::Arguments),
    Types(types::Arguments),
}

fn main() -> ExitCode {
    let begun = Instant::now();
    let outcome = match Arguments::parse().command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Dev(arguments) => dev::run(arguments, begun),
        Command::Serve(arguments) => serve::run(arguments, begun),
        Command::Service(arguments) => service::run(arguments),
        Command::Types(arguments) => types::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
