//! Everything that must pass.

use std::process::{Command, Stdio};

use crate::process::{self, cargo};
use crate::{Outcome, demo, setup};

/// Tools that cargo may not have yet: the subcommand, the package and its version.
const TOOLS: [(&str, &str, &str); 2] = [("nextest", "cargo-nextest", "0.9.151"), ("deny", "cargo-deny", "0.20.2")];

pub(crate) fn run() -> Outcome {
    setup::run()?;
    for (subcommand, package, version) in TOOLS {
        install(subcommand, package, version)?;
    }
    process::run(&mut cargo(["fmt", "--all", "--check"]))?;
    demo::run()?;
    process::run(&mut cargo(["nextest", "run", "--workspace"]))?;
    process::run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    process::run(&mut cargo(["deny", "check", "bans", "licenses", "sources"]))
}

fn install(subcommand: &str, package: &str, version: &str) -> Outcome {
    let installed = cargo([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if installed {
        return Ok(());
    }
    println!("cargo-{subcommand} is missing: installing it");
    let mut command: Command = cargo(["install", "--locked", "--debug", package, "--version", version]);
    // Nobody debugs it, and it is built once.
    process::run(command.env("CARGO_PROFILE_DEV_DEBUG", "0"))
}
