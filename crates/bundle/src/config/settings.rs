//! A configuration seen from one environment: which value a key has there.

use std::path::{Path, PathBuf};

use super::keys::{Scope, keys};
use crate::diagnostic::Diagnostic;
use crate::document::{Document, Entry, Node};
use crate::files;

/// The keys of the top level, or of one environment with what it inherits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) document: &'a Document,
    /// The environment's name and table.
    pub(crate) environment: Option<(&'a str, &'a Node)>,
}

impl<'a> Settings<'a> {
    /// The settings of the top level.
    pub(crate) fn top_level(document: &'a Document) -> Self {
        Self { document, environment: None }
    }

    /// The entry of a key as this environment sees it.
    pub(crate) fn entry(&self, key: &str) -> Option<&'a Entry> {
        let scope = keys().iter().find(|known| known.name == key).map_or(Scope::Top, |known| known.scope);
        let own = self.environment.and_then(|(_, table)| table.entry(key));
        let inherits = self.environment.is_none() || scope != Scope::Own;
        let own = own.filter(|_| scope != Scope::Top);
        own.or_else(|| self.document.root.entry(key).filter(|_| inherits))
    }

    /// The value of a key as this environment sees it.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// A string.
    pub(crate) fn string(&self, key: &str) -> Option<String> {
        self.get(key)?.as_str().map(str::to_owned)
    }

    /// A truth value.
    pub(crate) fn boolean(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// A path, seen from a folder.
    pub(crate) fn path(&self, key: &str, folder: &Path) -> Option<PathBuf> {
        self.get(key)?.as_str().map(|path| files::absolute(folder, Path::new(path)))
    }

    /// The strings of a table of strings.
    pub(crate) fn string_map(&self, key: &str) -> Vec<(String, String)> {
        let entries = self.get(key).map_or(&[][..], Node::entries);
        entries.iter().filter_map(|entry| Some((entry.key.clone(), entry.node.as_str()?.to_owned()))).collect()
    }

    /// An error about a value.
    pub(crate) fn error(&self, node: &Node, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(message).at(self.document.location(&node.span))
    }

    /// A warning about a key.
    pub(crate) fn warning(&self, entry: &Entry, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(message).at(self.document.location(&entry.key_span))
    }
}
