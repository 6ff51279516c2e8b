//! `skep runtime`: a process that runs Workers, which `skep serve` starts.

use std::sync::Arc;

use clap::Args;

use crate::commands::Outcome;
use crate::output;

/// Run Workers for `skep serve`, which starts this itself
#[derive(Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments) -> Outcome {
    Ok(skep_runtime::run(Arc::new(output::line))?)
}
