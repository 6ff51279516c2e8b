//! Modules that are uploaded as they are: all files below a folder that fit a rule (`find_additional_modules`), and how a
//! file's bytes become a module of its kind.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use skep_worker::{Module, ModuleContent};

use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::files;
use crate::rules::{RuleKind, Rules};

/// A file that fits a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// Its path below the folder, with slashes.
    pub(crate) name: String,
    pub(crate) kind: RuleKind,
}

/// The files to upload as they are; none if the configuration does not ask for them.
pub(crate) fn find(config: &Config) -> Vec<File> {
    if !config.bundling.find_additional_modules {
        return Vec::new();
    }
    let (rules, _) = Rules::new(&config.bundling.rules);
    let root = &config.bundling.base_dir;
    let hidden = config.root.join(".wrangler");
    let skip = |path: &Path| path == hidden || Some(path) == config.path.as_deref() || path == config.script();
    let file = |path: PathBuf| {
        let name = path.strip_prefix(root).ok()?.to_string_lossy().replace('\\', "/");
        let kind = rules.for_path(&name)?;
        Some(File { path, name, kind })
    };
    files::walk(root, &skip).into_iter().filter_map(file).collect()
}

/// The modules of such files. One that has the main module's name is left out.
///
/// # Errors
/// A file cannot be read, or a text is not UTF-8.
pub(crate) fn modules(config: &Config, found: &[File], main: &str) -> Result<Vec<Module>, Vec<Diagnostic>> {
    let mut modules = Vec::new();
    let mut errors = Vec::new();
    for file in found.iter().filter(|file| file.name != main) {
        let bytes = std::fs::read(&file.path).map_err(|error| {
            let shown = files::shown(&config.root, &file.path).display().to_string();
            Diagnostic::error(format!("cannot read {shown}: {error}")).hint("check the file's permissions")
        });
        match bytes.and_then(|bytes| content(&config.root, &file.path, file.kind, bytes.into())) {
            Ok(content) => modules.push(Module { name: file.name.clone(), content }),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(modules) } else { Err(errors) }
}

/// A file's bytes as a module of a kind. Code takes the source map with it that its last line names.
///
/// # Errors
/// Code or a text is not UTF-8.
pub(crate) fn content(root: &Path, path: &Path, kind: RuleKind, bytes: Bytes) -> Result<ModuleContent, Diagnostic> {
    let text = || {
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            let shown = files::shown(root, path).display().to_string();
            Diagnostic::error(format!("{shown} is not a text")).hint("save it in UTF-8, or give it a rule of type Data")
        })
    };
    Ok(match kind {
        RuleKind::EsModule => {
            let source = text()?;
            let source_map = source_map_beside(path, &source).map(Into::into);
            ModuleContent::EsModule { source: source.into(), source_map }
        }
        RuleKind::CommonJs => ModuleContent::CommonJs(text()?.into()),
        RuleKind::Text => ModuleContent::Text(text()?.into()),
        RuleKind::Data => ModuleContent::Data(bytes),
        RuleKind::CompiledWasm => ModuleContent::Wasm(bytes),
    })
}

/// The source map in the file that a script's last comment names, if it is there.
fn source_map_beside(path: &Path, source: &str) -> Option<String> {
    let url =
        source.lines().rev().find(|line| !line.trim().is_empty())?.trim().strip_prefix("//# sourceMappingURL=")?;
    std::fs::read_to_string(path.parent()?.join(url)).ok()
}
