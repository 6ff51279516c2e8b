//! Apps that `npm create cloudflare` writes, served as they are, and deployed with their own `npm run deploy`.
//!
//! They come from the npm registry once and stay in `$HOME/.cache/skep/c3-<version>`. Where there is no registry these
//! tests fail, unless `SKEP_OFFLINE=1` says that there need not be one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use hyper::Request;

use crate::support::{Answer, Dev, PATIENCE, Platform, body, fetch, offline, path_with_node};

/// The version of create-cloudflare.
const VERSION: &str = "2.74.0";

/// Creates an app, unless an earlier run did. Nothing if the tests are to do without the network.
fn create(name: &str, category: &str, kind: &str, language: &str) -> Option<PathBuf> {
    create_with(name, &["--category", category, "--type", kind, "--lang", language])
}

fn create_with(name: &str, arguments: &[&str]) -> Option<PathBuf> {
    if offline() {
        return None;
    }
    let path = path_with_node();
    Some(cached(name, |folder| {
        let mut create = Command::new("npm");
        create
            .args(["create", "--yes", &format!("cloudflare@{VERSION}"), name, "--"])
            .args(arguments)
            .args(["--no-deploy", "--no-git", "--no-agents", "--no-auto-update"])
            .current_dir(folder.parent().expect("the cache"))
            .env("PATH", path)
            .env("CREATE_CLOUDFLARE_TELEMETRY_DISABLED", "1")
            .env("WRANGLER_SEND_METRICS", "false");
        run(&mut create);
        // Where it has a question it ends well and half done.
        let configuration = fs::read_to_string(folder.join("wrangler.jsonc")).unwrap_or_default();
        let mut words = configuration.split('"').skip_while(|word| *word != "compatibility_date");
        assert!(words.nth(2).is_some_and(|date| date.starts_with("20")), "the app is not complete: {configuration}");
    }))
}

/// A folder of the cache: filled once, by one test at a time.
fn cached(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let home = std::env::var_os("HOME").expect("there is a home folder");
    let cache = Path::new(&home).join(format!(".cache/skep/c3-{VERSION}"));
    fs::create_dir_all(&cache).expect("a cache");
    let lock = File::create(cache.join(format!("{name}.lock"))).expect("a lock");
    lock.lock().expect("a lock");
    let folder = cache.join(name);
    let filled = cache.join(format!("{name}.filled"));
    if !filled.exists() {
        // What a run left that was stopped in the middle.
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("an empty place");
        }
        fill(&folder);
        fs::write(filled, "").expect("a marker");
    }
    folder
}

