//! Builds the dashboard's pages into `dashboard/dist`, which is committed: who builds Skep needs no Node.js.

use std::process::Command;

use crate::{Outcome, process, root};

pub(crate) fn run() -> Outcome {
    let folder = root().join("dashboard");
    // Scripts of packages are not needed, so nobody's run.
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    process::run(Command::new("npm").args(install).current_dir(&folder))?;
    process::run(Command::new("npm").args(["run", "build"]).current_dir(&folder))
}
