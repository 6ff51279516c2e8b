//! Static assets in `skep dev`: what answers, and what happens when a file of them is saved.

use hyper::Request;

use crate::support::{Answer, Dev, Project, body, fetch};

/// The Worker says how many requests it has had, so that a test sees whether its isolate is still the same.
const SCRIPT: &str = "let count = 0;
export default {
  async fetch(request, env) {
    count += 1;
    const { pathname } = new URL(request.url);
    if (pathname === '/api/asset') return env.ASSETS.fetch('http://any.host/about');
    if (pathname === '/api/missing') return new Response(`status ${(await env.ASSETS.fetch('http://any.host/no')).status}`);
    return new Response(`the Worker has ${pathname}, number ${count}`);
  },
};";

fn configuration(script: bool, assets: &str) -> String {
    let main = if script { r#""main": "index.js", "# } else { "" };
    format!(
        r#"{{ "name": "site", {main}"compatibility_date": "2026-10-06", "assets": {{ "directory": "public", {assets} }} }}"#
    )
}

/// A project with two pages.
fn project(script: bool, assets: &str) -> Project {
    let project = Project::new(&[
        ("wrangler.jsonc", &configuration(script, assets)),
        ("public/index.html", "<h1>Home</h1>"),
        ("public/about.html", "<h1>About</h1>"),
    ]);
    if script {
        project.write("index.js", SCRIPT);
    }
    project
}

fn status_and_text(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), &answer.text)
}

/// Waits for the next reload and asks for a path.
async fn reloaded(dev: &mut Dev, path: &str) -> Answer {
    dev.output.until("Reloaded in ").await;
    dev.get(path).await
}

