//! The build thread: builds the project, starts its version in an isolate, and does so again when files change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_bundle::{Build, BuildError, Diagnostic, Options, Project};
use skep_isolate::{Rates, Slot, StartError};
use skep_worker::{BindingKind, ModuleContent, Version};

use crate::assets::Assets;
use crate::live::LiveSender;
use crate::page::Problem;
use crate::printer::Printer;
use crate::served::Served;
use crate::services::DevServices;
use crate::watch::{Changes, Watcher};

/// Who is told of a project that was read, or why it cannot be.
pub(crate) type Opened = Box<dyn FnOnce(Result<&Project, BuildError>) + Send>;

/// What the thread needs besides the project.
pub(crate) struct Builder {
    pub(crate) options: Options,
    pub(crate) live: LiveSender,
    pub(crate) printer: Printer,
    pub(crate) isolate: Box<dyn Fn(Arc<Version>, Arc<DevServices>) -> skep_isolate::Options + Send>,
    /// Told of the project once it is read, or why it cannot be.
    pub(crate) opened: Opened,
}

/// The version whose isolate is live.
struct Running {
    version: Arc<Version>,
    slot: Arc<Slot>,
    services: Arc<DevServices>,
}

impl Builder {
    /// Builds until the receiver of changes is closed. A project that cannot be read at the start is not built.
    pub(crate) async fn run(mut self, mut watcher: Watcher) {
        let opened = std::mem::replace(&mut self.opened, Box::new(|_| {}));
        let mut project = match open(&self.options) {
            Ok(project) => project,
            Err(error) => return opened(Err(error)),
        };
        opened(Ok(&project));
        let mut begun = Instant::now();
        let mut built = project.build().await;
        let mut changed: Option<Vec<PathBuf>> = None;
        let mut running = None;
        let rates = Arc::default();
        loop {
            let (inputs, folders) = match &built {
                Ok(build) => (build.inputs.clone(), build.watch_dirs.clone()),
                Err(error) => (error.inputs.clone(), error.watch_dirs.clone()),
            };
            // Before the version is live: a file that is saved from then on counts.
            watcher.watch(&inputs, &folders);
            match built {
                Ok(build) => {
                    self.warn(&build);
                    match self.start(build, changed.as_deref(), &mut running, &rates).await {
                        Ok(served) => {
                            self.live.ready(served);
                            if changed.is_some() {
                                let time = milliseconds(begun.elapsed());
                                self.printer.line(&self.printer.paint("2", &format!("Reloaded in {time} ms")));
                            }
                        }
                        Err(problem) => {
                            self.print_problem(&problem);
                            self.live.broken(problem);
                        }
                    }
                }
                Err(error) => self.report(&error),
            }
            let Some(Changes(paths)) = watcher.changes(|| self.live.building()).await else { return };
            begun = Instant::now();
            built = project.rebuild(&paths).await;
            changed = Some(paths);
        }
    }

    fn warn(&self, build: &Build) {
        for warning in &build.warnings {
            self.printer.error_line(&self.warning(warning));
        }
        let not_honoured = build.version.compatibility.not_honoured();
        let others = build.version.bindings.iter().filter_map(|binding| match &binding.kind {
            BindingKind::Service { worker, .. } if *worker != build.version.worker => Some(format!(
                "the binding \"{}\" is to the Worker \"{worker}\", and skep dev runs one Worker: each use throws",
                binding.name
            )),
            _ => None,
        });
        for warning in not_honoured.into_iter().chain(others) {
            self.printer.error_line(&self.printer.paint("33", &format!("warning: {warning}")));
        }
    }

    /// Makes what a build gave ready for requests. A version that is running goes on if only assets changed.
    async fn start(
        &self,
        build: Build,
        changed: Option<&[PathBuf]>,
        running: &mut Option<Running>,
        rates: &Arc<Rates>,
    ) -> Result<Served, Problem> {
        let assets = build.assets.as_ref().map(|built| Arc::new(Assets::new(built, &build.version)));
        if !build.version.has_script() {
            *running = None;
            return Ok(Served { slot: None, assets });
        }
        let are_assets = |paths: &[PathBuf]| {
            let folder = build.assets.as_ref().map(|built| &built.directory);
            folder.is_some_and(|folder| paths.iter().all(|path| path.starts_with(folder)))
        };
        let only_assets = changed.is_some_and(are_assets);
        let root = project_root(&build);
        let version = with_source_root(build.version, &root);
        if let Some(running) = running.as_ref().filter(|running| only_assets && *running.version == version) {
            running.services.replace_assets(assets.clone());
            return Ok(Served { slot: Some(Arc::clone(&running.slot)), assets });
        }
        let version = Arc::new(version);
        let services = Arc::new(DevServices::new(assets.clone(), Arc::clone(rates)));
        let slot = Slot::new((self.isolate)(Arc::clone(&version), Arc::clone(&services)));
        slot.isolate().await.map_err(|error| start_problem(&error))?;
        *running = Some(Running { version, slot: Arc::clone(&slot), services });
        Ok(Served { slot: Some(slot), assets })
    }

    fn report(&self, error: &BuildError) {
        for warning in &error.warnings {
            self.printer.error_line(&self.warning(warning));
        }
        let problem = Problem { title: "The project could not be built", text: error.to_string() };
        self.print_problem(&problem);
        self.live.broken(problem);
    }

    fn print_problem(&self, problem: &Problem) {
        self.printer.error_line(&format!(
            "{} {}\n\n{}\n",
            self.printer.paint("31;1", "✘"),
            problem.title,
            problem.text
        ));
    }

    fn warning(&self, warning: &Diagnostic) -> String {
        self.printer.paint("33", &warning.to_string())
    }
}

/// Reads a project. Its script must be there, unless a command of its own makes it.
fn open(options: &Options) -> Result<Project, BuildError> {
    let project = Project::open(options.clone())?;
    if project.config().build.is_none() {
        project.check_main()?;
    }
    Ok(project)
}

fn milliseconds(duration: Duration) -> u128 {
    duration.as_micros().div_ceil(1000)
}

fn start_problem(error: &StartError) -> Problem {
    let text = match error {
        StartError::Exception(failure) if !failure.stack.is_empty() => failure.stack.clone(),
        other => other.to_string(),
    };
    Problem { title: "The Worker threw while its modules were loaded", text }
}

/// The folder that the build's paths are relative to: the one of its configuration, which is an input.
fn project_root(build: &Build) -> PathBuf {
    let configurations: BTreeSet<&str> = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"].into();
    build
        .inputs
        .iter()
        .find(|input| input.file_name().is_some_and(|name| configurations.contains(name.to_string_lossy().as_ref())))
        .and_then(|input| input.parent())
        .map_or_else(PathBuf::new, Path::to_owned)
}

/// A version whose source maps say where the sources are on this machine, so that a debugger finds them and a stack
/// trace can be clicked.
fn with_source_root(mut version: Version, root: &Path) -> Version {
    let Ok(url) = url::Url::from_directory_path(root) else { return version };
    for module in &mut version.modules {
        if let ModuleContent::EsModule { source_map: Some(map), .. } = &mut module.content
            && let Some(rest) = map.strip_prefix('{')
        {
            *map = format!("{{\"sourceRoot\":{},{rest}", serde_json::Value::from(url.as_str())).into();
        }
    }
    version
}
