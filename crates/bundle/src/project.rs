//! A project: its configuration, its secrets and its script together, built once or again and again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use sha1::{Digest, Sha1};
use skep_worker::{Binding, BindingKind, EntryFormat, Limit, LimitExceeded, Module, ModuleContent, Secret, Version};

use crate::assets::{self, BuiltAssets};
use crate::bundler::{Bundled, Bundler, additional};
use crate::config::{self, Config, CustomBuild, Loaded};
use crate::diagnostic::{BuildError, Diagnostic};
use crate::options::{Mode, Options};
use crate::rules::Rules;
use crate::{custom_build, dotenv, files, no_bundle};

/// What a build gives.
#[derive(Clone, Debug)]
pub struct Build {
    /// The Worker's version. Its id is a hash of all that is in it, in the form of a UUID: the same for the same input. A project
    /// that has only assets has a version without modules ([`Version::has_script`]), for which no isolate is to be started.
    pub version: Version,
    /// The static files, if the project has a folder of them. They are no part of the version's id: a build after a change of
    /// assets only has the same version, which can go on running.
    pub assets: Option<BuiltAssets>,
    /// What may not be as meant.
    pub warnings: Vec<Diagnostic>,
    /// Every file that was read or looked for: a change in one of them may change the version.
    pub inputs: Vec<PathBuf>,
    /// Folders in which a new file may change the version, at any depth, `node_modules` and `.wrangler` left out.
    pub watch_dirs: Vec<PathBuf>,
}

/// A build that runs. Boxed, so that the bundler's code is compiled in this crate and not in each that builds.
pub type Building<'a> = Pin<Box<dyn Future<Output = Result<Build, BuildError>> + Send + 'a>>;

/// A project on disk.
pub struct Project {
    options: Options,
    config: Arc<Config>,
    /// Secrets from files, and the files that were looked for.
    secrets: dotenv::EnvFiles,
    /// Files that decide the configuration.
    settings: BTreeSet<PathBuf>,
    warnings: Vec<Diagnostic>,
    bundler: Bundler,
    /// The static files of the last build.
    assets: Option<BuiltAssets>,
    /// The configuration changed and could not be read: it is read again before the next build.
    is_stale: bool,
}

impl Project {
    /// Reads a project's configuration and secrets. Builds nothing yet.
    ///
    /// # Errors
    /// All that is wrong with these files.
    pub fn open(mut options: Options) -> Result<Self, BuildError> {
        // the bundler speaks of files by their real paths
        options.folder = options.folder.canonicalize().map_err(|error| {
            let message = format!("cannot open the folder {}: {error}", options.folder.display());
            Diagnostic::error(message).hint("check the path")
        })?;
        let Loaded { config, mut warnings, inputs } = config::load(&options)?;
        let mut settings: BTreeSet<PathBuf> = inputs.into_iter().collect();
        let secrets = read_secrets(&config, &options).map_err(|(errors, files)| {
            settings.extend(files);
            BuildError::new(errors, settings.iter().cloned().collect())
        })?;
        settings.extend(secrets.inputs.iter().cloned());
        if let Some(required) = config.required_secrets.as_ref().filter(|_| options.mode == Mode::Dev) {
            let missing: Vec<&str> =
                required.iter().filter(|name| !secrets.values.contains_key(*name)).map(String::as_str).collect();
            if !missing.is_empty() {
                let warning = Diagnostic::warning(format!("required secrets are missing: {}", missing.join(", ")));
                warnings.push(warning.hint("add them to .dev.vars"));
            }
        }
        warnings.extend(Rules::new(&config.bundling.rules).1.into_iter().map(|kind| {
            let message = format!("your rule of type {0} ends the default rules of type {0}", kind.name());
            Diagnostic::warning(message).hint("add \"fallthrough\": true to keep them, or false to drop them silently")
        }));
        let config = Arc::new(config);
        let bundler = Bundler::new(Arc::clone(&config), options.clone());
        Ok(Self { options, config, secrets, settings, warnings, bundler, assets: None, is_stale: false })
    }

