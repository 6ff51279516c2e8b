//! Versions: one immutable upload of a Worker.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Binding, Compatibility, Limits};

/// One immutable upload of a Worker: what an isolate loads.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The Worker's name.
    pub worker: String,
    /// The version's id: unique among all versions of all Workers.
    pub id: String,
    /// The name of the module that holds the handlers.
    pub main: String,
    /// How the main module declares its handlers.
    pub format: EntryFormat,
    /// Every module, the main one among them.
    pub modules: Vec<Module>,
    /// What `env` holds.
    pub bindings: Vec<Binding>,
    /// Compatibility date and flags.
    pub compatibility: Compatibility,
    /// What it may use.
    pub limits: Limits,
}

impl Version {
    /// Whether there is anything to run: a version that has only assets has no module.
    pub fn has_script(&self) -> bool {
        !self.modules.is_empty()
    }

    /// The module of that name.
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.name == name)
    }

    /// The size of all modules together in bytes, source maps not counted.
    pub fn size(&self) -> usize {
        self.modules.iter().map(|module| module.content.size()).sum()
    }
}

/// How the main module declares its handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryFormat {
    /// An ES module: `export default { fetch }`, and named entrypoints.
    Module,
    /// A classic script: `addEventListener("fetch", …)`, bindings as globals.
    ServiceWorker,
}

/// One module of a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Its name: the path by which other modules of this version import it, relative to the main module's folder, without a leading `./`.
    pub name: String,
    /// What it holds.
    pub content: ModuleContent,
}

/// What a module holds, and so what importing it gives.
/// <https://developers.cloudflare.com/workers/wrangler/bundling/#including-non-javascript-modules>
#[derive(Clone, Debug, PartialEq)]
pub enum ModuleContent {
    /// An ES module's source, and its source map (JSON, version 3) if there is one. The main module of a version in the service
    /// worker format is a classic script.
    EsModule {
        /// The JavaScript source.
        source: Arc<str>,
        /// The source map.
        source_map: Option<Arc<str>>,
    },
    /// A CommonJS module's source: importing it gives `module.exports` as the default export.
    CommonJs(Arc<str>),
    /// Importing it gives a string.
    Text(Arc<str>),
    /// Importing it gives an `ArrayBuffer`.
    Data(Bytes),
    /// Importing it gives the parsed value.
    Json(Arc<str>),
    /// Importing it gives a `WebAssembly.Module`.
    Wasm(Bytes),
}

impl ModuleContent {
    /// Size in bytes, the source map not counted.
    pub fn size(&self) -> usize {
        match self {
            Self::EsModule { source, .. } => source.len(),
            Self::CommonJs(text) | Self::Text(text) | Self::Json(text) => text.len(),
            Self::Data(bytes) | Self::Wasm(bytes) => bytes.len(),
        }
    }
}