#[tokio::test]
async fn a_project_that_has_assets_only() {
    let project = project(false, r#""html_handling": "auto-trailing-slash""#);
    let mut dev = project.dev(&[]).await;
    assert!(dev.output.all().starts_with("Ready on "), "{}", dev.output.all());
    let home = dev.get("/").await;
    assert_eq!(status_and_text(&home), (200, "<h1>Home</h1>"));
    assert_eq!(home.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(home.header("cache-control"), "public, max-age=0, must-revalidate");
    assert_eq!(dev.get("/about").await.text, "<h1>About</h1>");
    let redirect = dev.get("/about.html").await;
    assert_eq!((redirect.status.as_u16(), redirect.header("location")), (307, "/about"));
    assert_eq!(dev.get("/nothing").await.status, 404);
    dev.output.until("[skep] GET /nothing 404 Not Found").await;

    let again = Request::get("/").header("if-none-match", home.header("etag")).body(body("")).unwrap();
    assert_eq!(fetch(&dev.host, again).await.status, 304);
    assert_eq!(dev.post("/", "x").await.status, 405);
    let scheduled = dev.get("/cdn-cgi/handler/scheduled").await;
    assert_eq!(scheduled.status, 404);
    assert!(scheduled.text.contains("no scheduled handler"), "{}", scheduled.text);

    // It gets a script while it runs, and loses it again.
    project.write("index.js", SCRIPT);
    project.write("wrangler.jsonc", &configuration(true, r#""binding": "ASSETS""#));
    assert_eq!(reloaded(&mut dev, "/nothing").await.text, "the Worker has /nothing, number 1");
    assert_eq!(dev.get("/").await.text, "<h1>Home</h1>");
    project.write("wrangler.jsonc", &configuration(false, r#""html_handling": "none""#));
    assert_eq!(reloaded(&mut dev, "/nothing").await.status, 404);
    assert_eq!(dev.get("/about.html").await.text, "<h1>About</h1>");
}

#[tokio::test]
async fn assets_beside_a_script() {
    let project = project(true, r#""binding": "ASSETS""#);
    let dev = project.dev(&[]).await;
    assert_eq!(dev.get("/").await.text, "<h1>Home</h1>");
    assert_eq!(dev.get("/elsewhere").await.text, "the Worker has /elsewhere, number 1");
    assert_eq!(status_and_text(&dev.get("/api/asset").await), (200, "<h1>About</h1>"));
    assert_eq!(dev.get("/api/missing").await.text, "status 404");
}

#[tokio::test]
async fn the_worker_may_run_first() {
    let project = project(true, r#""binding": "ASSETS", "run_worker_first": ["/about", "!/index*"]"#);
    let mut dev = project.dev(&[]).await;
    assert_eq!(dev.get("/about").await.text, "the Worker has /about, number 1");
    assert_eq!(dev.get("/").await.text, "<h1>Home</h1>");
    assert_eq!(dev.get("/index-of-nothing").await.status, 404, "an exception is never the Worker's");
    assert_eq!(dev.get("/api/asset").await.text, "<h1>About</h1>", "what no asset answers still is");
    project.write("wrangler.jsonc", &configuration(true, r#""binding": "ASSETS", "run_worker_first": true"#));
    assert_eq!(reloaded(&mut dev, "/").await.text, "the Worker has /, number 1");
    assert_eq!(dev.get("/api/asset").await.text, "<h1>About</h1>");
}

#[tokio::test]
async fn rules_count_and_are_read_again() {
    let project = project(true, r#""binding": "ASSETS""#);
    project.write("public/_headers", "/about\n  X-Rule: one\n");
    project.write("public/_redirects", "/old /about 301\n");
    let mut dev = project.dev(&[]).await;
    assert_eq!(dev.get("/about").await.header("x-rule"), "one");
    let redirect = dev.get("/old").await;
    assert_eq!((redirect.status.as_u16(), redirect.header("location")), (301, "/about"));
    assert_eq!(dev.get("/_headers").await.text, "the Worker has /_headers, number 1", "rules are no assets");

    project.write("public/_headers", "/about\n  X-Rule: two\n");
    assert_eq!(reloaded(&mut dev, "/about").await.header("x-rule"), "two");
    project.write("public/_redirects", "/older /about 302\n");
    assert_eq!(reloaded(&mut dev, "/older").await.status, 302);
    assert_eq!(dev.get("/old").await.text, "the Worker has /old, number 2", "the isolate is still the same");

    project.write("public/_redirects", "/older about\n");
    dev.output.until("warning: this line has no effect").await;
    dev.output.until("public/_redirects:1:").await;
}

#[tokio::test]
async fn a_page_for_what_is_not_found() {
    let project = project(false, r#""not_found_handling": "single-page-application""#);
    let mut dev = project.dev(&[]).await;
    assert_eq!(status_and_text(&dev.get("/a/b").await), (200, "<h1>Home</h1>"));
    project.write("public/404.html", "<h1>Lost</h1>");
    dev.output.until("Reloaded in ").await;
    project.write("wrangler.jsonc", &configuration(false, r#""not_found_handling": "404-page""#));
    assert_eq!(status_and_text(&reloaded(&mut dev, "/a/b").await), (404, "<h1>Lost</h1>"));
}

#[tokio::test]
async fn a_saved_asset_is_live_and_the_isolate_goes_on() {
    let project = project(true, r#""binding": "ASSETS""#);
    let mut dev = project.dev(&[]).await;
    assert_eq!(dev.get("/elsewhere").await.text, "the Worker has /elsewhere, number 1");
    let before = dev.get("/about").await;

    // Of the same length, so that only its content tells.
    project.write("public/about.html", "<h1>abOUT</h1>");
    let after = reloaded(&mut dev, "/about").await;
    assert_eq!(after.text, "<h1>abOUT</h1>");
    assert_ne!(after.header("etag"), before.header("etag"));
    assert_eq!(dev.get("/api/asset").await.text, "<h1>abOUT</h1>", "the binding has it too");
    assert_eq!(dev.get("/elsewhere").await.text, "the Worker has /elsewhere, number 3");

    project.write("public/deep/down/new.txt", "new");
    dev.output.until("Reloaded in ").await;
    // The folder may have been seen before its file was there.
    while dev.get("/deep/down/new.txt").await.text != "new" {
        dev.output.until("Reloaded in ").await;
    }
    project.write("public/deep/down/new.txt", "newer");
    assert_eq!(reloaded(&mut dev, "/deep/down/new.txt").await.text, "newer", "a new folder is watched");

    std::fs::remove_file(project.folder().join("public/about.html")).unwrap();
    let gone = reloaded(&mut dev, "/about").await.text;
    assert!(gone.starts_with("the Worker has /about"), "{gone}");
    assert!(!gone.ends_with("number 1"), "the isolate is still the same: {gone}");

    project.write("index.js", &SCRIPT.replace("the Worker has", "the new Worker has"));
    assert_eq!(reloaded(&mut dev, "/elsewhere").await.text, "the new Worker has /elsewhere, number 1");
    // An unchanged script that is saved starts anew, as it does without assets.
    project.write("index.js", &SCRIPT.replace("the Worker has", "the new Worker has"));
    assert_eq!(reloaded(&mut dev, "/elsewhere").await.text, "the new Worker has /elsewhere, number 1");
}

#[tokio::test]
async fn the_folder_may_be_made_anew() {
    let project = project(true, r#""binding": "ASSETS""#);
    let mut dev = project.dev(&[]).await;
    let folder = project.folder().join("public");
    std::fs::remove_dir_all(&folder).unwrap();
    dev.output.until("the assets folder public does not exist").await;
    project.write("public/index.html", "<h1>Built</h1>");
    while dev.get("/").await.text != "<h1>Built</h1>" {
        dev.output.until("Reloaded in ").await;
    }
    // As build tools do that replace a folder as a whole.
    project.write("next/index.html", "<h1>Next</h1>");
    std::fs::rename(&folder, project.folder().join("old")).unwrap();
    std::fs::rename(project.folder().join("next"), &folder).unwrap();
    while dev.get("/").await.text != "<h1>Next</h1>" {
        dev.output.until("Reloaded in ").await;
    }
    project.write("public/index.html", "<h1>Last</h1>");
    while dev.get("/").await.text != "<h1>Last</h1>" {
        dev.output.until("Reloaded in ").await;
    }
}

#[tokio::test]
async fn a_large_file_is_streamed_and_ranges_work() {
    let project = project(false, r#""html_handling": "none""#);
    let large: String = (0..400_000).map(|number| format!("{number:07}\n")).collect();
    project.write("public/large.txt", &large);
    let dev = project.dev(&[]).await;
    assert_eq!(dev.get("/large.txt").await.text, large);
    let range = Request::get("/large.txt").header("range", "bytes=8-15").body(body("")).unwrap();
    assert_eq!(status_and_text(&fetch(&dev.host, range).await), (206, "0000001\n"));
}

#[tokio::test]
async fn rate_limits_count_and_outlive_a_reload() {
    let configuration = r#"{ "name": "w", "main": "index.js", "compatibility_date": "2026-10-06",
        "ratelimits": [{ "name": "LIMITER", "namespace_id": "1", "simple": { "limit": 2, "period": 60 } }] }"#;
    let script = "export default { fetch: async (request, env) => new Response((await env.LIMITER.limit({ key: new URL(request.url).pathname })).success) };";
    let project = Project::new(&[("wrangler.jsonc", configuration), ("index.js", script)]);
    let mut dev = project.dev(&[]).await;
    // A period may end in between: of any five in a row, one is refused.
    let mut said = Vec::new();
    for _ in 0..5 {
        said.push(dev.get("/one").await.text);
    }
    assert!(said.iter().any(|text| text == "true") && said.iter().any(|text| text == "false"), "{said:?}");
    assert_eq!(dev.get("/other").await.text, "true");
    project.write("index.js", &format!("{script}\n// saved"));
    dev.output.until("Reloaded in ").await;
    let mut said = Vec::new();
    for _ in 0..3 {
        said.push(dev.get("/one").await.text);
    }
    assert!(said.iter().any(|text| text == "false"), "{said:?}");
}

#[tokio::test]
async fn another_worker_is_not_there() {
    let configuration = r#"{ "name": "caller", "main": "index.js", "compatibility_date": "2026-10-06",
        "services": [{ "binding": "TARGET", "service": "target" }, { "binding": "SELF", "service": "caller" }] }"#;
    let script = "export default { async fetch(request, env) {
        if (new URL(request.url).pathname === '/self') return new Response('myself');
        const asked = async (ask) => { try { return await ask(); } catch (error) { return error.message; } };
        const texts = [await asked(() => env.TARGET.fetch(request)), await asked(() => env.TARGET.add(1, 2)), await (await env.SELF.fetch('http://any/self')).text()];
        return new Response(texts.join('\\n'));
    } };";
    let project = Project::new(&[("wrangler.jsonc", configuration), ("index.js", script)]);
    let dev = project.dev(&[]).await;
    let said = dev.output.all();
    assert!(
        said.contains("warning: the binding \"TARGET\" is to the Worker \"target\", and skep dev runs one Worker"),
        "{said}"
    );
    assert!(!said.contains("SELF"), "{said}");
    let text = dev.get("/").await.text;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in &lines[..2] {
        assert!(line.contains("The Worker \"target\" is not here: skep dev runs one Worker"), "{text}");
    }
    assert_eq!(lines[2], "myself");
}
