//! Unmodified wranglers from npm against `skep serve`: three versions, every command that the control plane answers.

use std::path::Path;

use hyper::Method;

use crate::support::{Ended, Platform, Project, Wrangler};

/// What was uploaded and must be answered.
const FIRST: &str = r#"export default { fetch: (request, env) => Response.json({ version: 1, greeting: env.GREETING, secret: env.TOKEN ?? null }) };"#;

fn project(files: &[(&str, &str)]) -> Project {
    let project = Project::new(files);
    project.write(
        "wrangler.jsonc",
        r#"{ "name": "hello", "main": "index.js", "compatibility_date": "2025-06-01", "vars": { "GREETING": "hi" }, "workers_dev": true }"#,
    );
    project
}

fn succeeded(ended: &Ended) -> &str {
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.output, ended.errors);
    &ended.output
}

/// A version's id: the first UUID after a word.
fn id_after(text: &str, word: &str) -> String {
    let rest = text.split_once(word).unwrap_or_else(|| panic!("no \"{word}\" in {text}")).1;
    let is_id = |word: &&str| word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
    rest.split(|byte: char| !byte.is_ascii_hexdigit() && byte != '-')
        .find(is_id)
        .unwrap_or_else(|| panic!("no id in {rest}"))
        .to_owned()
}

