//! What the plugin saw, module by module: what each one imports that is not the bundler's business alone, and which modules the
//! script reaches. It outlives a build, because a rebuild looks only at what changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rolldown_common::ModuleInfo;

use crate::rules::RuleKind;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) seen: HashMap<String, Seen>,
    /// Modules that are not bundled, by the specifier they are imported by in the output.
    pub(super) collected: BTreeMap<String, Collected>,
    /// Every module that the script reaches, by its id.
    pub(super) reached: BTreeSet<String>,
    /// What is known of every module.
    pub(super) modules: Vec<Arc<ModuleInfo>>,
}

/// What one module imports, where that is not the bundler's business alone.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Modules of Node.js, as written.
    pub(super) builtins: BTreeSet<String>,
    /// Modules of the runtime, as written.
    pub(super) runtime: BTreeSet<String>,
    /// Files that are not bundled, by the specifier in the output.
    pub(super) collected: BTreeSet<String>,
    /// What was not found by an `import`, as written. rolldown tells of it too, but only after a build that went well.
    pub(super) missing: BTreeSet<String>,
    /// What was not found by a `require()`: an error unless it stands in a `try`, which rolldown knows.
    pub(super) missing_required: bool,
    /// Imports that cannot be: as written, and why.
    pub(super) refused: Vec<(String, Refusal)>,
    /// The first piece of syntax that would not run.
    pub(super) unknown: Option<Unknown>,
}

/// Why an import cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such file.
    NotFound,
    /// Only a rule fits that an earlier one ended.
    Shadowed(RuleKind),
    /// No rule fits a file of this extension, and it is not one that is bundled.
    NoRule(String),
}

/// Syntax that V8 does not know and rolldown leaves as it is: a decorator or an `accessor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    /// What it is called.
    pub(super) name: &'static str,
    /// Where it stands, in bytes.
    pub(super) span: Range<usize>,
}

/// A module that is not bundled.
#[derive(Clone, Debug)]
pub(super) struct Collected {
    pub(super) kind: RuleKind,
    pub(super) path: PathBuf,
    pub(super) content: Bytes,
}

impl Memory {
    /// What reached modules import of Node.js: module, as written.
    pub(super) fn builtins(&self) -> Vec<(String, String)> {
        self.of_reached(|seen| seen.builtins.iter().cloned().collect())
    }

    /// What reached modules import of the runtime: module, as written.
    pub(super) fn runtime_modules(&self) -> Vec<(String, String)> {
        self.of_reached(|seen| seen.builtins.iter().chain(&seen.runtime).cloned().collect())
    }

    /// Imports of reached modules that cannot be: module, as written and why.
    pub(super) fn refused(&self) -> Vec<(String, (String, Refusal))> {
        self.of_reached(|seen| seen.refused.clone())
    }

    /// Syntax of reached modules that would not run: module, and what.
    pub(super) fn unknown(&self) -> Vec<(String, Unknown)> {
        self.of_reached(|seen| seen.unknown.iter().cloned().collect())
    }

    /// Modules that are not bundled, of reached modules only.
    pub(super) fn collected(&self) -> BTreeMap<String, Collected> {
        let specifiers = self.of_reached(|seen| seen.collected.iter().cloned().collect());
        let module =
            |(_, specifier): (String, String)| Some((specifier.clone(), self.collected.get(&specifier)?.clone()));
        specifiers.into_iter().filter_map(module).collect()
    }

    /// What reached modules import that was not found: module, as written.
    pub(super) fn missing(&self) -> Vec<(String, String)> {
        self.of_reached(|seen| seen.missing.iter().cloned().collect())
    }

    /// Whether a reached module asks for something that was not found.
    pub(super) fn is_incomplete(&self) -> bool {
        let mut seen = self.reached.iter().filter_map(|id| self.seen.get(id));
        seen.any(|seen| seen.missing_required || !seen.missing.is_empty())
    }

    /// Every file that the script reaches.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        let files = self
            .reached
            .iter()
            .map(|id| PathBuf::from(id.split('?').next().unwrap_or(id)))
            .filter(|path| path.is_absolute());
        files.chain(self.collected().into_values().map(|module| module.path)).collect()
    }

    /// What a module exports.
    pub(super) fn exports(&self, id: &str) -> Vec<String> {
        let module = self.modules.iter().find(|module| module.id.as_str() == id);
        module.map_or_else(Vec::new, |module| module.exports.iter().map(ToString::to_string).collect())
    }

    /// Whether any module imports another one with `import()`.
    pub(super) fn has_dynamic_imports(&self) -> bool {
        self.modules.iter().any(|module| !module.dynamically_imported_ids.is_empty())
    }

    /// What modules import, each at its first line and later: the edges of the graph.
    pub(super) fn imports_of(&self, ids: &BTreeSet<String>) -> Vec<(String, Vec<String>, Vec<String>)> {
        let modules = self.modules.iter().filter(|module| ids.contains(module.id.as_str()));
        let names = |ids: &mut dyn Iterator<Item = String>| ids.collect::<Vec<String>>();
        let mut imports: Vec<_> = modules
            .map(|module| {
                let first = names(&mut module.imported_ids.iter().map(ToString::to_string));
                let later = names(&mut module.dynamically_imported_ids.iter().map(ToString::to_string));
                (module.id.to_string(), first, later)
            })
            .collect();
        imports.sort();
        imports
    }

    /// The modules to read again because a file changed; none if only a full build will do.
    pub(super) fn modules_of(&self, file: &Path) -> Option<Vec<String>> {
        let id = file.to_str()?;
        if self.reached.contains(id) {
            return Some(vec![id.to_owned()]);
        }
        let specifiers: Vec<&String> =
            self.collected.iter().filter(|(_, module)| module.path == file).map(|(name, _)| name).collect();
        let importers: Vec<String> = self
            .seen
            .iter()
            .filter(|(_, seen)| specifiers.iter().any(|specifier| seen.collected.contains(*specifier)))
            .map(|(id, _)| id.clone())
            .collect();
        (!importers.is_empty()).then_some(importers)
    }

    fn of_reached<T>(&self, of: impl Fn(&Seen) -> Vec<T>) -> Vec<(String, T)> {
        let seen = self.reached.iter().filter_map(|id| Some((id, self.seen.get(id)?)));
        seen.flat_map(|(id, seen)| of(seen).into_iter().map(|item| (id.clone(), item))).collect()
    }
}

/// The memory, also after a panic elsewhere: it holds no invariant that a panic could break.
pub(super) fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