fn run(command: &mut Command) {
    let output = command.output().expect("npm is installed");
    assert!(
        output.status.success(),
        "{command:?} failed. It needs the npm registry; without a network, set SKEP_OFFLINE=1.\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Serves an app.
async fn serve(folder: &Path) -> Dev {
    let dev = Dev::start(folder, &[]).await;
    let said = dev.output.all();
    assert!(said.starts_with("Ready on"), "there is nothing to warn of in:\n{said}");
    dev
}

#[tokio::test]
async fn hello_world_in_typescript() {
    let Some(app) = create("hello-ts", "hello-world", "hello-world", "ts") else { return };
    assert_eq!(serve(&app).await.get("/").await.text, "Hello World!");
}

#[tokio::test]
async fn hello_world_in_javascript() {
    let Some(app) = create("hello-js", "hello-world", "hello-world", "js") else { return };
    assert_eq!(serve(&app).await.get("/").await.text, "Hello World!");
}

#[tokio::test]
async fn common() {
    let Some(app) = create("common", "demo", "common", "ts") else { return };
    let dev = serve(&app).await;
    assert!(dev.get("/").await.text.contains("Try making requests to:"));
    let redirect = dev.get("/redirect").await;
    assert_eq!((redirect.status.as_u16(), redirect.header("location")), (302, "https://example.com/"));
    assert_eq!(dev.get("/api/todos/7").await.text, "Todo #7");
    assert_eq!(dev.post("/api/todos", r#"{"title":"rest"}"#).await.text, r#"Creating Todo: {"title":"rest"}"#);
    assert_eq!(dev.get("/api/nothing").await.status, 404);
}

#[tokio::test]
async fn scheduled() {
    let Some(app) = create("scheduled", "demo", "scheduled", "ts") else { return };
    let mut dev = Dev::start(&app, &["--test-scheduled"]).await;
    let host = dev.host.clone();
    let hint = dev.get("/").await.text;
    assert!(hint.contains(&format!("curl http://{host}/__scheduled?cron=*+*+*+*+*")), "{hint}");
    // Its handler asks api.cloudflare.com: with and without an answer, it ran.
    dev.get("/__scheduled?cron=*+*+*+*+*").await;
    dev.output.until("scheduled * * * * * ").await;
}

#[tokio::test]
async fn openapi() {
    let Some(app) = create("openapi", "demo", "openapi", "ts") else { return };
    let dev = serve(&app).await;
    let page = dev.get("/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=UTF-8");
    let schema: serde_json::Value = serde_json::from_str(&dev.get("/openapi.json").await.text).unwrap();
    assert_eq!(schema["paths"]["/api/tasks"]["get"]["summary"], "List Tasks");
    let tasks: serde_json::Value = serde_json::from_str(&dev.get("/api/tasks?page=0").await.text).unwrap();
    assert_eq!(tasks["tasks"][1]["slug"], "cloudflare-workers");
    // A body that does not fit the schema is refused, by zod.
    let request = Request::post("/api/tasks").header("content-type", "application/json");
    let answer = fetch(&dev.host, request.body(body(r#"{"name":1}"#)).unwrap()).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    let task = r#"{"name":"n","slug":"s","completed":false,"due_date":"2026-01-05"}"#;
    let request = Request::post("/api/tasks").header("content-type", "application/json");
    let answer = fetch(&dev.host, request.body(body(task)).unwrap()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

/// Deploys an app with its own `npm run deploy`. Gives what answers a path then.
async fn deploy(platform: &Platform, folder: &Path, path: &str) -> Answer {
    let mut npm = platform.with_wrangler("npm");
    npm.args(["run", "deploy"]).current_dir(folder).env("PATH", path_with_node());
    let output = tokio::time::timeout(PATIENCE * 3, npm.output()).await.expect("it ends").expect("npm runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let name = folder.file_name().and_then(|name| name.to_str()).expect("a name");
    assert!(said.contains(&format!("{name}.dev.localhost")), "the address is not said: {said}");
    get(platform, folder, path).await
}

async fn get(platform: &Platform, folder: &Path, path: &str) -> Answer {
    let name = folder.file_name().and_then(|name| name.to_str()).expect("a name");
    platform.get(&format!("{name}.dev"), path).await
}

#[tokio::test]
async fn hello_world_is_deployed() {
    for (name, language) in [("hello-ts", "ts"), ("hello-js", "js")] {
        let Some(app) = create(name, "hello-world", "hello-world", language) else { return };
        assert_eq!(deploy(&Platform::start().await, &app, "/").await.text, "Hello World!");
    }
}

#[tokio::test]
async fn assets_only_are_deployed() {
    let Some(app) = create_with("assets-only", &["-y", "--type", "hello-world-assets-only"]) else { return };
    let platform = Platform::start().await;
    let page = deploy(&platform, &app, "/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.text.contains("<h1"), "{}", page.text);
    assert_eq!(get(&platform, &app, "/nothing").await.status, 404);
}

#[tokio::test]
async fn a_worker_with_assets_is_deployed() {
    let arguments = ["-y", "--type", "hello-world-with-assets", "--lang", "ts"];
    let Some(app) = create_with("with-assets", &arguments) else { return };
    let platform = Platform::start().await;
    let page = deploy(&platform, &app, "/").await;
    assert!(page.text.contains("/message") && page.text.contains("<script"), "{}", page.text);
    assert_eq!(get(&platform, &app, "/message").await.text, "Hello, World!");
    assert_eq!(get(&platform, &app, "/random").await.text.len(), 36, "a UUID");
}

#[tokio::test]
async fn common_is_deployed() {
    let Some(app) = create("common", "demo", "common", "ts") else { return };
    let platform = Platform::start().await;
    assert!(deploy(&platform, &app, "/").await.text.contains("Try making requests to:"));
    assert_eq!(get(&platform, &app, "/api/todos/7").await.text, "Todo #7");
    assert_eq!(get(&platform, &app, "/redirect").await.header("location"), "https://example.com/");
}

#[tokio::test]
async fn scheduled_is_deployed() {
    let Some(app) = create("scheduled", "demo", "scheduled", "ts") else { return };
    let platform = Platform::start().await;
    assert!(deploy(&platform, &app, "/").await.text.contains("__scheduled"));
    let path = format!("/accounts/{}/workers/scripts/scheduled/schedules", platform.account);
    let schedules = platform.api(hyper::Method::GET, &path, "").await;
    assert_eq!(schedules["result"]["schedules"][0]["cron"], "* * * * *");
}

#[tokio::test]
async fn openapi_is_deployed() {
    let Some(app) = create("openapi", "demo", "openapi", "ts") else { return };
    let platform = Platform::start().await;
    let schema = deploy(&platform, &app, "/openapi.json").await.text;
    assert!(schema.contains("List Tasks"), "{schema}");
    let tasks: serde_json::Value = serde_json::from_str(&get(&platform, &app, "/api/tasks?page=0").await.text).unwrap();
    assert_eq!(tasks["tasks"][1]["slug"], "cloudflare-workers");
}

#[tokio::test]
async fn react_is_deployed() {
    let arguments = ["--framework", "react", "--variant", "react-ts", "--platform", "workers"];
    let Some(app) = create_with("react", &arguments) else { return };
    let platform = Platform::start().await;
    let page = deploy(&platform, &app, "/").await;
    assert!(page.text.contains("<div id=\"root\">"), "{}", page.text);
    // A page of the app: the same document, as it is a single-page application.
    let request = [("sec-fetch-mode", "navigate")];
    let deep = platform.get_with("react.dev", "/any/page", &request).await;
    assert_eq!((deep.status.as_u16(), &deep.text), (200, &page.text));
    let script =
        page.text.split('"').find(|word| word.starts_with("/assets/") && word.ends_with(".js")).expect("a script");
    assert_eq!(get(&platform, &app, script).await.header("content-type"), "text/javascript; charset=utf-8");
    assert!(get(&platform, &app, "/api/").await.text.contains("Cloudflare"));
}
