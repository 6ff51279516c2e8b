//! Bundling: a script and all it imports become one module, with rolldown; what is not JavaScript stays beside it.
//!
//! <https://developers.cloudflare.com/workers/wrangler/bundling/>. In development the bundler keeps the graph of modules between
//! builds and reads only what changed. It trusts that graph only after a build that went well, and only for changes of files
//! that are in it; anything else is a new build.

pub(crate) mod additional;
mod memory;
mod options;
mod plugin;
mod refusals;
mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rolldown::{Bundle, BundleOutput};
use rolldown_common::{BundleMode, Output, OutputChunk, ScanMode};
use rolldown_error::BuildDiagnostic;
use sha1::{Digest, Sha1};
use skep_worker::{Binding, BindingKind, EntryFormat, Module, ModuleContent};

use self::memory::{Memory, lock};
use self::plugin::{WorkerPlugin, global_name};
use crate::config::Config;
use crate::diagnostic::{BuildError, Diagnostic};
use crate::files;
use crate::options::{Mode, Options};
use crate::rules::Rules;

/// What a script was made into.
#[derive(Debug)]
pub(crate) struct Bundled {
    /// The name of the main module.
    pub(crate) main: String,
    pub(crate) format: EntryFormat,
    /// The main module first.
    pub(crate) modules: Vec<Module>,
    /// Bindings that stand for modules: globals of the service worker format.
    pub(crate) bindings: Vec<Binding>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Every file that was read.
    pub(crate) inputs: BTreeSet<PathBuf>,
}

/// Makes bundles of one configuration, one after another.
pub(crate) struct Bundler {
    config: Arc<Config>,
    options: Options,
    format: EntryFormat,
    warm: Option<Warm>,
}

/// A graph of modules that a build left behind.
struct Warm {
    engine: rolldown::Bundler,
    memory: Arc<Mutex<Memory>>,
    additional: Vec<additional::File>,
    /// What rolldown warned of when it read everything.
    warnings: Vec<Diagnostic>,
    /// Files besides modules that decide the result: TypeScript configurations.
    settings: BTreeSet<PathBuf>,
}

impl Bundler {
    /// A bundler that has built nothing yet.
    pub(crate) fn new(config: Arc<Config>, options: Options) -> Self {
        Self { config, options, format: EntryFormat::Module, warm: None }
    }

    /// The next build is a new one: changes were not told.
    pub(crate) fn forget(&mut self) {
        self.warm = None;
    }

    /// Builds. With `changed`, only what these files concern, if that is possible.
    ///
    /// # Errors
    /// What rolldown finds, imports that cannot be found, files that no rule fits, a script without handlers.
    pub(crate) async fn build(&mut self, changed: Option<&[PathBuf]>) -> Result<Bundled, BuildError> {
        let additional = additional::find(&self.config);
        if let Some(mut warm) = self.warm.take() {
            let modules =
                changed.and_then(|changed| warm.modules_of(changed)).filter(|_| warm.additional == additional);
            if let Some(modules) = modules
                && let Some(output) = warm.rebuild(&modules).await
                && !lock(&warm.memory).is_incomplete()
                && let Ok(bundle) = self.finish(&mut warm, output.assets)
            {
                self.warm = Some(warm);
                return Ok(bundle);
            }
            // freeing a big graph takes a while, and nobody waits for it
            tokio::task::spawn_blocking(move || drop(warm));
        }
        self.build_anew(additional).await
    }

    async fn build_anew(&mut self, additional: Vec<additional::File>) -> Result<Bundled, BuildError> {
        let mut warm = self.start(additional)?;
        let result = warm.engine.generate().await;
        let output = match result {
            Ok(output) => output,
            Err(errors) => return Err(self.fail(&warm, &errors, &[])),
        };
        let (unresolved, warnings): (Vec<_>, Vec<_>) =
            output.warnings.into_iter().partition(report::Project::is_unresolved);
        if !unresolved.is_empty() {
            return Err(self.fail(&warm, &unresolved, &warnings));
        }
        let memory = Arc::clone(&warm.memory);
        warm.warnings = {
            let memory = lock(&memory);
            let project = report::Project { root: &self.config.root, memory: &memory };
            warnings.iter().filter_map(|warning| project.warning(warning)).collect()
        };
        if let Some(format) = self.other_format(&output.assets) {
            self.format = format;
            return Box::pin(self.build_anew(warm.additional)).await;
        }
        let bundle = self.finish(&mut warm, output.assets)?;
        self.warm = Some(warm).filter(|_| self.options.mode == Mode::Dev);
        Ok(bundle)
    }

