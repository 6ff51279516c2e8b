//! Projects with static files, with a script and without.

mod support;

use std::fs;
use std::path::Path;

use skep_bundle::{Build, BuildError, Mode, Project};
use skep_worker::BindingKind;
use support::options;

const SCRIPT: &str = "export default { fetch() { return new Response() } }";

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

async fn build(folder: &Path) -> Result<Build, BuildError> {
    Project::open(options(folder, Mode::Dev))?.build().await
}

fn paths(build: &Build) -> Vec<&str> {
    build.assets.as_ref().unwrap().folder.manifest.iter().map(|asset| asset.path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_with_assets() {
    let folder = project(&[
        (
            "wrangler.jsonc",
            r#"{ "name": "a", "main": "index.js", "compatibility_date": "2026-10-06", "assets": { "directory": "./public", "binding": "ASSETS",
                "html_handling": "drop-trailing-slash", "not_found_handling": "404-page", "run_worker_first": ["/api/*"], "base_path": "docs" } }"#,
        ),
        ("index.js", SCRIPT),
        ("public/index.html", "hi"),
        ("public/_headers", "/*\n  X: y\n"),
    ]);
    let build = build(folder.path()).await.unwrap();
    assert!(build.version.has_script());
    assert_eq!(build.version.bindings[0].name, "ASSETS");
    assert_eq!(build.version.bindings[0].kind, BindingKind::Assets);
    assert_eq!(paths(&build), ["/index.html"]);
    let assets = build.assets.as_ref().unwrap();
    let config = serde_json::to_value(&assets.config).unwrap();
    let expect = serde_json::json!({ "html_handling": "drop-trailing-slash", "not_found_handling": "404-page",
        "run_worker_first": ["/api/*"], "base_path": "/docs/", "_headers": "/*\n  X: y\n" });
    assert_eq!(config, expect);
    assert!(build.watch_dirs.contains(&assets.directory));
    assert_eq!(build.warnings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_without_a_script() {
    let folder = project(&[
        ("wrangler.toml", "name = \"a\"\ncompatibility_date = \"2026-10-06\"\n[assets]\ndirectory = \"dist\"\n"),
        ("dist/index.html", "hi"),
    ]);
    let mut project = Project::open(options(folder.path(), Mode::Dev)).unwrap();
    project.check_main().unwrap();
    let first = project.build().await.unwrap();
    assert!(!first.version.has_script());
    assert_eq!((first.version.worker.as_str(), paths(&first)), ("a", vec!["/index.html"]));

    // other assets are the same version
    let added = folder.path().join("dist/more.html");
    fs::write(&added, "more").unwrap();
    let second = project.rebuild(&[added]).await.unwrap();
    assert_eq!(paths(&second), ["/index.html", "/more.html"]);
    assert_eq!(second.version.id, first.version.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_lines_are_shown_where_they_are() {
    let folder = project(&[
        ("wrangler.jsonc", r#"{ "compatibility_date": "2026-10-06", "assets": { "directory": "dist" } }"#),
        ("dist/_headers", "/a\n  X: y\n\n  no header\n"),
        ("dist/_redirects", "# ok\r\n/a /b 404\r\n/c /d"),
    ]);
    let build = build(folder.path()).await.unwrap();
    let shown: Vec<String> = build.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    for (warning, parts) in shown.iter().zip([
        ["dist/_headers:4:3", "neither a path nor a header", "write a header as name: value"],
        ["dist/_redirects:2:1", "the status must be", "write one of them"],
    ]) {
        parts.iter().for_each(|part| assert!(warning.contains(part), "{part} is not in {warning}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_missing_is_waited_for() {
    let folder = project(&[
        ("wrangler.jsonc", r#"{ "compatibility_date": "2026-10-06", "assets": { "directory": "dist/site" } }"#),
        ("dist/other", ""),
    ]);
    let mut project = Project::open(options(folder.path(), Mode::Dev)).unwrap();
    let error = project.build().await.unwrap_err();
    let shown = error.to_string();
    assert!(shown.contains("the assets folder dist/site does not exist"), "{shown}");
    assert!(shown.contains("wrangler.jsonc:1:"), "{shown}");
    assert_eq!(error.watch_dirs, [folder.path().canonicalize().unwrap().join("dist")]);
    let page = folder.path().join("dist/site/index.html");
    fs::create_dir_all(page.parent().unwrap()).unwrap();
    fs::write(&page, "hi").unwrap();
    assert_eq!(paths(&project.rebuild(&[page]).await.unwrap()), ["/index.html"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_uploaded_is_an_error() {
    let folder = project(&[
        ("wrangler.jsonc", r#"{ "compatibility_date": "2026-10-06", "assets": { "directory": "dist" } }"#),
        ("dist/_worker.js", ""),
    ]);
    let shown = build(folder.path()).await.unwrap_err().to_string();
    assert!(shown.contains("is the script of a Pages project"), "{shown}");
}
