//! The flags that say which project, and which Worker, a command is about.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use skep_bundle::{Build, Mode, Options, Project};

use crate::commands::today;
use crate::output;

/// Which Worker.
#[derive(Args)]
pub(crate) struct Selection {
    /// The Worker's name, in place of the configuration's
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The configuration's file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The environment of the configuration
    #[arg(long, short, value_name = "NAME", env = "CLOUDFLARE_ENV")]
    pub(crate) env: Option<String>,
}

impl Selection {
    /// What the flags say of a project.
    fn options(&self) -> Result<Options, Box<dyn Error>> {
        Ok(Options {
            config: self.config.clone(),
            environment: self.env.clone(),
            name: self.name.clone(),
            ..Options::new(std::env::current_dir()?, Mode::Deploy, today())
        })
    }

    /// The Worker's name.
    pub(crate) fn worker(&self) -> Result<String, Box<dyn Error>> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let project = Project::open(self.options()?)
            .map_err(|error| format!("{error}\nName the Worker with --name, or run this in its project"))?;
        let name = project.config().name.clone();
        Ok(name.ok_or("the configuration gives the Worker no name: add \"name\" to it, or use --name")?)
    }
}

/// How a project is built.
#[derive(Args)]
pub(crate) struct BuildArguments {
    /// The script, in place of `main` of the configuration
    script: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// A variable for the Worker, in place of the configuration's
    #[arg(long = "var", value_name = "KEY:VALUE", value_parser = skep_bundle::parse_var)]
    vars: Vec<(String, String)>,
    /// The compatibility date, in place of the configuration's
    #[arg(long, value_name = "YYYY-MM-DD")]
    compatibility_date: Option<String>,
    /// A further compatibility flag
    #[arg(long = "compatibility-flag", visible_alias = "compatibility-flags", value_name = "FLAG")]
    compatibility_flags: Vec<String>,
    /// Make the code small
    #[arg(long)]
    minify: bool,
    /// Take the files as they are
    #[arg(long)]
    no_bundle: bool,
    /// Why this is uploaded
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// A name for the version
    #[arg(long, value_name = "TEXT")]
    pub(crate) tag: Option<String>,
    /// Keep variables that were set elsewhere
    #[arg(long)]
    pub(crate) keep_vars: bool,
    /// Build only: send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// A folder for what is uploaded
    #[arg(long, value_name = "DIR")]
    pub(crate) outdir: Option<PathBuf>,
}

impl BuildArguments {
    /// Builds the project. Warnings are shown, unless the output is for a program.
    pub(crate) async fn build(&self, for_programs: bool) -> Result<(Project, Build), Box<dyn Error>> {
        let mut project = Project::open(Options {
            main: self.script.clone(),
            compatibility_date: self.compatibility_date.clone(),
            compatibility_flags: self.compatibility_flags.clone(),
            vars: self.vars.clone(),
            minify: self.minify.then_some(true),
            no_bundle: self.no_bundle.then_some(true),
            // What a build command prints is no result.
            command_output: Arc::new(output::warning),
            ..self.selection.options()?
        })?;
        let build = project.build().await?;
        for warning in build.warnings.iter().filter(|_| !for_programs) {
            output::warning(&warning.to_string());
        }
        Ok((project, build))
    }
}
