//! The invariants of ARCHITECTURE.md that the source itself can show.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from low to high: a room depends on rooms before it only.
const FLOORS: [&[&str]; 10] = [
    &["skep-worker", "skep-fiber", "skep-sandbox"],
    &["skep-exchange", "skep-logs", "skep-meter"],
    &["skep-observe"],
    &["skep-assets", "skep-outbound", "skep-store"],
    &[
        "skep-acme",
        "skep-bundle",
        "skep-control",
        "skep-dashboard",
        "skep-deliver",
        "skep-gateway",
        "skep-link",
        "skep-telemetry",
    ],
    &["skep-client", "skep-scaffold", "skep-web"],
    &["skep-isolate"],
    &["skep-dev", "skep-pool", "skep-test-support"],
    &["skep-runtime", "skep-serve"],
    &["skep"],
];
/// Rooms that may know V8.
const KNOW_V8: [&str; 2] = ["skep-isolate", "skep-web"];
/// Rooms that may have `unsafe`.
const UNSAFE: [&str; 3] = ["skep-isolate", "skep-fiber", "skep-link"];
/// The only room that may know SQL.
const KNOWS_SQL: &str = "skep-store";
/// Rooms that do not know each other: who serves requests and who changes what is served know the store; commands know the API.
const APART: [(&str, &str); 10] = [
    ("skep-control", "skep-pool"),
    ("skep-control", "skep-gateway"),
    ("skep-pool", "skep-control"),
    ("skep-gateway", "skep-control"),
    // What runs Workers and what has the keys are two processes.
    ("skep-serve", "skep-isolate"),
    ("skep-runtime", "skep-control"),
    ("skep-runtime", "skep-acme"),
    // Commands know the platform by its API alone.
    ("skep-client", "skep-control"),
    ("skep-client", "skep-gateway"),
    ("skep-client", "skep-store"),
];
/// The longest file in lines. A longer one wants a second room.
const LONGEST_FILE: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A crate of ours: its folder and its manifest.
struct Room {
    folder: PathBuf,
    manifest: toml::Table,
}

impl Room {
    fn name(&self) -> &str {
        self.manifest["package"]["name"].as_str().unwrap()
    }

    fn dependencies(&self, table: &str) -> Vec<&str> {
        self.manifest
            .get(table)
            .and_then(toml::Value::as_table)
            .into_iter()
            .flatten()
            .map(|(name, _)| &**name)
            .collect()
    }
}

fn rooms() -> Vec<Room> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.extend(["xtask", "bench", "fuzz"].map(|name| root().join(name)));
    let room = |folder: PathBuf| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        Room { folder, manifest }
    };
    folders.into_iter().filter(|folder| folder.join("Cargo.toml").exists()).map(room).collect()
}

/// Every file of Rust in a folder, `target` and fixtures left out.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !matches!(name, "target" | "fixtures" | "node_modules") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn dependencies_run_one_way() {
    let floor: BTreeMap<&str, usize> =
        FLOORS.iter().enumerate().flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor))).collect();
    for room in rooms() {
        let Some(own) = floor.get(room.name()) else {
            assert!(!room.folder.starts_with(root().join("crates")), "{} has no floor: give it one", room.name());
            continue;
        };
        for dependency in room.dependencies("dependencies").into_iter().filter(|name| name.starts_with("skep")) {
            assert!(floor[dependency] < *own, "{} depends on {dependency}, which is not below it", room.name());
        }
    }
}

#[test]
fn only_two_rooms_know_v8() {
    for room in rooms() {
        let knows = ["dependencies", "dev-dependencies", "build-dependencies"]
            .into_iter()
            .flat_map(|table| room.dependencies(table))
            .any(|name| name.starts_with("deno_") || name == "v8");
        assert!(!knows || KNOW_V8.contains(&room.name()), "{} depends on deno_core or V8", room.name());
    }
}

#[test]
fn only_the_store_knows_sql() {
    for room in rooms() {
        let knows = room.dependencies("dependencies").contains(&"sqlx");
        assert!(!knows || room.name() == KNOWS_SQL, "{} depends on sqlx", room.name());
    }
}

#[test]
fn the_control_plane_and_who_serves_requests_do_not_know_each_other() {
    for room in rooms() {
        for (one, other) in APART {
            let knows = room.name() == one && room.dependencies("dependencies").contains(&other);
            assert!(!knows, "{one} depends on {other}");
        }
    }
}

#[test]
fn v8_is_pinned_exactly() {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let dependencies = manifest["workspace"]["dependencies"].as_table().unwrap();
    for (name, dependency) in dependencies.iter().filter(|(name, _)| name.starts_with("deno_") || *name == "v8") {
        let version = dependency.as_str().or_else(|| dependency.get("version")?.as_str()).unwrap();
        assert!(version.starts_with('='), "{name} is not pinned: {version}");
    }
}

#[test]
fn unsafe_is_in_three_rooms() {
    for room in rooms() {
        let entries = ["src/lib.rs", "src/main.rs"].map(|name| room.folder.join(name));
        for entry in entries.into_iter().filter(|entry| entry.exists()) {
            let forbids = fs::read_to_string(&entry).unwrap().contains("#![forbid(unsafe_code)]");
            assert_ne!(forbids, UNSAFE.contains(&room.name()), "{}", entry.display());
        }
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for file in rooms().iter().flat_map(|room| sources(&room.folder)) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} does not begin with a paragraph about it", file.display());
    }
}

#[test]
fn no_file_is_too_long() {
    for file in rooms().iter().flat_map(|room| sources(&room.folder)) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines: it wants a second file", file.display());
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for room in rooms() {
        for name in room.dependencies("dependencies").into_iter().filter(|name| !name.starts_with("skep")) {
            let family = name.starts_with("rolldown_") && architecture.contains("`rolldown_*`");
            assert!(
                family || architecture.contains(&format!("`{name}`")),
                "ARCHITECTURE.md does not say what {} needs {name} for",
                room.name()
            );
        }
    }
}

#[test]
fn nothing_of_this_machine_is_in_the_documents() {
    let documents = ["README.md", "ARCHITECTURE.md", "docs/COMPATIBILITY.md", "docs/SPECIFICATION.md"];
    for document in documents.map(|name| root().join(name)).iter().filter(|path| path.exists()) {
        let text = fs::read_to_string(document).unwrap();
        for path in ["/root/", "/work/", "/home/"] {
            assert!(!text.contains(path), "{} names {path}", document.display());
        }
    }
}
