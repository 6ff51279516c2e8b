//! The dashboard as people use it: its tests in `dashboard/tests` drive Chromium against a real platform with real Workers. And the committed
//! build is what its sources give.
//!
//! npm's packages come once and stay in `$HOME/.cache/skep/tools`; `cargo xtask test` installs Chromium. Where there is no network these
//! tests fail, unless `SKEP_OFFLINE=1` says that there need not be one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{PATIENCE, Person, Platform, Project, cached, offline, path_with_node};

/// A Worker that writes what must stay text, and shows whether it has a secret.
const SHOP: &str = r#"export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    console.log("visit <b>bold</b> \u001b[31mred\u001b[0m", { path: pathname });
    if (pathname === "/boom") {
      console.warn("\u001b]0;title\u0007 bell \u0007 and \u202e reversed");
      throw new Error("<img src=x onerror=alert(1)> <script>alert(2)</script> boom");
    }
    if (pathname === "/missing") return new Response("no", { status: 404 });
    if (pathname === "/secret") return new Response(env.API_KEY ?? "none");
    return new Response(`shop ${env.GREETING}`);
  },
  async scheduled(controller) {
    console.log("cron", controller.cron);
  },
};"#;
const SHOP_CONFIGURATION: &str = r#"{
  "name": "shop", "main": "index.js", "compatibility_date": "2025-06-01",
  "vars": { "GREETING": "hi" }, "triggers": { "crons": ["*/5 * * * *"] },
  "observability": { "enabled": true }
}"#;
const HELLO: &str = "export default { fetch: () => new Response('hello') };";
/// What the dashboard is made of.
const SOURCES: [&str; 10] = [
    ".prettierignore",
    ".prettierrc.json",
    "index.html",
    "package.json",
    "package-lock.json",
    "public",
    "src",
    "tests",
    "tsconfig.json",
    "vite.config.ts",
];
/// How long the tests in the browser may take.
const LONG: Duration = Duration::from_secs(600);

fn dashboard() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboard")
}

/// Copies a file, or a folder with everything in it.
fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).expect("copied");
        return;
    }
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// The sources in a folder of their own, with npm's packages beside them. Nothing if the tests are to do without the network.
fn sources() -> Option<TempDir> {
    if offline() {
        return None;
    }
    let lock = fs::read(dashboard().join("package-lock.json")).expect("a lock file");
    let version = lock.iter().fold(0_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let packages = cached(&format!("dashboard-{version:016x}"), |folder| {
        fs::create_dir_all(folder).expect("a folder");
        for name in ["package.json", "package-lock.json"] {
            copy(&dashboard().join(name), &folder.join(name));
        }
        let mut npm = std::process::Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(folder)
            .env("PATH", path_with_node());
        let output = npm.output().expect("npm is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "npm ci needs the npm registry; without a network, set SKEP_OFFLINE=1.\n{said}"
        );
    });
    let folder = TempDir::new().expect("a folder");
    for name in SOURCES {
        copy(&dashboard().join(name), &folder.path().join(name));
    }
    std::os::unix::fs::symlink(packages.join("node_modules"), folder.path().join("node_modules")).expect("a link");
    Some(folder)
}

/// The files below a folder.
fn files(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = format!("{prefix}{}", path.file_name().expect("a name").to_string_lossy());
        if path.is_dir() {
            files(&path, &format!("{name}/"), found);
        } else {
            found.insert(name, fs::read(&path).expect("a file"));
        }
    }
}

#[tokio::test]
async fn the_committed_build_is_what_the_sources_give() {
    let Some(folder) = sources() else { return };
    for script in ["check", "build"] {
        let mut npm = Command::new("npm");
        npm.args(["run", script]).current_dir(folder.path()).env("PATH", path_with_node()).kill_on_drop(true);
        let output =
            tokio::time::timeout(PATIENCE * 2, npm.output()).await.expect("it ends").expect("npm is installed");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "npm run {script}: {said}");
    }
    let (mut built, mut committed) = (BTreeMap::new(), BTreeMap::new());
    files(&folder.path().join("dist"), "", &mut built);
    files(&dashboard().join("dist"), "", &mut committed);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&built), names(&committed), "run `cargo xtask dashboard`");
    assert!(built == committed, "dashboard/dist is not what its sources give: run `cargo xtask dashboard`");
}

#[tokio::test]
async fn people_use_it_in_a_browser() {
    let Some(folder) = sources() else { return };
    let platform = Platform::start().await;
    let person = Person::of(&platform).await;
    let shop = Project::new(&[("index.js", SHOP), ("wrangler.jsonc", SHOP_CONFIGURATION)]);
    person.does(shop.folder(), &["deploy", "--message", "The shop opens"]).await;
    person.does(shop.folder(), &["deploy", "--message", "A warmer greeting"]).await;
    platform.upload("hello", &[("index.js", HELLO.to_owned())]).await.expect("it is deployed");

    let mut node = Command::new("node");
    node.arg("tests/run.mjs")
        .current_dir(folder.path())
        .env("PATH", path_with_node())
        .env("SKEP_URL", format!("http://{}", platform.host))
        .env("SKEP_TOKEN", &platform.token)
        .kill_on_drop(true);
    let output = tokio::time::timeout(LONG, node.output()).await.expect("it ends").expect("Node.js is installed");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[tokio::test]
async fn it_is_left_out_when_somebody_says_so() {
    let platform = Platform::start().await;
    let page = platform.at("/dashboard/").await;
    assert_eq!((page.status.as_u16(), page.text.contains("<title>Skep</title>")), (200, true), "{}", page.text);
    let without = Platform::over(std::sync::Arc::new(TempDir::new().expect("a folder")), &["--no-dashboard"]).await;
    for path in ["/", "/dashboard", "/dashboard/"] {
        let page = without.at(path).await;
        assert!(page.status == 404 && page.text.contains("without a dashboard"), "{path}: {}", page.text);
    }
}
