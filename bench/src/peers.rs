//! The peers from npm: pinned in `bench/peers/package.json`, kept in `$HOME/.cache/skep/bench`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::server::{Program, Runtime};

/// Names and versions.
const MANIFEST: &str = include_str!("../peers/package.json");

/// Each peer: its package, and the program in it.
const PEERS: [(Runtime, &str, &str); 4] = [
    (Runtime::Workerd, "workerd", "workerd/bin/workerd"),
    (Runtime::Deno, "deno", "deno/deno"),
    (Runtime::Bun, "bun", "bun/bin/bun.exe"),
    (Runtime::Node, "node", "node/bin/node"),
];

/// The peers that there are, and a complaint for each that is missing.
pub(crate) fn install() -> (Vec<Program>, Vec<String>) {
    let mut complaints = Vec::new();
    let packages = match folder().and_then(|folder| installed(&folder)) {
        Ok(packages) => packages,
        Err(error) => return (Vec::new(), vec![format!("The peers cannot be installed: {error}.")]),
    };
    let mut programs = Vec::new();
    for (runtime, package, program) in PEERS {
        let path = packages.join(program);
        match check(&path) {
            Ok(()) => programs.push(Program { runtime, path, version: version(package) }),
            Err(error) => complaints.push(format!("{package} is missing: {error}.")),
        }
    }
    (programs, complaints)
}

fn folder() -> Result<PathBuf, Box<dyn Error>> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("skep/bench"))
}

/// The folder of packages, installed anew when the manifest is another one.
fn installed(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let packages = folder.join("node_modules");
    let done = packages.join(".installed");
    if fs::read_to_string(&done).is_ok_and(|manifest| manifest == MANIFEST) {
        return Ok(packages);
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join("package.json"), MANIFEST)?;
    eprintln!("installing the peers from npm");
    let status = Command::new("npm")
        .args([
            "install",
            "--no-save",
            "--no-package-lock",
            "--no-audit",
            "--no-fund",
            "--prefer-offline",
            "--loglevel",
            "error",
        ])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("npm does not run ({error})"))?;
    if !status.success() {
        return Err(format!("npm install failed ({status})").into());
    }
    fs::write(done, MANIFEST)?;
    Ok(packages)
}

/// Whether a program runs.
fn check(program: &Path) -> Result<(), String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("its program ends with {}", output.status)),
        Err(error) => Err(error.to_string()),
    }
}

/// The version that the manifest pins.
fn version(package: &str) -> String {
    let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap_or_default();
    manifest["dependencies"][package].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{PEERS, version};

    #[test]
    fn versions_are_pinned() {
        for (_, package, _) in PEERS {
            let version = version(package);
            assert!(
                version.chars().all(|character| character.is_ascii_digit() || character == '.'),
                "{package} {version}"
            );
            assert!(!version.is_empty(), "{package}");
        }
    }
}
