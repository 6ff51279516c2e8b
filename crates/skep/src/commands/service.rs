//! `skep service`: the platform as a service of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, Subcommand};
use skep_serve::Service;

use crate::commands::Outcome;
use crate::output;

/// Run the platform as a service of systemd
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Install(Install),
}

/// Write a hardened unit for this program, with its state in /var/lib/skep
#[derive(Args)]
struct Install {
    /// The file of settings
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file of the master key that only root can read
    #[arg(long, value_name = "FILE")]
    master_key_file: Option<PathBuf>,
    /// How long requests may take to finish when it is stopped, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace_seconds: u64,
    /// The folder of units
    #[arg(long, value_name = "DIR", default_value = "/etc/systemd/system")]
    unit_dir: PathBuf,
    /// Show the unit and write nothing
    #[arg(long)]
    print: bool,
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    let Verb::Install(install) = arguments.command;
    let absolute = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
    let service = Service {
        program: std::env::current_exe()?,
        config: absolute(install.config)?,
        master_key: absolute(install.master_key_file)?,
        grace_seconds: install.grace_seconds,
    };
    if install.print {
        output::line(service.unit()?.trim_end());
        return Ok(());
    }
    let path = service.install(&install.unit_dir)?;
    output::line(&format!("Written to {}", path.display()));
    // Where systemd runs, it reads what is new.
    if Path::new("/run/systemd/system").exists() {
        let reloaded = Command::new("systemctl").arg("daemon-reload").status()?;
        if !reloaded.success() {
            return Err("`systemctl daemon-reload` failed: run it as root".into());
        }
    }
    output::line("Start it now and at every boot:");
    output::line("  systemctl enable --now skep");
    output::line("The API token is in /var/lib/skep/admin-token then; `journalctl -u skep` shows what it says.");
    Ok(())
}