    /// A rolldown that has read nothing yet.
    fn start(&self, additional: Vec<additional::File>) -> Result<Warm, BuildError> {
        let config = &self.config;
        let memory = Arc::<Mutex<Memory>>::default();
        let plugin = WorkerPlugin {
            root: config.root.clone(),
            alias: config.bundling.alias.iter().cloned().collect(),
            rules: Rules::new(&config.bundling.rules).0,
            module_root: config.bundling.base_dir.clone(),
            additional: additional.iter().map(|file| file.path.clone()).collect(),
            preserve_file_names: config.bundling.preserve_file_names,
            is_service_worker: self.format == EntryFormat::ServiceWorker,
            has_legacy_decorators: options::has_legacy_decorators(config),
            memory: Arc::clone(&memory),
        };
        let options = options::rolldown_options(config, &self.options, self.format);
        let engine = rolldown::Bundler::with_plugins(options, vec![Arc::new(plugin)]).map_err(|errors| {
            let project = report::Project { root: &config.root, memory: &lock(&memory) };
            BuildError::new(errors.iter().map(|error| project.error(error)).collect(), Vec::new())
        })?;
        Ok(Warm { engine, memory, additional, warnings: Vec::new(), settings: BTreeSet::new() })
    }

    /// The error for what rolldown found.
    fn fail(&self, warm: &Warm, errors: &[BuildDiagnostic], warnings: &[BuildDiagnostic]) -> BuildError {
        let memory = lock(&warm.memory);
        let root = &self.config.root;
        let project = report::Project { root, memory: &memory };
        let mut all: Vec<Diagnostic> = errors.iter().map(|error| project.error(error)).collect();
        all.extend(refusals::all(root, &memory));
        all.extend(project.missing(&all));
        let mut files: BTreeSet<PathBuf> =
            memory.files().into_iter().chain(warm.read_files()).chain([self.config.script().to_owned()]).collect();
        // what is missing may come: a file beside those that were read, or an installed package
        let mut watch_dirs: BTreeSet<PathBuf> =
            files.iter().filter_map(|file| file.parent()).map(Path::to_owned).collect();
        watch_dirs.retain(|folder| !folder.components().any(|part| part.as_os_str() == "node_modules"));
        files.extend(
            all.iter()
                .filter_map(|error| error.location.as_ref())
                .map(|location| files::absolute(root, &location.file)),
        );
        let packages = ["package.json", "node_modules/.package-lock.json"].map(|name| root.join(name));
        BuildError {
            errors: report::tidy(all),
            warnings: report::tidy(warnings.iter().filter_map(|warning| project.warning(warning)).collect()),
            inputs: files.into_iter().chain(packages).collect(),
            watch_dirs: watch_dirs.into_iter().collect(),
        }
    }

    /// The format that the script turns out to have, if it is not the one it was built for.
    /// A script without a default export that listens for events is a service worker.
    /// <https://developers.cloudflare.com/workers/reference/migrate-to-module-workers/>
    fn other_format(&self, assets: &[Output]) -> Option<EntryFormat> {
        let chunk = main_chunk(assets)?;
        let is_module = self.format == EntryFormat::Module;
        let listens = chunk.code.contains("addEventListener(");
        (is_module && listens && !chunk.exports.iter().any(|name| name.as_str() == "default"))
            .then_some(EntryFormat::ServiceWorker)
    }

