//! Whole projects: each folder of `fixtures/` is one, and a snapshot says what building it gives.
//!
//! A folder is copied before it is built, and `packages/` in it becomes `node_modules/`. `fixture.json`, if it is there, says
//! what the command line would: `mode` (`dev` or `deploy`), `environment`, `vars`, `main`, `config`, `folder`. With `run`, the
//! result is started in Node.js, and the snapshot holds what it answers to each path of `run`.

mod support;

use std::fmt::Write as _;
use std::path::Path;

use skep_bundle::{Build, BuildError, Diagnostic, Mode, Project};
use skep_worker::{BindingKind, ModuleContent};
use support::{copy_folder, has_node, options, run_in_node};

#[test]
fn fixtures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut cases: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        for case in cases {
            let name = case.file_name().unwrap().to_string_lossy().into_owned();
            if let Some(text) = outcome(&case) {
                insta::assert_snapshot!(name, text);
            }
        }
    });
}

/// What building a fixture gives; none if it must run and there is no Node.js.
fn outcome(case: &Path) -> Option<String> {
    let copy = tempfile::tempdir().unwrap();
    let root = copy.path().canonicalize().unwrap().join("project");
    copy_folder(case, &root);
    let settings = std::fs::read_to_string(root.join("fixture.json")).unwrap_or_else(|_| "{}".to_owned());
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap();
    let _ = std::fs::remove_file(root.join("fixture.json"));
    if settings["run"].is_array() && !has_node() {
        return None;
    }
    let text = |key: &str| settings[key].as_str().map(str::to_owned);
    let mode = if text("mode").as_deref() == Some("deploy") { Mode::Deploy } else { Mode::Dev };
    let mut options = options(&text("folder").map_or(root.clone(), |folder| root.join(folder)), mode);
    options.environment = text("environment");
    options.main = text("main").map(Into::into);
    options.config = text("config").map(Into::into);
    let vars = settings["vars"].as_object().into_iter().flatten();
    options.vars = vars.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let result = runtime.block_on(async { Project::open(options)?.build().await });
    let mut outcome = match &result {
        Ok(build) => built(build, &root),
        Err(error) => failed(error, &root),
    };
    for path in settings["run"].as_array().into_iter().flatten() {
        let build = result.as_ref().unwrap();
        let answer = run_in_node(build, path.as_str().unwrap());
        let _ = write!(outcome, "\n=== GET {}\n{answer}\n", path.as_str().unwrap());
    }
    Some(outcome.replace(&root.display().to_string(), "<root>"))
}

fn built(build: &Build, root: &Path) -> String {
    let version = &build.version;
    let mut text =
        format!("{} {:?} {} {:?}\n", version.worker, version.format, version.main, version.compatibility.named());
    for binding in &version.bindings {
        let kind = match &binding.kind {
            BindingKind::SecretText(secret) => format!("secret {:?}", secret.reveal()),
            other => format!("{other:?}"),
        };
        let _ = writeln!(text, "env.{} = {kind}", binding.name);
    }
    paths(&mut text, "inputs", &build.inputs, root);
    paths(&mut text, "watch", &build.watch_dirs, root);
    diagnostics(&mut text, &build.warnings);
    for module in &version.modules {
        let _ = match &module.content {
            ModuleContent::EsModule { source, source_map } => {
                write!(text, "\n=== {}\n{source}", module.name).unwrap();
                let sources = source_map
                    .as_ref()
                    .map(|map| serde_json::from_str::<serde_json::Value>(map).unwrap()["sources"].to_string());
                writeln!(text, "\n(source map: {})", sources.unwrap_or_else(|| "none".to_owned()))
            }
            ModuleContent::CommonJs(source) => writeln!(text, "\n=== {} (CommonJS)\n{source}", module.name),
            ModuleContent::Text(source) => writeln!(text, "\n=== {} (text)\n{source}", module.name),
            ModuleContent::Json(source) => writeln!(text, "\n=== {} (json)\n{source}", module.name),
            ModuleContent::Data(bytes) => writeln!(text, "\n=== {} (data)\n{bytes:?}", module.name),
            ModuleContent::Wasm(bytes) => writeln!(text, "\n=== {} (wasm)\n{bytes:?}", module.name),
        };
    }
    text
}

fn failed(error: &BuildError, root: &Path) -> String {
    let mut text = format!("{error}\n\n");
    paths(&mut text, "inputs", &error.inputs, root);
    paths(&mut text, "watch", &error.watch_dirs, root);
    diagnostics(&mut text, &error.warnings);
    text
}

fn paths(text: &mut String, title: &str, paths: &[std::path::PathBuf], root: &Path) {
    let shown = |path: &std::path::PathBuf| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let mut shown: Vec<String> = paths.iter().map(shown).collect();
    shown.sort();
    shown.dedup();
    let _ = writeln!(text, "{title}: {}", shown.join(" "));
}

fn diagnostics(text: &mut String, diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        let _ = write!(text, "\n{diagnostic}\n");
    }
}
