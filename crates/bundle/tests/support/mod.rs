//! What the tests of this crate share.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::{Path, PathBuf};
use std::process::Command;

use skep_bundle::{Build, Mode, Options};
use skep_worker::{BindingKind, ModuleContent};

/// Options of a command that says nothing, on a day that does not pass.
pub(crate) fn options(folder: &Path, mode: Mode) -> Options {
    Options::new(folder, mode, "2026-10-06".parse().unwrap())
}

/// Copies a fixture: `packages` becomes `node_modules`, which no repository would keep.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let name = if name == "packages" { "node_modules".into() } else { name };
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to.join(name));
        } else {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// Whether Node.js and npm are there: tests that need them have nothing to say elsewhere.
pub(crate) fn has_node() -> bool {
    ["node", "npm"]
        .iter()
        .all(|program| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success()))
}

/// Starts a build in Node.js and returns the body it answers a GET with.
pub(crate) fn run_in_node(build: &Build, path: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("package.json"), "{\"type\":\"module\"}").unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    for module in &build.version.modules {
        match &module.content {
            ModuleContent::EsModule { source, .. } => write(&module.name, source),
            ModuleContent::Text(text) => write(&module.name, text),
            other => panic!("Node.js cannot run {other:?}"),
        }
    }
    let env: serde_json::Map<String, serde_json::Value> = build
        .version
        .bindings
        .iter()
        .filter_map(|binding| match &binding.kind {
            BindingKind::PlainText(text) => Some((binding.name.clone(), text.as_str().into())),
            BindingKind::Json(value) => Some((binding.name.clone(), value.clone())),
            BindingKind::SecretText(secret) => Some((binding.name.clone(), secret.reveal().into())),
            _ => None,
        })
        .collect();
    let script = format!(
        "const worker = await import('./{}'); const env = {}; const context = {{ waitUntil() {{}} }};
         const response = await worker.default.fetch(new Request('http://example.com{path}'), env, context);
         process.stdout.write(await response.text());",
        build.version.main,
        serde_json::Value::Object(env),
    );
    write("run.mjs", &script);
    let output = Command::new("node").arg("run.mjs").current_dir(folder.path()).output().expect("Node.js is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with npm packages, installed once for all tests of this machine: `$HOME/.cache/skep/npm/<name>`.
pub(crate) fn npm_folder(name: &str, packages: &[&str]) -> PathBuf {
    let home = std::env::var_os("HOME").expect("there is a home folder");
    let folder = Path::new(&home).join(".cache/skep/npm").join(format!("test-{name}"));
    let marker = folder.join("installed");
    let wanted = packages.join(" ");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return folder;
    }
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("package.json"), "{ \"private\": true }").unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).args(packages).current_dir(&folder);
    let output = npm.output().expect("npm is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(marker, wanted).unwrap();
    folder
}
