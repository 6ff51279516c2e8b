//! `skep completions`: what a shell needs to complete commands.

use clap::Args;
use clap_complete::Shell;

use crate::commands::Outcome;
use crate::output;

/// Print the completions for a shell
///
/// For bash: skep completions bash > ~/.local/share/bash-completion/completions/skep
#[derive(Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, mut command: clap::Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "skep", &mut script);
    output::raw(&script);
    Ok(())
}
