//! Everything that must pass.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::process::{self, cargo};
use crate::{Outcome, demo, root, setup};

/// Tools that cargo may not have yet: the subcommand, the package and its version.
const TOOLS: [(&str, &str, &str); 2] = [("nextest", "cargo-nextest", "0.9.151"), ("deny", "cargo-deny", "0.20.2")];

/// Programs of Debian's packages that tests use: the program and its package.
const PROGRAMS: [(&str, &str); 4] =
    [("chromium", "chromium"), ("pebble", "pebble"), ("python3", "python3-venv"), ("promtool", "prometheus")];

pub(crate) fn run() -> Outcome {
    setup::run()?;
    for (program, package) in PROGRAMS {
        install_program(program, package)?;
    }
    for (subcommand, package, version) in TOOLS {
        install(subcommand, package, version)?;
    }
    process::run(&mut cargo(["fmt", "--all", "--check"]))?;
    demo::run()?;
    process::run(&mut Command::new(root().join("deploy/test.sh")))?;
    process::run(&mut cargo(["nextest", "run", "--workspace"]))?;
    process::run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    process::run(&mut cargo(["deny", "check", "bans", "licenses", "sources"]))
}

/// A program of the system: installed where this is Debian and we may, asked for elsewhere. Not for tests without a network.
fn install_program(program: &str, package: &str) -> Outcome {
    let is_there = |folder: PathBuf| folder.join(program).exists();
    if std::env::var_os("SKEP_OFFLINE").is_some_and(|value| value == "1") {
        return Ok(());
    }
    if std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(is_there)) {
        return Ok(());
    }
    println!("{program} is missing: installing the package {package}");
    let apt = |arguments: &[&str]| {
        process::run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let installed = apt(&["update", "--quiet=2"]).and_then(|()| apt(&["install", "--yes", "--quiet=2", package]));
    installed.map_err(|error| {
        format!("{error}. Install it by hand, such as with `sudo apt-get install {package}`, or set SKEP_OFFLINE=1 to leave out the tests that need it").into()
    })
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
