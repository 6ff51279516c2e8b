//! The build thread: builds the project, starts its version in an isolate, and does so again when files change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_bundle::{Build, BuildError, Diagnostic, Options, Project};
use skep_isolate::{Slot, StartError};
use skep_worker::{ModuleContent, Version};

use crate::live::LiveSender;
use crate::page::Problem;
use crate::printer::Printer;
use crate::watch::{Changes, Watcher};

/// Who is told of a project that was read, or why it cannot be.
pub(crate) type Opened = Box<dyn FnOnce(Result<&Project, BuildError>) + Send>;

/// What the thread needs besides the project.
pub(crate) struct Builder {
    pub(crate) options: Options,
    pub(crate) live: LiveSender,
    pub(crate) printer: Printer,
    pub(crate) isolate: Box<dyn Fn(Arc<Version>) -> skep_isolate::Options + Send>,
    /// Told of the project once it is read, or why it cannot be.
    pub(crate) opened: Opened,
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
        let mut first = true;
        loop {
            let (inputs, folders) = match &built {
                Ok(build) => (build.inputs.clone(), build.watch_dirs.clone()),
                Err(error) => (error.inputs.clone(), error.watch_dirs.clone()),
            };
            // Before the version is live: a file that is saved from then on counts.
            watcher.watch(&inputs, &folders);
            match built {
                Ok(build) => self.start(build, begun, first).await,
                Err(error) => self.report(&error),
            }
            first = false;
            let Some(Changes(changed)) = watcher.changes(|| self.live.building()).await else { return };
            begun = Instant::now();
            built = project.rebuild(&changed).await;
        }
    }

    async fn start(&mut self, build: Build, begun: Instant, first: bool) {
        for warning in &build.warnings {
            self.printer.error_line(&self.warning(warning));
        }
        for warning in build.version.compatibility.not_honoured() {
            self.printer.error_line(&self.printer.paint("33", &format!("warning: {warning}")));
        }
        if build.assets.is_some() {
            let warning =
                "warning: skep dev does not serve static assets yet: requests go to the Worker. `skep serve` does";
            self.printer.error_line(&self.printer.paint("33", warning));
        }
        if !build.version.has_script() {
            let text = "This project has static assets only, which skep dev does not serve yet: deploy it to `skep serve`, or use `wrangler dev`.";
            let problem = Problem { title: "There is no Worker to run", text: text.to_owned() };
            self.print_problem(&problem);
            return self.live.broken(problem);
        }
        let root = project_root(&build);
        let version = Arc::new(with_source_root(build.version, &root));
        let slot = Slot::new((self.isolate)(Arc::clone(&version)));
        match slot.isolate().await {
            Ok(_) => {
                self.live.ready(slot);
                if !first {
                    let time = milliseconds(begun.elapsed());
                    self.printer.line(&self.printer.paint("2", &format!("Reloaded in {time} ms")));
                }
            }
            Err(error) => {
                let problem = start_problem(&error);
                self.print_problem(&problem);
                self.live.broken(problem);
            }
        }
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
