//! When the Worker runs: <https://developers.cloudflare.com/workers/static-assets/routing/worker-script/> and
//! <https://developers.cloudflare.com/workers/static-assets/routing/single-page-application/#navigation-requests>.

mod support;

use serde_json::json;
use skep_assets::WorkerReason;
use support::{Seen, Tested, config, content, nothing, request, to};

const FILES: &[&str] = &["/index.html", "/404.html", "/page.html", "/api/docs/a.html", "/private/a.html"];
const RUNS_FIRST: Seen = Seen::Worker(WorkerReason::RunsFirst);
const NO_ASSET: Seen = Seen::Worker(WorkerReason::NoAsset);
/// The day before navigations went to assets, and the day since.
const BEFORE: &str = "2025-03-31";
const SINCE: &str = "2025-04-01";

#[tokio::test]
async fn assets_come_first() {
    let site = Tested::with_worker(FILES, &config(json!({})), SINCE, &[]);
    assert_eq!(site.get("/page").await, content("/page.html"));
    assert_eq!(site.get("/page.html").await, to("/page"));
    assert_eq!(site.get("/api/name").await, NO_ASSET);
    assert_eq!(site.ask(request("POST", "/api/name", &[])).await, NO_ASSET);
    assert_eq!(site.ask(request("POST", "/page", &[])).await, Seen::Content(405, String::new()));
}

#[tokio::test]
async fn the_worker_may_always_run_first() {
    let site = Tested::with_worker(FILES, &config(json!({ "run_worker_first": true })), SINCE, &[]);
    for path in ["/page", "/page.html", "/nothing", "/"] {
        assert_eq!(site.get(path).await, RUNS_FIRST, "{path}");
    }
    // without a script there is nothing to run
    let only_assets = Tested::assets(FILES, &config(json!({ "run_worker_first": true })));
    assert_eq!(only_assets.get("/page").await, content("/page.html"));
    assert_eq!(only_assets.get("/nothing").await, nothing());
}

#[tokio::test]
async fn patterns_say_where_the_worker_runs_first() {
    let rules = json!({ "run_worker_first": ["/api/*", "!/api/docs/*", "/private/*", "/oauth/callback"] });
    let site = Tested::with_worker(FILES, &config(rules), SINCE, &[]);
    for (path, expect) in [
        ("/api/name", RUNS_FIRST),
        ("/api/docs/a", content("/api/docs/a.html")),
        ("/api/docs/nothing", nothing()),
        ("/oauth/callback?code=1", RUNS_FIRST),
        ("/page", content("/page.html")),
        ("/nothing", NO_ASSET),
        ("/private/a", RUNS_FIRST),
        // no other spelling passes the pattern
        ("/%70rivate/a", RUNS_FIRST),
        ("//private/a", RUNS_FIRST),
        ("/x/../private/a", RUNS_FIRST),
        ("/private%2Fa", RUNS_FIRST),
    ] {
        assert_eq!(site.get(path).await, expect, "{path}");
    }
}

#[tokio::test]
async fn with_patterns_all_other_paths_are_the_assets() {
    let rules = json!({ "run_worker_first": ["/api/*"], "not_found_handling": "single-page-application" });
    for date in [BEFORE, SINCE] {
        let site = Tested::with_worker(FILES, &config(rules.clone()), date, &[]);
        assert_eq!(site.get("/deep/link").await, content("/index.html"));
        assert_eq!(site.get("/api/x").await, RUNS_FIRST);
    }
}

#[tokio::test]
async fn navigations_prefer_assets() {
    let navigation = || request("GET", "/deep/link", &[("sec-fetch-mode", "navigate")]);
    let spa = config(json!({ "not_found_handling": "single-page-application" }));
    let check = async |date: &str, flags: &[&str], expect: Seen| {
        let site = Tested::with_worker(FILES, &spa, date, flags);
        assert_eq!(site.ask(navigation()).await, expect, "{date} {flags:?}");
        assert_eq!(site.ask(request("GET", "/deep/link", &[("sec-fetch-mode", "cors")])).await, NO_ASSET);
        assert_eq!(site.get("/deep/link").await, NO_ASSET);
    };
    check(SINCE, &[], content("/index.html")).await;
    check(BEFORE, &[], NO_ASSET).await;
    check(BEFORE, &["assets_navigation_prefers_asset_serving"], content("/index.html")).await;
    check(SINCE, &["assets_navigation_has_no_effect"], NO_ASSET).await;

    let pages = Tested::with_worker(FILES, &config(json!({ "not_found_handling": "404-page" })), SINCE, &[]);
    assert_eq!(pages.ask(navigation()).await, Seen::Content(404, "/404.html".to_owned()));
    let none = Tested::with_worker(FILES, &config(json!({})), SINCE, &[]);
    assert_eq!(none.ask(navigation()).await, NO_ASSET);
    let first = Tested::with_worker(
        FILES,
        &config(json!({ "not_found_handling": "404-page", "run_worker_first": true })),
        SINCE,
        &[],
    );
    assert_eq!(first.ask(navigation()).await, RUNS_FIRST);
}

#[tokio::test]
async fn the_binding_never_runs_the_worker() {
    let rules = json!({ "run_worker_first": true, "not_found_handling": "404-page", "_redirects": "/old /page 301" });
    let site = Tested::with_worker(FILES, &config(rules), SINCE, &[]);
    let fetch = async |url: &str| site.fetch(request("GET", url, &[])).await;
    assert_eq!(fetch("/page").await, content("/page.html"));
    assert_eq!(fetch("/page.html").await, to("/page"));
    assert_eq!(fetch("/nothing").await, Seen::Content(404, "/404.html".to_owned()));
    assert_eq!(fetch("/old").await, Seen::To(301, "/page".to_owned()));
    assert_eq!(fetch("http://assets.local/page").await, content("/page.html"));
    let none = Tested::with_worker(FILES, &config(json!({})), SINCE, &[]);
    assert_eq!(none.fetch(request("GET", "/nothing", &[])).await, nothing());
}

#[tokio::test]
async fn redirects_come_before_the_worker_and_after_its_patterns() {
    let rules =
        json!({ "run_worker_first": ["/api/*"], "_redirects": "/old /new\n/api/old /new\n/shown /missing 200" });
    let site = Tested::with_worker(FILES, &config(rules), SINCE, &[]);
    assert_eq!(site.get("/old").await, Seen::To(302, "/new".to_owned()));
    assert_eq!(site.get("/api/old").await, RUNS_FIRST);
    // a path that shows another is the assets', also if that one is missing
    assert_eq!(site.get("/shown").await, nothing());
}