    /// What the configuration says.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What may not be as meant in the configuration.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The names of all secrets that the Worker gets or asks for.
    pub(crate) fn secret_names(&self) -> BTreeSet<String> {
        self.secrets.values.keys().chain(self.config.required_secrets.iter().flatten()).cloned().collect()
    }

    /// Builds everything.
    ///
    /// # Errors
    /// All that is wrong with the project, and the files whose change may mend it.
    pub fn build(&mut self) -> Building<'_> {
        Box::pin(self.build_changed(None))
    }

    /// Builds after files changed, doing no more than these changes ask for. A changed configuration is read again.
    ///
    /// # Errors
    /// As [`Project::build`].
    pub fn rebuild<'a>(&'a mut self, changed: &'a [PathBuf]) -> Building<'a> {
        Box::pin(self.rebuild_changed(changed))
    }

    async fn rebuild_changed(&mut self, changed: &[PathBuf]) -> Result<Build, BuildError> {
        let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let changed: Vec<PathBuf> = changed.iter().map(real).collect();
        if self.is_stale || changed.iter().any(|path| self.settings.contains(path)) {
            self.is_stale = true;
            let assets = self.assets.take();
            *self = Self::open(self.options.clone())
                .inspect_err(|error| self.settings.extend(error.inputs.iter().cloned()))?;
            // what did not change on disk need not be read again
            self.assets = assets;
            return self.build_changed(None).await;
        }
        let built = self.build_changed(Some(&changed)).await;
        if built.is_err() {
            // it may have failed before the bundler was told of the changes
            self.bundler.forget();
        }
        built
    }

    async fn build_changed(&mut self, changed: Option<&[PathBuf]>) -> Result<Build, BuildError> {
        if let Some(build) = self.build_command(changed) {
            let output = Arc::clone(&self.options.command_output);
            let result = custom_build::run(&build, &output).await;
            result.map_err(|error| self.with_settings(error.into()))?;
        }
        self.check_main()?;
        let assets =
            assets::read(&self.config, self.assets.as_ref()).await.map_err(|error| self.with_settings(error))?;
        let (assets, asset_warnings) = assets.map_or((None, Vec::new()), |(assets, warnings)| (Some(assets), warnings));
        self.assets.clone_from(&assets);
        let bundle = if self.config.main.is_none() {
            Ok(no_script())
        } else if self.config.bundling.no_bundle {
            no_bundle::take(&self.config)
        } else {
            self.bundler.build(changed).await
        };
        let bundle = bundle.map_err(|error| self.with_settings(error))?;
        let mut build = self.finish(bundle).map_err(|error| self.with_settings(error))?;
        build.warnings.extend(asset_warnings);
        build.watch_dirs.extend(assets.as_ref().map(|assets| assets.directory.clone()));
        Ok(Build { assets, ..build })
    }

    /// The custom build command, unless only files changed that it does not read.
    fn build_command(&self, changed: Option<&[PathBuf]>) -> Option<CustomBuild> {
        let build = self.config.build.as_ref()?;
        let concerns = |path: &PathBuf| build.watch_dirs.iter().any(|folder| path.starts_with(folder));
        changed.is_none_or(|changed| changed.iter().any(concerns)).then(|| build.clone())
    }

    /// Checks that the script is there, if there is to be one, and in a language that runs here.
    ///
    /// # Errors
    /// It is not.
    pub fn check_main(&self) -> Result<(), BuildError> {
        let config = &self.config;
        let Some(script) = &config.main else { return Ok(()) };
        if script.extension().is_some_and(|extension| extension == "py") {
            return Err(self.with_settings(
                Diagnostic::error("Workers in Python do not run here")
                    .hint("write it in TypeScript or JavaScript")
                    .into(),
            ));
        }
        if script.is_file() {
            return Ok(());
        }
        let shown = files::shown(&config.root, script).display().to_string();
        let error = Diagnostic::error(format!("the script {shown} does not exist"));
        let document = &config.document;
        let environment =
            config.environment.as_deref().and_then(|name| Some((name, document.root.get("env")?.get(name)?)));
        let main =
            config::settings::Settings { document, environment }.get("main").filter(|_| self.options.main.is_none());
        let error = Diagnostic { location: main.map(|node| document.location(&node.span)), ..error };
        let hint = match (files::did_you_mean(&config.root, script), &config.build) {
            (Some(hint), _) => hint,
            (None, Some(build)) => format!("the build command `{}` must make it", build.command),
            (None, None) => "create it, or change the path".to_owned(),
        };
        let folder = script.ancestors().find(|folder| folder.is_dir()).unwrap_or(&config.root).to_owned();
        let missing =
            BuildError { watch_dirs: vec![folder], ..BuildError::new(vec![error.hint(hint)], vec![script.clone()]) };
        Err(self.with_settings(missing))
    }

    /// An error that a change of the configuration may mend too.
    fn with_settings(&self, mut error: BuildError) -> BuildError {
        error.inputs.extend(self.settings.iter().cloned());
        error.warnings.extend(self.warnings.iter().cloned());
        error.watch_dirs.extend(self.config.build.iter().flat_map(|build| build.watch_dirs.clone()));
        error
    }

    fn finish(&self, bundle: Bundled) -> Result<Build, BuildError> {
        let config = &self.config;
        let Bundled { main, format, mut modules, bindings: mut module_bindings, mut warnings, inputs } = bundle;
        let mut inputs: BTreeSet<PathBuf> = inputs.into_iter().chain(self.settings.iter().cloned()).collect();
        inputs.extend(config.main.clone());
        module_bindings.extend(self.blobs(format, &mut modules, &mut inputs)?);
        let mut bindings = self.with_secrets();
        bindings.extend(module_bindings);
        let mut version = Version {
            worker: self.worker_name()?,
            id: String::new(),
            main,
            format,
            modules,
            bindings,
            compatibility: config.compatibility.clone(),
            limits: config.limits.clone(),
        };
        let (size, allowed) = (version.size(), config.limits.script_size);
        if size > allowed {
            let exceeded = LimitExceeded { limit: Limit::ScriptSize, allowed: allowed as u64, used: size as u64 };
            return Err(Diagnostic::error(exceeded.to_string()).hint("minify it, or move data out of it").into());
        }
        version.id = content_id(&version);
        warnings.extend(self.warnings.iter().cloned());
        let mut watch_dirs: BTreeSet<PathBuf> =
            config.build.iter().flat_map(|build| build.watch_dirs.clone()).collect();
        watch_dirs.extend(config.bundling.find_additional_modules.then(|| config.bundling.base_dir.clone()));
        Ok(Build {
            version,
            assets: None,
            warnings,
            inputs: inputs.into_iter().collect(),
            watch_dirs: watch_dirs.into_iter().collect(),
        })
    }

    /// The configured name. In development a project without one is called like its folder.
    fn worker_name(&self) -> Result<String, BuildError> {
        if let Some(name) = &self.config.name {
            return Ok(name.clone());
        }
        if self.options.mode == Mode::Deploy {
            let error =
                Diagnostic::error("the Worker has no name").hint("add \"name\" to the configuration, or use --name");
            return Err(error.into());
        }
        let folder = self.config.root.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let name: String =
            folder.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).take(63).collect();
        let name = name.trim_matches('-');
        Ok(if name.is_empty() { "worker".to_owned() } else { name.to_owned() })
    }

    /// The configuration's bindings; secrets win over variables of their names, except those of the command line.
    fn with_secrets(&self) -> Vec<Binding> {
        let mut bindings = self.config.bindings.clone();
        for (name, value) in &self.secrets.values {
            let is_variable = bindings.iter().any(|binding| binding.name == *name);
            let is_wanted =
                self.config.required_secrets.as_ref().is_none_or(|required| required.contains(name) || is_variable);
            if !is_wanted || self.options.vars.iter().any(|(var, _)| var == name) {
                continue;
            }
            bindings.retain(|binding| binding.name != *name);
            bindings.push(Binding { name: name.clone(), kind: BindingKind::SecretText(Secret::new(value.as_str())) });
        }
        bindings
    }

    /// The files of `wasm_modules`, `text_blobs` and `data_blobs`: modules, and the bindings that hold them.
    fn blobs(
        &self,
        format: EntryFormat,
        modules: &mut Vec<Module>,
        inputs: &mut BTreeSet<PathBuf>,
    ) -> Result<Vec<Binding>, BuildError> {
        let root = &self.config.root;
        let mut bindings = Vec::new();
        for (name, kind, path) in &self.config.bundling.blobs {
            let shown = files::shown(root, path).display().to_string();
            if format == EntryFormat::Module {
                let error = Diagnostic::error(format!(
                    "the binding \"{name}\" to the file {shown} needs the service worker format"
                ));
                return Err(error
                    .hint(format!("import the file in the script: import {name} from \"./{shown}\""))
                    .into());
            }
            inputs.insert(path.clone());
            let bytes = std::fs::read(path).map_err(|error| {
                let error = Diagnostic::error(format!("cannot read {shown} for the binding \"{name}\": {error}"));
                error.hint(files::did_you_mean(root, path).unwrap_or_else(|| "check the path".to_owned()))
            })?;
            let content = additional::content(root, path, *kind, bytes.into())?;
            modules.push(Module { name: name.clone(), content });
            bindings.push(Binding { name: name.clone(), kind: BindingKind::Module(name.clone()) });
        }
        Ok(bindings)
    }
}

