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
    succeeded(&run(&["deploy", "--message", "the first"]).await);
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
    assert!(twice.code != Some(0) && twice.errors.contains("orders"), "{} {}", twice.output, twice.errors);
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
