//! `skep types`: writes the TypeScript declarations of a project's bindings.

use std::path::PathBuf;

use clap::Args;
use skep_bundle::{Mode, Project};

use crate::commands::{Outcome, today};
use crate::output;

/// Write worker-configuration.d.ts: what `env` holds, by the configuration and the secrets
#[derive(Args)]
pub(crate) struct Arguments {
    /// The file to write, in place of worker-configuration.d.ts beside the configuration
    path: Option<PathBuf>,
    /// The configuration's file
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The environment of the configuration
    #[arg(long, short, value_name = "NAME", env = "CLOUDFLARE_ENV")]
    env: Option<String>,
    /// Write nothing; fail if the file is not what it would be
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let here = std::env::current_dir()?;
    let project = Project::open(skep_bundle::Options {
        config: arguments.config.clone(),
        environment: arguments.env.clone(),
        ..skep_bundle::Options::new(&here, Mode::Dev, today())
    })?;
    for warning in project.warnings() {
        output::warning(&warning.to_string());
    }
    let path = match &arguments.path {
        Some(path) => here.join(path),
        None => project.config().root.join("worker-configuration.d.ts"),
    };
    let folder = path.parent().unwrap_or(&here);
    let text = skep_bundle::types::declarations(&project, folder);
    let shown = path.strip_prefix(&here).unwrap_or(&path).display().to_string();
    if arguments.check {
        let current = std::fs::read_to_string(&path).unwrap_or_default();
        if current == text {
            output::line(&format!("{shown} is up to date"));
            return Ok(());
        }
        return Err(format!("{shown} is out of date: run `skep types`").into());
    }
    std::fs::write(&path, text).map_err(|error| format!("cannot write {shown}: {error}"))?;
    output::line(&format!("Wrote {shown}"));
    Ok(())
}
