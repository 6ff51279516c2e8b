//! The benchmark: builds Skep and `skep-bench`, and runs the second. What it measures is in `bench/`.

use std::ffi::OsString;
use std::process::Command;

use crate::process::{self, cargo};
use crate::{Outcome, binary, setup};

pub(crate) fn run(arguments: &[OsString]) -> Outcome {
    setup::run()?;
    // Together, so that what both need is built once.
    process::run(&mut cargo(["build", "--package", "skep", "--package", "skep-bench"]))?;
    process::run(Command::new(binary("skep-bench")).args(arguments))
}
