//! The configuration of a Worker: `wrangler.jsonc`, `wrangler.json` or `wrangler.toml`, seen from one environment.
//!
//! Reads, checks and explains; it opens no file that the configuration names. Keys, defaults and what environments inherit
//! follow <https://developers.cloudflare.com/workers/wrangler/configuration/>.

pub(crate) mod bindings;
mod deploy;
mod find;
mod keys;
mod read;
mod sections;
pub(crate) mod settings;

pub use deploy::{Deploy, Route};
pub use read::is_valid_name;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use skep_worker::{Binding, Compatibility, Limits};

use crate::diagnostic::{BuildError, Diagnostic, Location};
use crate::document::Document;
use crate::files;
use crate::options::Options;
use crate::rules::Rule;

/// What a configuration says for one environment. Paths are absolute.
#[derive(Clone, Debug)]
pub struct Config {
    /// The configuration's file; none if only a script was named.
    pub path: Option<PathBuf>,
    /// The project's folder: where the configuration that the person wrote is.
    pub root: PathBuf,
    /// The Worker's name, with the environment's name behind it. None if nobody gave one.
    pub name: Option<String>,
    /// The environment.
    pub environment: Option<String>,
    /// Every environment that the configuration names.
    pub environments: Vec<String>,
    /// The script that holds the handlers. None if there are only assets.
    pub main: Option<PathBuf>,
    /// Compatibility date and flags.
    pub compatibility: Compatibility,
    /// Variables and all other bindings that need no file: secrets come from elsewhere.
    pub bindings: Vec<Binding>,
    /// The names that `secrets.required` lists, if it is there: then only they and variables are taken from env files.
    pub required_secrets: Option<Vec<String>>,
    /// What it may use.
    pub limits: Limits,
    /// Cron expressions.
    pub crons: Vec<String>,
    /// Settings of the development server.
    pub dev: Dev,
    /// What concerns deploys only.
    pub deploy: Deploy,
    /// Logs and traces.
    pub observability: Observability,
    /// Static files.
    pub assets: Option<Assets>,
    /// Whether a deploy uploads source maps.
    pub upload_source_maps: bool,
    /// The command that makes the script.
    pub build: Option<CustomBuild>,
    /// How the script is bundled.
    pub bundling: Bundling,
    /// The text it came from.
    pub(crate) document: Document,
}

/// How a script is bundled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bundling {
    /// Take the script as it is.
    pub no_bundle: bool,
    /// Make it small.
    pub minify: bool,
    /// Keep the names of functions and classes while doing so.
    pub keep_names: bool,
    /// Identifiers that are replaced by expressions.
    pub define: Vec<(String, String)>,
    /// Modules that are replaced by others.
    pub alias: Vec<(String, String)>,
    /// What kind of module a file is that is not bundled.
    pub rules: Vec<Rule>,
    /// Whether all files that fit a rule are uploaded.
    pub find_additional_modules: bool,
    /// The folder in which they are looked for.
    pub base_dir: PathBuf,
    /// Name modules that are not bundled by their file instead of by their content.
    pub preserve_file_names: bool,
    /// The TypeScript configuration, if it is not the nearest one.
    pub tsconfig: Option<PathBuf>,
    /// The function that JSX elements call.
    pub jsx_factory: Option<String>,
    /// The component that JSX fragments are.
    pub jsx_fragment: Option<String>,
    /// Files that become bindings, in the service worker format: binding, kind, file.
    pub blobs: Vec<(String, crate::rules::RuleKind, PathBuf)>,
}

/// Settings of the development server (`dev`). What is not there is the server's choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dev {
    /// The address to listen on.
    pub ip: Option<IpAddr>,
    /// The port to listen on.
    pub port: Option<u16>,
    /// The port of the debugger.
    pub inspector_port: Option<u16>,
    /// Whether to serve https.
    pub https: bool,
    /// The host that the Worker sees.
    pub host: Option<String>,
}

/// Logs and traces (`observability`).
#[derive(Clone, Debug, PartialEq)]
pub struct Observability {
    /// Whether logs are kept.
    pub enabled: bool,
    /// The share of requests that are kept, from 0 to 1.
    pub head_sampling_rate: f64,
    /// Whether a line is kept for each invocation.
    pub invocation_logs: bool,
}

/// Static files (`assets`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assets {
    /// The folder.
    pub directory: Option<PathBuf>,
    /// The binding's name.
    pub binding: Option<String>,
    /// The settings. `_headers` and `_redirects` are read with the folder.
    pub settings: skep_assets::Config,
    /// Where the configuration names the folder.
    pub(crate) location: Option<Location>,
}

/// The command that makes the script (`build`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomBuild {
    /// The command, for a shell.
    pub command: String,
    /// The folder to run it in.
    pub cwd: PathBuf,
    /// The folders whose changes make it run again.
    pub watch_dirs: Vec<PathBuf>,
}

impl Config {
    /// The script. Only what builds one asks for it: there is no build of a script without one.
    pub(crate) fn script(&self) -> &Path {
        self.main.as_deref().unwrap_or(Path::new(""))
    }
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// What may not be as meant.
    pub(crate) warnings: Vec<Diagnostic>,
    /// The files that were read.
    pub(crate) inputs: Vec<PathBuf>,
}

/// Finds and reads the configuration that the options ask for.
///
/// # Errors
/// There is none, it is not JSON or TOML, a value is of the wrong kind or does not make sense.
pub(crate) fn load(options: &Options) -> Result<Loaded, BuildError> {
    let script = options.main.as_ref().map(|main| files::absolute(&options.folder, main));
    let start =
        script.as_deref().and_then(Path::parent).filter(|_| options.config.is_none()).unwrap_or(&options.folder);
    let found = find::find(start, options.config.as_deref())?;
    let root = found
        .user_path
        .as_deref()
        .or(found.path.as_deref())
        .and_then(Path::parent)
        .unwrap_or(&options.folder)
        .to_owned();
    let mut inputs = found.inputs.clone();
    inputs.extend(found.path.clone());
    let fail = |errors| BuildError::new(errors, inputs.clone());
    let document = match &found.path {
        Some(path) => {
            let text = files::read_text(&root, path).map_err(|error| fail(vec![error]))?;
            Document::parse(&files::shown(&root, path), text).map_err(fail)?
        }
        None if script.is_some() => Document::empty(),
        None => {
            let folder = options.folder.display();
            let error = Diagnostic::error(format!(
                "there is no wrangler.jsonc, wrangler.json or wrangler.toml in {folder} or above it"
            ));
            return Err(fail(vec![
                error.hint("make a project with `skep init`, or name a script: `skep dev src/index.ts`"),
            ]));
        }
    };
    match read::read(options, &document, &root, &found, script) {
        Ok((config, warnings)) => Ok(Loaded { config: Config { document, ..config }, warnings, inputs }),
        Err(read::Findings { errors, warnings }) => Err(BuildError { warnings, ..fail(errors) }),
    }
}
