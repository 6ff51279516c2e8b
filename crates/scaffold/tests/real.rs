//! Every template with the real tools: it bundles, its tests pass, TypeScript accepts it.
//!
//! Packages come from the npm registry once and stay in `$HOME/.cache/skep/npm`.

#[path = "../../bundle/tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use skep_bundle::{Mode, Project};
use skep_scaffold::{Language, NewProject, Template, files};
use support::{has_node, npm_folder, options};

fn project(template: Template, language: Language) -> NewProject {
    NewProject::new(format!("my-{}", template.name()), template, language, "2026-10-06".parse().unwrap()).unwrap()
}

fn all() -> impl Iterator<Item = (Template, Language)> {
    let languages = [Language::TypeScript, Language::JavaScript];
    Template::ALL.into_iter().flat_map(move |template| languages.map(|language| (template, language)))
}

/// Writes a project over what an earlier run left.
fn write_over(folder: &Path, template: Template, language: Language) {
    for (path, text) in files(&project(template, language)) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// A folder of projects above which all packages are installed: Node.js looks there too.
fn shared_folder() -> PathBuf {
    npm_folder(
        "scaffold",
        &["@cloudflare/workers-types@^5.20261117.1", "hono@^4.13.19", "typescript@^7.0.2", "vitest@^4.1.12"],
    )
}

fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(folder).env("CI", "1").output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}: {program} {}\n{}", folder.display(), arguments.join(" "), said.join("\n"));
}

#[test]
fn every_template_bundles() {
    if !has_node() {
        return;
    }
    let shared = shared_folder();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for (template, language) in all() {
        let folder = shared.join("bundled").join(format!("{}-{}", template.name(), language.extension()));
        write_over(&folder, template, language);
        let mut project = Project::open(options(&folder, Mode::Dev)).unwrap_or_else(|error| panic!("{error}"));
        let build = runtime.block_on(project.build()).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        assert_eq!(build.warnings, [], "{}", folder.display());
        assert_eq!(build.version.worker, format!("my-{}", template.name()));
        if language == Language::TypeScript {
            let written = std::fs::read_to_string(folder.join("worker-configuration.d.ts")).unwrap();
            assert_eq!(written, skep_bundle::types::declarations(&project, &folder), "{}", folder.display());
        }
    }
}

#[test]
fn every_template_passes_its_tests() {
    if !has_node() {
        return;
    }
    let shared = shared_folder();
    for (template, language) in all() {
        let folder = shared.join("tested").join(format!("{}-{}", template.name(), language.extension()));
        write_over(&folder, template, language);
        run(&folder, "npm", &["test"]);
        if language == Language::TypeScript {
            run(&folder, "../../node_modules/.bin/tsc", &["--noEmit"]);
        }
    }
}

#[test]
fn a_new_project_installs_what_it_needs() {
    if !has_node() {
        return;
    }
    let shared = shared_folder();
    for template in [Template::Hello, Template::Hono] {
        let folder = shared.parent().unwrap().join(format!("test-scaffold-installed-{}", template.name()));
        write_over(&folder, template, Language::TypeScript);
        run(&folder, "npm", &["install", "--no-audit", "--no-fund"]);
        run(&folder, "npm", &["test"]);
        run(&folder, "npx", &["--no-install", "tsc", "--noEmit"]);
    }
}