/// What a project without a script is made into.
fn no_script() -> Bundled {
    Bundled {
        main: String::new(),
        format: EntryFormat::Module,
        modules: Vec::new(),
        bindings: Vec::new(),
        warnings: Vec::new(),
        inputs: BTreeSet::new(),
    }
}

/// The secrets of development. A deploy has none: they are kept where it goes.
fn read_secrets(config: &Config, options: &Options) -> Result<dotenv::EnvFiles, (Vec<Diagnostic>, Vec<PathBuf>)> {
    if options.mode == Mode::Deploy {
        return Ok(dotenv::EnvFiles::default());
    }
    let folder = config.path.as_deref().and_then(Path::parent).unwrap_or(&config.root);
    let named: Vec<PathBuf> = options.env_files.iter().map(|file| files::absolute(&options.folder, file)).collect();
    dotenv::read(&config.root, folder, config.environment.as_deref(), &named)
}

/// An id for a version from all that is in it: a UUID of version 5 without a name space, so the same input has the same id.
fn content_id(version: &Version) -> String {
    let mut hash = Sha1::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(version.worker.as_bytes());
    add(version.main.as_bytes());
    add(format!("{:?} {:?} {:?}", version.format, version.compatibility, version.limits).as_bytes());
    for module in &version.modules {
        add(module.name.as_bytes());
        match &module.content {
            ModuleContent::EsModule { source, .. } => add(source.as_bytes()),
            ModuleContent::CommonJs(text) | ModuleContent::Text(text) | ModuleContent::Json(text) => {
                add(text.as_bytes())
            }
            ModuleContent::Data(bytes) | ModuleContent::Wasm(bytes) => add(bytes),
        }
    }
    for binding in &version.bindings {
        add(binding.name.as_bytes());
        match &binding.kind {
            BindingKind::SecretText(secret) => add(secret.reveal().as_bytes()),
            other => add(format!("{other:?}").as_bytes()),
        }
    }
    let hex: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-5{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

#[cfg(test)]
mod tests {
    use super::Project;

    /// A server builds in a task that may move between threads.
    #[test]
    fn builds_may_move_between_threads() {
        fn is_send<T: Send>(_: impl FnOnce(&'static mut Project) -> T) {}
        is_send(|project| project.build());
        is_send(|project| project.rebuild(&[]));
    }
}
