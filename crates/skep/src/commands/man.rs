//! `skep man`: the manual.

use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man;

use crate::commands::Outcome;
use crate::output;

/// Print the manual page, or write a page for each command
#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder for the pages, such as ~/.local/share/man/man1
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, command: clap::Command) -> Outcome {
    let Some(folder) = &arguments.out else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        output::raw(&page);
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    clap_mangen::generate_to(command, folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    output::line(&format!("Wrote the pages into {}", folder.display()));
    Ok(())
}