    /// Takes what rolldown made and what the plugin saw.
    fn finish(&self, warm: &mut Warm, assets: Vec<Output>) -> Result<Bundled, BuildError> {
        let root = &self.config.root;
        warm.settings.extend(
            warm.read_files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "json")),
        );
        let memory = lock(&warm.memory);
        let mut inputs = memory.files();
        inputs.extend(warm.settings.iter().cloned());
        // one that is not there yet counts too
        inputs.insert(self.config.bundling.tsconfig.clone().unwrap_or_else(|| root.join("tsconfig.json")));
        inputs.extend(warm.additional.iter().map(|file| file.path.clone()));
        let fail = |errors: Vec<Diagnostic>| BuildError {
            watch_dirs: vec![self.config.bundling.base_dir.clone()],
            ..BuildError::new(report::tidy(errors), inputs.iter().cloned().collect())
        };
        let mut errors = refusals::all(root, &memory);
        let chunk = main_chunk(&assets).ok_or_else(|| {
            fail(vec![
                Diagnostic::error("the script is empty").hint("write a handler: export default { fetch() { … } }"),
            ])
        })?;
        if chunk.exports.is_empty() && self.format == EntryFormat::Module {
            errors.push(refusals::no_handlers(root, self.config.script()));
        }
        if self.format == EntryFormat::ServiceWorker {
            errors.extend(refusals::modules_in_a_service_worker(root, &memory));
        }
        if !errors.is_empty() {
            return Err(fail(errors));
        }
        let main = format!("{}.js", options::output_name(self.config.script()));
        let source_map = chunk.map.as_ref().map(|map| map.to_json_string().into());
        let content = ModuleContent::EsModule { source: chunk.code.as_str().into(), source_map };
        let mut modules = vec![Module { name: main.clone(), content }];
        let mut bindings = Vec::new();
        for (specifier, collected) in memory.collected() {
            let name = specifier.strip_prefix("./").unwrap_or(&specifier).to_owned();
            if self.format == EntryFormat::ServiceWorker {
                bindings.push(Binding { name: global_name(&specifier), kind: BindingKind::Module(name.clone()) });
            }
            let content = additional::content(root, &collected.path, collected.kind, collected.content)
                .map_err(|error| fail(vec![error]))?;
            modules.push(Module { name, content });
        }
        let mut warnings = warm.warnings.clone();
        warnings.extend(refusals::of_node(&self.config, &memory));
        modules.extend(additional::modules(&self.config, &warm.additional, &main).map_err(fail)?);
        Ok(Bundled { main, format: self.format, modules, bindings, warnings: report::tidy(warnings), inputs })
    }
}

impl Warm {
    /// The modules to read again for these changes; none if the graph is of no use for them.
    fn modules_of(&self, changed: &[PathBuf]) -> Option<BTreeSet<String>> {
        let memory = lock(&self.memory);
        let of = |file: &PathBuf| memory.modules_of(file).filter(|_| file.is_file() && !self.settings.contains(file));
        changed.iter().map(of).collect::<Option<Vec<_>>>().map(|modules| modules.into_iter().flatten().collect())
    }

    /// Builds after these modules changed; none if that did not work, or if they import other modules than before: the
    /// graph is trusted only as long as its edges are the same. What `import()` keeps alive is not trusted either: a
    /// partial build does not always leave out what no module imports dynamically any more.
    async fn rebuild(&mut self, modules: &BTreeSet<String>) -> Option<BundleOutput> {
        let memory = Arc::clone(&self.memory);
        if lock(&memory).has_dynamic_imports() {
            return None;
        }
        let before = lock(&memory).imports_of(modules);
        let scan = ScanMode::Partial(modules.iter().map(|id| id.as_str().into()).collect());
        let build = async |bundle: &mut Bundle| {
            let graph = bundle.scan_modules(scan).await?;
            if lock(&memory).imports_of(modules) != before {
                return Ok(None);
            }
            bundle.bundle_generate(graph).await.map(Some)
        };
        self.engine.with_cached_bundle_experimental(BundleMode::IncrementalBuild, build).await.ok().flatten()
    }

    /// The files that rolldown read in its last build.
    fn read_files(&self) -> BTreeSet<PathBuf> {
        self.engine
            .watch_files()
            .iter()
            .map(|file| PathBuf::from(file.as_str()))
            .filter(|file| file.is_absolute())
            .collect()
    }
}

fn main_chunk(assets: &[Output]) -> Option<&OutputChunk> {
    assets.iter().find_map(|asset| match asset {
        Output::Chunk(chunk) => Some(&**chunk),
        Output::Asset(_) => None,
    })
}

/// The hash that names a module: SHA-1 in hexadecimal, as wrangler has it.
fn sha1_hex(content: &[u8]) -> String {
    Sha1::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
