//! `wrangler.jsonc` and `wrangler.toml`: the first byte says which, the others are the file. Every text is read, or refused with
//! a diagnostic that can be shown.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use skep_bundle::{Mode, Options, Project};
use tempfile::TempDir;

/// A folder in memory, if the system has one: a file is written for each input.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a folder")
});

fuzz_target!(|input: &[u8]| {
    let Some((first, text)) = input.split_first() else { return };
    let name = if first % 2 == 0 { "wrangler.jsonc" } else { "wrangler.toml" };
    let path = FOLDER.path().join(name);
    fs::write(&path, text).expect("a file");
    let mode = if first & 2 == 0 { Mode::Dev } else { Mode::Deploy };
    let mut options = Options::new(FOLDER.path(), mode, "2026-10-06".parse().expect("a date"));
    options.config = Some(path);
    options.environment = (first & 4 != 0).then(|| "staging".to_owned());
    match Project::open(options) {
        Ok(project) => {
            let warnings: String = project.warnings().iter().map(ToString::to_string).collect();
            assert!(warnings.is_empty() || warnings.contains("warning"), "{warnings}");
        }
        Err(error) => assert!(error.to_string().contains("error"), "{error}"),
    }
});
