//! Projects in temporary folders.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Dev, Ended, skep};

/// The configuration of a project that needs nothing special.
const CONFIGURATION: &str = r#"{ "name": "my-worker", "main": "src/index.ts", "compatibility_date": "2026-10-06" }"#;

/// A project. Its folder goes away with it.
pub(crate) struct Project(TempDir);

impl Project {
    /// A project with these files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let project = Self(TempDir::new().expect("a temporary folder"));
        files.iter().for_each(|(path, text)| project.write(path, text));
        project
    }

    /// A project with one script, `src/index.ts`.
    pub(crate) fn worker(script: &str) -> Self {
        Self::new(&[("wrangler.jsonc", CONFIGURATION), ("src/index.ts", script)])
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.folder().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
        fs::write(path, text).expect("a new file");
    }

    /// What a file says.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.folder().join(path)).expect("a file")
    }

    /// Serves it with `skep dev` and waits until it is ready.
    pub(crate) async fn dev(&self, arguments: &[&str]) -> Dev {
        Dev::start(self.folder(), arguments).await
    }

    /// Runs a command in its folder to the end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        skep(self.folder(), arguments).await
    }
}
