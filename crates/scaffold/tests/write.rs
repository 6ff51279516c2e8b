//! Writing projects into folders that are new, empty, in use or not writable.

use std::fs;
use std::path::Path;

use skep_scaffold::{Language, NewProject, ScaffoldError, Template, write};

fn project() -> NewProject {
    NewProject::new("my-worker", Template::Hello, Language::TypeScript, "2026-10-06".parse().unwrap()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_new_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("deep/my-worker");
    let written = write(&folder, &project()).unwrap();
    assert_eq!(written.len(), 11);
    assert!(written.iter().all(|path| path.is_file()));
    assert_eq!(names(&parent.path().join("deep")), ["my-worker"]);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(read("wrangler.jsonc").contains("\"compatibility_date\": \"2026-10-06\""));
    assert!(read("package.json").contains("\"name\": \"my-worker\""));
    assert!(read("worker-configuration.d.ts").contains("interface Env extends __BaseEnv_Env {}"));
    assert!(!read("README.md").contains("{{"));
}

#[test]
fn a_folder_with_other_files_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("LICENSE"), "mine").unwrap();
    write(folder.path(), &project()).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("LICENSE")).unwrap(), "mine");
}

#[test]
fn a_folder_with_such_files_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/index.ts"), "mine").unwrap();
    fs::write(folder.path().join("package.json"), "mine").unwrap();
    let error = write(folder.path(), &project()).unwrap_err();
    assert!(error.to_string().contains("already has package.json, src/index.ts: choose another folder"), "{error}");
    assert_eq!(names(folder.path()), ["package.json", "src"]);
}

#[test]
fn a_failure_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // a file where a folder must be
    fs::write(folder.path().join("src"), "").unwrap();
    let error = write(folder.path(), &project()).unwrap_err();
    assert!(matches!(error, ScaffoldError::Write { .. }), "{error}");
    assert_eq!(names(folder.path()), ["src"]);
    // a parent that is a file
    let error = write(&folder.path().join("src/new"), &project()).unwrap_err();
    assert!(matches!(error, ScaffoldError::Write { .. }), "{error}");
}
