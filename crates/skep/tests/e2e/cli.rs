//! Skep's own commands against `skep serve`: the whole life of a Worker.

use std::os::unix::fs::PermissionsExt as _;

use hyper::Method;
use serde_json::Value;

use crate::support::{Person, Platform, Project, Wrangler};

/// What is deployed and must be answered.
const FIRST: &str = r#"export default {
  fetch: (request, env) => Response.json({ version: 1, greeting: env.GREETING, secret: env.TOKEN ?? null }),
};"#;

fn project() -> Project {
    Project::new(&[
        ("index.js", FIRST),
        (
            "wrangler.jsonc",
            r#"{ "name": "hello", "main": "index.js", "compatibility_date": "2025-06-01", "vars": { "GREETING": "hi" } }"#,
        ),
    ])
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}")).to_owned()
}

#[tokio::test]
async fn the_life_of_a_worker() {
    let platform = Platform::start().await;
    let person = Person::of(&platform).await;
    let project = project();
    let folder = project.folder();
    let answer = |version: u32, secret: &str| format!(r#"{{"version":{version},"greeting":"hi","secret":{secret}}}"#);

    let deployed = person.does(folder, &["deploy", "--message", "the first"]).await;
    assert!(
        deployed.contains("Deployed hello, version ") && deployed.contains("http://hello.dev.localhost:"),
        "{deployed}"
    );
    assert_eq!(platform.get("hello.dev", "/").await.text, answer(1, "null"));

    project.write("index.js", &FIRST.replace("version: 1", "version: 2"));
    let second = person.json(folder, &["deploy", "--tag", "v2"]).await;
    assert_eq!((text(&second, "/worker"), &second["is_new"]), ("hello".to_owned(), &Value::Bool(false)));
    assert_eq!(platform.get("hello.dev", "/").await.text, answer(2, "null"));

    // A secret makes a version and deploys it; a rollback goes back to the one before.
    let put = person.run_with(folder, &["secret", "put", "TOKEN"], &[], "hunter2\n").await;
    assert_eq!((put.code, put.output.as_str()), (Some(0), "hello: put TOKEN\n"), "{}", put.errors);
    assert_eq!(platform.get("hello.dev", "/").await.text, answer(2, r#""hunter2""#));
    let listed = person.json(folder, &["secret", "list"]).await;
    assert_eq!(listed, serde_json::json!([{ "name": "TOKEN", "type": "secret_text" }]));
    project.write("more.json", r#"{ "TOKEN": "bulk", "OTHER": "x" }"#);
    person.does(folder, &["secret", "bulk", "more.json"]).await;
    assert_eq!(platform.get("hello.dev", "/").await.text, answer(2, r#""bulk""#));
    person.does(folder, &["secret", "delete", "OTHER", "-y"]).await;

    person.does(folder, &["rollback", "v2", "--message", "back", "-y"]).await;
    assert_eq!(platform.get("hello.dev", "/").await.text, answer(2, "null"));
    person.does(folder, &["rollback", "1", "-y"]).await;
    assert_eq!(platform.get("hello.dev", "/").await.text, answer(1, "null"));

    // A version waits until it is deployed.
    project.write("index.js", &FIRST.replace("version: 1", "version: 3"));
    let uploaded = person.json(folder, &["versions", "upload", "--tag", "three", "--message", "the third"]).await;
    let id = text(&uploaded, "/version_id");
    assert!(text(&uploaded, "/preview_url").contains(&format!("://{}-hello.dev.localhost", &id[..8])));
    assert_eq!(platform.get("hello.dev", "/").await.text, answer(1, "null"));
    assert_eq!(platform.get(&format!("{}-hello.dev", &id[..8]), "/").await.status, 200);
    assert!(person.does(folder, &["versions", "list"]).await.contains("three: the third"));
    let viewed = person.does(folder, &["versions", "view", &id[..8]]).await;
    assert!(viewed.contains(&id) && viewed.contains("env.GREETING (plain_text)"), "{viewed}");
    person.does(folder, &["versions", "deploy", "three@100%"]).await;
    assert!(platform.get("hello.dev", "/").await.text.contains("\"version\":3"));
    person.does(folder, &["versions", "deploy", "three@10%", "v2"]).await;
    let status = person.does(folder, &["deployments", "status"]).await;
    assert!(status.contains("   10 %") && status.contains("   90 %"), "{status}");
    let deployments = person.json(folder, &["deployments", "list"]).await;
    assert_eq!(deployments[0]["versions"].as_array().map(Vec::len), Some(2), "{deployments}");
    person.json(folder, &["deployments", "status"]).await;

    assert_eq!(
        text(&person.json(folder, &["open"]).await, "/url"),
        format!("http://hello.dev.localhost:{}", platform.host.rsplit_once(':').unwrap().1)
    );
    let refused = person.fails(folder, &["delete"]).await;
    assert!(refused.contains("add -y"), "{refused}");
    person.does(folder, &["delete", "-y"]).await;
    assert_eq!(platform.get("hello.dev", "/").await.status, 404);
}

#[tokio::test]
async fn assets_bindings_and_triggers() {
    let platform = Platform::start().await;
    let person = Person::of(&platform).await;
    let target = Project::new(&[
        ("index.js", "export default { fetch: () => new Response('target') };"),
        (
            "wrangler.jsonc",
            r#"{ "name": "target", "main": "index.js", "compatibility_date": "2025-06-01", "workers_dev": false }"#,
        ),
    ]);
    let site = Project::new(&[
        ("public/index.html", "<h1>Hello</h1>"),
        ("public/style.css", "h1 { color: red }"),
        ("public/_headers", "/style.css\n  X-Rule: yes\n"),
        (
            "index.js",
            "export default { fetch: (request, env) => env.TARGET.fetch(request), scheduled(controller) { if (controller.cron === 'fail') throw new Error('no'); } };",
        ),
        (
            "wrangler.jsonc",
            r#"{ "name": "site", "main": "index.js", "compatibility_date": "2025-06-01", "workers_dev": true,
                 "assets": { "directory": "public", "binding": "ASSETS" }, "services": [{ "binding": "TARGET", "service": "target" }],
                 "kv_namespaces": [{ "binding": "MY_CACHE" }],
                 "routes": [{ "pattern": "example.com/api/*", "zone_name": "example.com" }, { "pattern": "shop.example.com", "custom_domain": true }],
                 "triggers": { "crons": ["*/5 * * * *"] } }"#,
        ),
    ]);
    let folder = site.folder();
    let without = person.does(target.folder(), &["deploy"]).await;
    assert!(without.contains("no address"), "{without}");
    let refused = person.fails(folder, &["deploy"]).await;
    assert!(refused.contains("example.com is in no domain of your account") && refused.contains("10063"), "{refused}");

    let added = person.json(folder, &["domains", "add", "example.com", "--trusted"]).await;
    assert!(added["verified_on"].is_string(), "{added}");
    let deployed = person.does(folder, &["deploy"]).await;
    for said in
        ["http://site.dev.localhost:", "shop.example.com", "example.com/api/* (route)", "*/5 * * * * (cron trigger"]
    {
        assert!(deployed.contains(said), "{said}: {deployed}");
    }
    let style = platform.get("site.dev", "/style.css").await;
    assert_eq!((style.text.as_str(), style.header("x-rule")), ("h1 { color: red }", "yes"));
    assert_eq!(platform.get("site.dev", "/").await.text, "<h1>Hello</h1>");
    assert_eq!(platform.get("site.dev", "/other").await.text, "target");

    // What is there is not uploaded again, and not made again.
    site.write("public/style.css", "h1 { color: blue }");
    let again = person.json(folder, &["deploy"]).await;
    assert_eq!(again["assets"], serde_json::json!({ "files": 2, "uploaded": 1, "bytes": 18 }));
    assert_eq!(again["made"], serde_json::json!([]));
    assert_eq!(platform.get("site.dev", "/style.css").await.text, "h1 { color: blue }");
    let namespaces =
        platform.api(Method::GET, &format!("/accounts/{}/storage/kv/namespaces", platform.account), "").await;
    assert_eq!(namespaces["result"][0]["title"], "site-my-cache", "{namespaces}");

    let crons = person.json(folder, &["cron", "list"]).await;
    assert_eq!(text(&crons, "/0/cron"), "*/5 * * * *");
    assert_eq!(text(&person.json(folder, &["cron", "run"]).await, "/outcome"), "ok");
    let failed = person.fails(folder, &["cron", "run", "fail"]).await;
    assert!(failed.contains("Error: no"), "{failed}");

    person.does(folder, &["routes", "add", "www.example.com/*"]).await;
    let routes = person.does(folder, &["routes", "list"]).await;
    assert!(routes.contains("www.example.com/*") && routes.contains("shop.example.com"), "{routes}");
    person.does(folder, &["routes", "remove", "www.example.com/*"]).await;
    assert!(!person.does(folder, &["routes", "list"]).await.contains("www."));
    let elsewhere = person.fails(folder, &["routes", "add", "other.test/*"]).await;
    assert!(elsewhere.contains("skep domains add"), "{elsewhere}");
    let used = person.fails(folder, &["domains", "remove", "example.com"]).await;
    assert!(used.contains("is in this domain"), "{used}");
    let unproved = person.does(folder, &["domains", "add", "unproved.invalid"]).await;
    assert!(unproved.contains("/.well-known/skep-verify.txt"), "{unproved}");
    let refused = person.fails(folder, &["domains", "verify", "unproved.invalid"]).await;
    assert!(refused.contains("not proved yet"), "{refused}");
    person.does(folder, &["domains", "remove", "unproved.invalid"]).await;
    assert!(!person.does(folder, &["domains", "list"]).await.contains("unproved"));

    // Who is called cannot go.
    let called = person.fails(target.folder(), &["delete", "-y"]).await;
    assert!(called.contains("called by site"), "{called}");
}

#[tokio::test]
async fn a_domain_is_proved_by_a_file() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    // The only name that leads to a server of this test's own, where it may listen, is not to be the platform's.
    let data = std::sync::Arc::new(tempfile::TempDir::new().expect("a folder"));
    let platform = Platform::over(data, &["--domain", "skep.test"]).await;
    let person = Person::new();
    let url = format!("http://127.0.0.1:{}", platform.host.rsplit_once(':').expect("a port").1);
    person.does(person.home(), &["login", "--url", &url, "--token", &platform.token]).await;
    let own = person.fails(person.home(), &["domains", "add", "hello.dev.skep.test"]).await;
    assert!(own.contains("the platform's own"), "{own}");
    let Ok(listener) = tokio::net::TcpListener::bind("127.0.0.1:80").await else { return };
    let added = person.json(person.home(), &["domains", "add", "localhost"]).await;
    let content = text(&added, "/proof/file/content");
    tokio::spawn(async move {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let _ = stream.read(&mut [0; 4096]).await;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{content}\n", content.len() + 1);
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    let proved = person.json(person.home(), &["domains", "verify", "localhost"]).await;
    assert!(proved["verified_on"].is_string(), "{proved}");
}

#[tokio::test]
async fn secrets_may_come_before_the_first_deploy() {
    let platform = Platform::start().await;
    let person = Person::of(&platform).await;
    let project = project();
    project.write(
        "wrangler.jsonc",
        r#"{ "name": "hello", "main": "index.js", "compatibility_date": "2025-06-01", "vars": { "GREETING": "hi" }, "secrets": { "required": ["TOKEN"] } }"#,
    );
    let refused = person.fails(project.folder(), &["deploy"]).await;
    assert!(refused.contains("TOKEN") && refused.contains("skep secret put"), "{refused}");
    let put = person.run_with(project.folder(), &["secret", "put", "TOKEN"], &[], "early").await;
    assert_eq!(put.code, Some(0), "{}", put.errors);
    assert_eq!(platform.get("hello.dev", "/").await.status, 404);
    person.does(project.folder(), &["deploy"]).await;
    assert_eq!(platform.get("hello.dev", "/").await.text, r#"{"version":1,"greeting":"hi","secret":"early"}"#);
}

#[tokio::test]
async fn a_token_reaches_what_it_is_for() {
    let platform = Platform::start().await;
    let person = Person::of(&platform).await;
    let project = project();
    let folder = project.folder();
    let who = person.does(folder, &["whoami"]).await;
    assert!(who.contains(&platform.account) && who.contains("skep login"), "{who}");

    let created = person.run(folder, &["token", "create", "ci", "--worker", "hello", "--expires", "30d"]).await;
    assert_eq!(created.code, Some(0), "{}", created.errors);
    let value = created.output.trim();
    assert!(value.starts_with("skep_") && created.errors.contains("for hello only"), "{}", created.errors);
    let url = format!("http://{}", platform.host);
    let variables = [("SKEP_URL", url.as_str()), ("SKEP_TOKEN", value)];
    let deployed = person.run_with(folder, &["deploy"], &variables, "").await;
    assert_eq!(deployed.code, Some(0), "{}", deployed.errors);
    let elsewhere = person.run_with(folder, &["deploy", "--name", "other"], &variables, "").await;
    assert_eq!(elsewhere.code, Some(1));
    assert!(elsewhere.errors.contains("9109") && elsewhere.errors.contains("\"hello\" only"), "{}", elsewhere.errors);
    let tokens = person.run_with(folder, &["token", "list", "--json"], &variables, "").await;
    let error: Value = serde_json::from_str(&tokens.errors).expect("JSON");
    assert_eq!((tokens.code, &error["error"]["code"], &error["error"]["status"]), (Some(1), &9109.into(), &403.into()));

    assert!(person.does(folder, &["token", "list"]).await.contains("ci"));
    person.does(folder, &["token", "revoke", "ci"]).await;
    let revoked = person.run_with(folder, &["whoami"], &variables, "").await;
    assert!(revoked.code == Some(1) && revoked.errors.contains("10000"), "{}", revoked.errors);
}

#[tokio::test]
async fn wrangler_finds_the_platform_in_the_project() {
    let platform = Platform::start().await;
    let person = Person::of(&platform).await;
    let project = project();
    let folder = project.folder();
    let printed = person.does(folder, &["env"]).await;
    let expected = format!(
        "export CLOUDFLARE_API_BASE_URL=http://{}/client/v4\nexport CLOUDFLARE_API_TOKEN={}\nexport CLOUDFLARE_ACCOUNT_ID={}\n",
        platform.host, platform.token, platform.account
    );
    assert_eq!(printed, expected);

    project.write(".env", "MINE=1\n");
    person.does(folder, &["env", "--write"]).await;
    assert_eq!(project.read(".env"), format!("MINE=1\n{}", expected.replace("export ", "")));
    let mode = std::fs::metadata(folder.join(".env")).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // Our own commands find it there too, without a login.
    let stranger = Person::new();
    let who = stranger.does(folder, &["whoami"]).await;
    assert!(who.contains("CLOUDFLARE_"), "{who}");

    let Some(wrangler) = Wrangler::version("4.164.0") else { return };
    let who = wrangler.run_bare(&platform, folder, &["whoami"]).await;
    assert!(who.code == Some(0) && who.output.contains(&platform.account), "{}{}", who.output, who.errors);
}

#[tokio::test]
async fn a_dry_run_sends_nothing() {
    let project = project();
    // Nobody is logged in, and nobody needs to be.
    let person = Person::new();
    let shown = person.does(project.folder(), &["deploy", "--dry-run", "--outdir", "out"]).await;
    assert!(
        shown.contains("index.js") && shown.contains("env.GREETING (plain_text)") && shown.contains("nothing was sent"),
        "{shown}"
    );
    assert!(project.read("out/index.js").contains("version: 1"));
    let metadata: Value = serde_json::from_str(&project.read("out/metadata.json")).expect("JSON");
    assert_eq!(metadata["main_module"], "index.js");
    let document = person.json(project.folder(), &["deploy", "--dry-run"]).await;
    assert_eq!(document["dry_run"], true);
}
