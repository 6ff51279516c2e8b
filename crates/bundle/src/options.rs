//! What the command line says about a build.

use std::path::PathBuf;
use std::sync::Arc;

use skep_worker::CompatibilityDate;

/// What a build is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Development: secrets come from files, rebuilds are quick, `process.env.NODE_ENV` is `development`.
    #[default]
    Dev,
    /// A deploy: secrets stay where they are, unused code is left out, `process.env.NODE_ENV` is `production`.
    Deploy,
}

/// What the command line says about a build. Paths are seen from `folder`.
#[derive(Clone)]
pub struct Options {
    /// The folder to look for a configuration in, and then upward. Absolute.
    pub folder: PathBuf,
    /// What it is for.
    pub mode: Mode,
    /// Today, for a configuration without a compatibility date.
    pub today: CompatibilityDate,
    /// The configuration's file (`--config`).
    pub config: Option<PathBuf>,
    /// The script, in place of `main`.
    pub main: Option<PathBuf>,
    /// The environment (`--env`).
    pub environment: Option<String>,
    /// The Worker's name, in place of `name` (`--name`).
    pub name: Option<String>,
    /// The compatibility date, in place of `compatibility_date`.
    pub compatibility_date: Option<String>,
    /// Further compatibility flags.
    pub compatibility_flags: Vec<String>,
    /// Variables (`--var KEY:VALUE`): they win over all others.
    pub vars: Vec<(String, String)>,
    /// Files with secrets, in place of `.dev.vars` and `.env` (`--env-file`). The later one wins.
    pub env_files: Vec<PathBuf>,
    /// In place of `minify`.
    pub minify: Option<bool>,
    /// In place of `no_bundle`.
    pub no_bundle: Option<bool>,
    /// The value of `process.env.NODE_ENV`, in place of the mode's.
    pub node_env: Option<String>,
    /// Gets each line that the custom build command prints.
    pub command_output: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Options {
    /// The options of a command that says nothing.
    pub fn new(folder: impl Into<PathBuf>, mode: Mode, today: CompatibilityDate) -> Self {
        Self {
            folder: folder.into(),
            mode,
            today,
            config: None,
            main: None,
            environment: None,
            name: None,
            compatibility_date: None,
            compatibility_flags: Vec::new(),
            vars: Vec::new(),
            env_files: Vec::new(),
            minify: None,
            no_bundle: None,
            node_env: None,
            command_output: Arc::new(|_| {}),
        }
    }
}

/// Splits `KEY:VALUE` of `--var` at the first colon.
///
/// # Errors
/// There is no colon, or nothing before it: the message says how to write it.
pub fn parse_var(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("\"{text}\" is not a variable: write it as KEY:VALUE")),
    }
}