/// The whole life of a Worker.
async fn life(version: &str) {
    let Some(wrangler) = Wrangler::version(version) else { return };
    let platform = Platform::start().await;
    let project = project(&[("index.js", FIRST)]);
    let folder: &Path = project.folder();
    let run = |arguments: &'static [&'static str]| wrangler.run(&platform, folder, arguments);

    let who = run(&["whoami"]).await;
    assert!(succeeded(&who).contains(&platform.account), "{}", who.output);
    succeeded(&run(&["deploy"]).await);
    assert_eq!(platform.get("hello.dev", "/").await.text, r#"{"version":1,"greeting":"hi","secret":null}"#);

    let put = wrangler.run_with(&platform, folder, &["secret", "put", "TOKEN"], "hunter2").await;
    succeeded(&put);
    assert_eq!(platform.get("hello.dev", "/").await.text, r#"{"version":1,"greeting":"hi","secret":"hunter2"}"#);
    let listed = run(&["secret", "list"]).await;
    assert!(succeeded(&listed).contains("TOKEN") && !listed.output.contains("hunter2"), "{}", listed.output);

    // A later deploy keeps the secret.
    project.write("index.js", &FIRST.replace("version: 1", "version: 2"));
    succeeded(&run(&["deploy"]).await);
    assert_eq!(platform.get("hello.dev", "/").await.text, r#"{"version":2,"greeting":"hi","secret":"hunter2"}"#);

    // An uploaded version answers at its own address, and for all when it is deployed.
    project.write("index.js", &FIRST.replace("version: 1", "version: 3"));
    let uploaded = run(&["versions", "upload", "--message", "the third", "--tag", "v3"]).await;
    let id = id_after(succeeded(&uploaded), "Version ID");
    assert_eq!(platform.get("hello.dev", "/").await.text, r#"{"version":2,"greeting":"hi","secret":"hunter2"}"#);
    let preview = format!("{}-hello.dev", &id[..8]);
    assert_eq!(platform.get(&preview, "/").await.text, r#"{"version":3,"greeting":"hi","secret":"hunter2"}"#);
    assert!(succeeded(&run(&["versions", "list"]).await).contains(&id));
    assert!(succeeded(&wrangler.run(&platform, folder, &["versions", "view", &id]).await).contains("the third"));
    succeeded(&wrangler.run(&platform, folder, &["versions", "deploy", &format!("{id}@100%"), "--yes"]).await);
    assert_eq!(platform.get("hello.dev", "/").await.text, r#"{"version":3,"greeting":"hi","secret":"hunter2"}"#);
    assert!(succeeded(&run(&["deployments", "list"]).await).contains(&id));
    assert!(succeeded(&run(&["deployments", "status"]).await).contains(&id));

    succeeded(&run(&["rollback", "--message", "back", "--yes"]).await);
    assert_eq!(platform.get("hello.dev", "/").await.text, r#"{"version":2,"greeting":"hi","secret":"hunter2"}"#);
    succeeded(&wrangler.run(&platform, folder, &["versions", "deploy", &format!("{id}@100%"), "--yes"]).await);

    let put = wrangler.run_with(&platform, folder, &["versions", "secret", "put", "TOKEN"], "hunter3").await;
    let id = id_after(succeeded(&put), "Created version");
    succeeded(&wrangler.run(&platform, folder, &["versions", "deploy", &format!("{id}@100%"), "--yes"]).await);
    assert_eq!(platform.get("hello.dev", "/").await.text, r#"{"version":3,"greeting":"hi","secret":"hunter3"}"#);

    project.write("secrets.json", r#"{ "TOKEN": "bulk", "OTHER": "x" }"#);
    succeeded(&run(&["secret", "bulk", "secrets.json"]).await);
    assert_eq!(platform.get("hello.dev", "/").await.text, r#"{"version":3,"greeting":"hi","secret":"bulk"}"#);
    succeeded(&wrangler.run_with(&platform, folder, &["secret", "delete", "TOKEN"], "y\n").await);
    assert_eq!(platform.get("hello.dev", "/").await.text, r#"{"version":3,"greeting":"hi","secret":null}"#);

    // A script that cannot start is refused with its own error, and what is live stays.
    project.write("index.js", "throw new Error(\"boom at start\"); export default {};");
    let refused = run(&["deploy"]).await;
    assert_ne!(refused.code, Some(0));
    assert!(refused.errors.contains("boom at start") && refused.errors.contains("10021"), "{}", refused.errors);
    assert_eq!(platform.get("hello.dev", "/").await.text, r#"{"version":3,"greeting":"hi","secret":null}"#);

    succeeded(&run(&["delete", "--force"]).await);
    assert_eq!(platform.get("hello.dev", "/").await.status, 404);
}

#[tokio::test]
async fn wrangler_4_164() {
    life("4.164.0").await;
}

#[tokio::test]
async fn wrangler_4_86() {
    life("4.86.0").await;
}

#[tokio::test]
async fn wrangler_3_114() {
    life("3.114.17").await;
}

#[tokio::test]
async fn storage_is_recorded() {
    let Some(wrangler) = Wrangler::version("4.164.0") else { return };
    let platform = Platform::start().await;
    let project = project(&[("index.js", FIRST)]);
    let run = |arguments: &'static [&'static str]| wrangler.run(&platform, project.folder(), arguments);
    for create in [
        &["kv", "namespace", "create", "sessions"] as &[&str],
        &["d1", "create", "orders"],
        &["r2", "bucket", "create", "images"],
        &["queues", "create", "jobs"],
    ] {
        succeeded(&wrangler.run(&platform, project.folder(), create).await);
    }
    assert!(succeeded(&run(&["kv", "namespace", "list"]).await).contains("sessions"));
    assert!(succeeded(&run(&["d1", "list"]).await).contains("orders"));
    assert!(succeeded(&run(&["r2", "bucket", "list"]).await).contains("images"));
    assert!(succeeded(&run(&["queues", "list"]).await).contains("jobs"));
    let twice = run(&["d1", "create", "orders"]).await;
    assert!(twice.code != Some(0) && twice.errors.contains("already exists"), "{} {}", twice.output, twice.errors);
}

#[tokio::test]
async fn triggers_routes_and_domains() {
    let Some(wrangler) = Wrangler::version("4.164.0") else { return };
    let platform = Platform::start().await;
    let account = platform.account.clone();
    let add = format!("/skep/v1/accounts/{account}/domains");
    let added = platform.api(Method::POST, &add, r#"{ "name": "example.com", "trusted": true }"#).await;
    assert_eq!(added["success"], true, "{added}");
    let project = project(&[("index.js", FIRST)]);
    project.write(
        "wrangler.jsonc",
        r#"{ "name": "hello", "main": "index.js", "compatibility_date": "2025-06-01", "vars": { "GREETING": "hi" },
             "routes": [{ "pattern": "example.com/api/*", "zone_name": "example.com" }, { "pattern": "shop.example.com", "custom_domain": true }],
             "triggers": { "crons": ["*/5 * * * *"] } }"#,
    );
    let deployed = wrangler.run(&platform, project.folder(), &["deploy"]).await;
    succeeded(&deployed);
    let crons = platform.api(Method::GET, &format!("/accounts/{account}/workers/scripts/hello/schedules"), "").await;
    assert_eq!(crons["result"]["schedules"][0]["cron"], "*/5 * * * *", "{crons}");
    let routes = platform.api(Method::GET, &format!("/accounts/{account}/workers/domains"), "").await;
    assert_eq!(routes["result"][0]["hostname"], "shop.example.com", "{routes}");
    succeeded(&wrangler.run(&platform, project.folder(), &["triggers", "deploy"]).await);
}

/// Static assets beside a Worker, and without one.
async fn assets(version: &str) {
    let Some(wrangler) = Wrangler::version(version) else { return };
    let platform = Platform::start().await;
    let page = format!("<h1>Hello</h1>{}", "<p>a paragraph</p>".repeat(100));
    let project = Project::new(&[
        ("public/index.html", page.as_str()),
        ("public/about.html", "<h1>About</h1>"),
        ("public/_headers", "/about\n  X-Rule: yes\n"),
        ("public/_redirects", "/old /about 301\n"),
        (
            "index.js",
            "export default { fetch: async (request, env) => new URL(request.url).pathname === '/asset' ? env.ASSETS.fetch('http://any/about') : new Response('Worker') };",
        ),
        (
            "wrangler.jsonc",
            r#"{ "name": "site", "main": "index.js", "compatibility_date": "2025-06-01", "workers_dev": true, "assets": { "directory": "public", "binding": "ASSETS" } }"#,
        ),
    ]);
    succeeded(&wrangler.run(&platform, project.folder(), &["deploy"]).await);
    let home = platform.get("site.dev", "/").await;
    assert_eq!((home.status.as_u16(), home.text.as_str()), (200, page.as_str()));
    assert_eq!(home.header("content-type").replace(' ', ""), "text/html;charset=utf-8");
    let about = platform.get("site.dev", "/about").await;
    assert_eq!((about.text.as_str(), about.header("x-rule")), ("<h1>About</h1>", "yes"));
    let redirect = platform.get("site.dev", "/old").await;
    assert_eq!((redirect.status.as_u16(), redirect.header("location")), (301, "/about"));
    assert_eq!(platform.get("site.dev", "/nothing").await.text, "Worker");
    assert_eq!(platform.get("site.dev", "/asset").await.text, "<h1>About</h1>");

    // Only what is new is uploaded.
    project.write("public/about.html", "<h1>About us</h1>");
    let again = wrangler.run(&platform, project.folder(), &["deploy"]).await;
    assert!(
        succeeded(&again).contains("1 already uploaded") || again.output.contains("Uploaded 1"),
        "{}",
        again.output
    );
    assert_eq!(platform.get("site.dev", "/about").await.text, "<h1>About us</h1>");

    project.write("wrangler.jsonc", r#"{ "name": "site", "compatibility_date": "2025-06-01", "workers_dev": true, "assets": { "directory": "public", "not_found_handling": "single-page-application" } }"#);
    succeeded(&wrangler.run(&platform, project.folder(), &["deploy"]).await);
    assert_eq!(platform.get("site.dev", "/nothing").await.text, page);
}

#[tokio::test]
async fn assets_with_wrangler_4_164() {
    assets("4.164.0").await;
}

#[tokio::test]
async fn assets_with_wrangler_3_114() {
    assets("3.114.17").await;
}

#[tokio::test]
async fn a_worker_calls_another_one() {
    let Some(wrangler) = Wrangler::version("4.164.0") else { return };
    let platform = Platform::start().await;
    let target = Project::new(&[
        (
            "index.js",
            "import { WorkerEntrypoint } from 'cloudflare:workers'; export default class extends WorkerEntrypoint { fetch() { return new Response('fetched'); } add(a, b) { return a + b; } }",
        ),
        (
            "wrangler.jsonc",
            r#"{ "name": "target", "main": "index.js", "compatibility_date": "2025-06-01", "workers_dev": false }"#,
        ),
    ]);
    let caller = Project::new(&[
        (
            "index.js",
            "export default { fetch: async (request, env) => new Response(`${await (await env.TARGET.fetch(request)).text()} ${await env.TARGET.add(1, 2)} ${(await env.LIMITER.limit({ key: 'k' })).success}`) };",
        ),
        (
            "wrangler.jsonc",
            r#"{ "name": "caller", "main": "index.js", "compatibility_date": "2025-06-01", "workers_dev": true, "services": [{ "binding": "TARGET", "service": "target" }], "ratelimits": [{ "name": "LIMITER", "namespace_id": "1", "simple": { "limit": 1, "period": 60 } }] }"#,
        ),
    ]);
    succeeded(&wrangler.run(&platform, target.folder(), &["deploy"]).await);
    succeeded(&wrangler.run(&platform, caller.folder(), &["deploy"]).await);
    assert_eq!(platform.get("target.dev", "/").await.status, 404);
    assert_eq!(platform.get("caller.dev", "/").await.text, "fetched 3 true");
    assert_eq!(platform.get("caller.dev", "/").await.text, "fetched 3 false");
    // Wrangler warns of who calls it, and answers itself with yes.
    let deleted = wrangler.run(&platform, target.folder(), &["delete"]).await;
    assert!(succeeded(&deleted).contains("caller"), "{}", deleted.output);
    assert_eq!(platform.get("caller.dev", "/").await.status, 500);
}

#[tokio::test]
async fn a_deployed_worker_becomes_a_project_again() {
    let Some(wrangler) = Wrangler::version("4.164.0") else { return };
    let platform = Platform::start().await;
    let project = project(&[("index.js", FIRST)]);
    succeeded(&wrangler.run(&platform, project.folder(), &["deploy"]).await);
    let copy = Project::new(&[]);
    let arguments = ["init", "--from-dash", "hello", "--no-delegate-c3", "-y"];
    succeeded(&wrangler.run(&platform, copy.folder(), &arguments).await);
    // It is deployed as it was written, and is the same Worker.
    let folder = copy.folder().join("hello");
    let configuration = std::fs::read_to_string(folder.join("wrangler.jsonc")).expect("a configuration");
    assert!(configuration.contains("\"GREETING\": \"hi\""), "{configuration}");
    let again = wrangler.run(&platform, &folder, &["deploy", "--name", "again"]).await;
    assert!(
        !succeeded(&again).contains("WARNING") && !again.errors.contains("WARNING"),
        "{}{}",
        again.output,
        again.errors
    );
    assert_eq!(platform.get("again.dev", "/").await.text, r#"{"version":1,"greeting":"hi","secret":null}"#);
}
