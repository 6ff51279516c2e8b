//! What usage costs, and what happens when it may not cost more.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, Person, Platform};

const WORKER: &str = "export default {
    fetch: () => new Response('hello'),
    async scheduled() {},
};";
/// A request costs a cent, the month nothing.
const PLAN: &str = r#"
    name = "cents"
    title = "A cent each"
    base = "0"
    [requests]
    included = 0
    price_per_million = "10000"
"#;

/// A platform on which a request costs a cent, with more in the plan.
async fn platform(more: &str) -> Platform {
    let data = Arc::new(TempDir::new().expect("a folder"));
    let plans = data.path().join("plans");
    fs::create_dir(&plans).expect("a folder");
    fs::write(plans.join("cents.toml"), format!("{PLAN}{more}")).expect("written");
    let plans = plans.to_str().expect("a path").to_owned();
    let platform = Platform::over(data, &["--plans", &plans, "--plan", "cents"]).await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    platform.upload("other", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    platform
}

impl Platform {
    async fn terms(&self, terms: &Value) -> Value {
        let path = format!("/skep/v1/accounts/{}/billing", self.account);
        self.own(Method::PUT, &path, &terms.to_string()).await
    }

    /// Asks until it is refused. Gives how many were answered, and the page.
    async fn until_refused(&self, label: &str) -> (u64, crate::support::Answer) {
        let begun = Instant::now();
        let mut answered = 0;
        loop {
            let answer = self.get(label, "/").await;
            if answer.status == 429 {
                return (answered, answer);
            }
            assert_eq!(answer.text, "hello");
            answered += 1;
            assert!(begun.elapsed() < PATIENCE, "{answered} were answered");
        }
    }
}

#[tokio::test]
async fn a_spend_cap_stops_a_worker_and_raising_it_lets_it_go_on() {
    let platform = platform("").await;
    assert_eq!(platform.terms(&json!({ "cap": { "per_month": "0.05" } })).await["success"], true);
    // How soon it holds, the bench measures.
    let (answered, page) = platform.until_refused("hello.dev").await;
    assert!(answered >= 5, "{answered}");
    assert!(page.text.contains("Error 1027"), "{}", page.text);
    assert!(page.text.contains("spend cap of 0.05 $ a month"), "{}", page.text);
    assert!(page.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{}", page.text);
    // All of the account's, its cron triggers too, and not the API.
    assert_eq!(platform.get("other.dev", "/").await.status, 429);
    let path = format!("/skep/v1/accounts/{}/workers/hello/crons/run", platform.account);
    let ran = platform.own(Method::POST, &path, r#"{"cron":"* * * * *"}"#).await;
    assert!(ran.to_string().contains("spend cap"), "{ran}");

    let person = Person::of(&platform).await;
    let shown = person.does(platform.data.path(), &["billing", "cap", "1000.00"]).await;
    assert!(shown.contains("A cent each") && shown.contains("of 1000"), "{shown}");
    // At once.
    assert_eq!(platform.get("hello.dev", "/").await.text, "hello");
    // It was said, to who runs the platform and in the account's audit log.
    assert!(platform.output.all().contains("spend cap"), "{}", platform.output.all());
    let audit = platform.own(Method::GET, &format!("/skep/v1/accounts/{}/audit", platform.account), "").await;
    assert!(audit.to_string().contains("usage.warning"), "{audit}");
}

#[tokio::test]
async fn a_cap_that_is_reached_holds_after_a_restart() {
    let mut platform = platform("[cap]\nper_month = \"0.03\"\nthen = \"refuse\"").await;
    platform.until_refused("hello.dev").await;
    platform.kill().await;
    let plans = platform.data.path().join("plans");
    let plans = plans.to_str().expect("a path");
    let data = Arc::clone(&platform.data);
    let platform = Platform::over(data, &["--plans", plans, "--plan", "cents"]).await;
    assert_eq!(platform.get("hello.dev", "/").await.status, 429);
}

#[tokio::test]
async fn a_worker_has_limits_of_its_own() {
    let platform = platform("").await;
    let limits = json!({ "workers": { "hello": { "requests_per_day": 3 } } });
    assert_eq!(platform.terms(&limits).await["success"], true);
    let (answered, page) = platform.until_refused("hello.dev").await;
    assert!(
        answered >= 3 && page.text.contains("The Worker hello has reached its limit of 3 requests a day"),
        "{}",
        page.text
    );
    assert_eq!(platform.get("other.dev", "/").await.text, "hello");
    // Held back, some are served.
    let throttled =
        json!({ "workers": { "hello": { "requests_per_day": 3, "then": "throttle", "throttle_per_second": 5 } } });
    assert_eq!(platform.terms(&throttled).await["success"], true);
    let (begun, mut served, mut refused) = (Instant::now(), 0, 0);
    while served < 5 || refused == 0 {
        match platform.get("hello.dev", "/").await.status.as_u16() {
            200 => served += 1,
            429 => refused += 1,
            other => panic!("{other}"),
        }
        assert!(begun.elapsed() < PATIENCE, "{served} were served, {refused} refused");
    }
    // What a second has, at once, and what comes as time passes.
    let most = 5.0 * (1.0 + begun.elapsed().as_secs_f64()) + 1.0;
    assert!(f64::from(served) <= most, "{served} of at most {most}");
    let refused = platform.terms(&json!({ "workers": { "hello": { "requests_per_day": 0 } } })).await;
    assert!(refused.to_string().contains("workers.hello.requests_per_day"), "{refused}");
}

#[tokio::test]
async fn an_invoice_is_for_people_and_programs() {
    let platform = platform("").await;
    for _ in 0..3 {
        platform.get("hello.dev", "/").await;
    }
    platform.get("other.dev", "/").await;
    platform.usage_of(4, "worker").await;
    let person = Person::of(&platform).await;
    let folder = platform.data.path();
    let invoice = person.json(folder, &["invoice"]).await;
    assert_eq!((invoice["total"].as_str(), invoice["state"].as_str()), (Some("0.04"), Some("open")));
    let shares: Vec<(&str, &str)> = invoice["by_worker"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["worker"].as_str().unwrap_or(""), row["amount"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(shares, [("hello", "0.03"), ("other", "0.01")]);
    assert!(person.does(folder, &["invoice"]).await.contains("A cent each"));
    let csv = person.does(folder, &["invoice", "--format", "csv"]).await;
    assert!(csv.lines().any(|line| line.contains("worker,hello,3,")), "{csv}");
    person.does(folder, &["invoice", "--format", "html", "--output", "invoice.html"]).await;
    let page = fs::read_to_string(folder.join("invoice.html")).expect("written");
    assert!(page.starts_with("<!doctype html>") && page.contains("A cent each"), "{page}");
    let comparison = person.does(folder, &["usage", "--compare", "--vm-price", "5"]).await;
    assert!(comparison.contains("AWS Lambda") && comparison.contains("(yours)"), "{comparison}");
    for (arguments, says) in [
        (&["invoice", "2026-13"][..], "write year and month as 2026-07"),
        (&["invoice", "2999-01"], "has not begun"),
        (&["usage", "--compare", "--vm-price", "free"], "such as 5.00"),
        (&["billing", "cap", "much"], "write it like 20.00"),
        (&["billing", "plan", "none"], "choose one of cents"),
    ] {
        let error = person.fails(folder, arguments).await;
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    let shown = person.does(folder, &["billing", "plan", "workers-free"]).await;
    assert!(shown.contains("Cloudflare Workers Free") && shown.contains("of 100000"), "{shown}");
}

#[tokio::test]
async fn a_plan_with_a_mistake_is_refused_with_its_line() {
    let data = TempDir::new().expect("a folder");
    let plans = data.path().join("plans");
    fs::create_dir(&plans).expect("a folder");
    fs::write(plans.join("cents.toml"), PLAN.replace("\"10000\"", "0.3")).expect("written");
    let folder = data.path().join("data");
    let arguments = Platform::arguments(&folder, &["--plans", plans.to_str().expect("a path")]);
    let ended = crate::support::skep(data.path(), &arguments).await;
    let expect = "cents.toml:7: requests.price_per_million: a float is not exact: write it in quotes, as \"0.3\"";
    assert!(ended.code == Some(1) && ended.errors.contains(expect), "{ended:?}");
}

/// Takes one request on a connection, answers 200, and gives its text.
pub(crate) async fn take(listener: &tokio::net::TcpListener) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut request = Vec::new();
    let is_whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        length.is_some_and(|length| body.len() >= length)
    };
    while !is_whole(&request) {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.expect("read");
        assert!(read > 0, "the request broke off: {}", String::from_utf8_lossy(&request));
        request.extend_from_slice(&bytes[..read]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.expect("written");
    String::from_utf8(request).expect("a text")
}

#[tokio::test]
async fn people_are_told_when_a_limit_is_near_and_when_a_process_dies() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let hook = listener.local_addr().expect("an address");
    let data = Arc::new(TempDir::new().expect("a folder"));
    let config = data.path().join("skep.toml");
    let text = format!(
        "alerts = [\"hook\"]\n[destinations.hook]\ntype = \"webhook\"\nurl = \"http://{hook}/alerts\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n"
    );
    fs::write(&config, text).expect("written");
    let mut platform = Platform::over(data, &["--config", config.to_str().expect("a path")]).await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    let limits = json!({ "workers": { "hello": { "requests_per_day": 2 } } });
    assert_eq!(platform.terms(&limits).await["success"], true);
    assert_eq!(platform.get("hello.dev", "/").await.text, "hello");
    let half = tokio::time::timeout(PATIENCE, take(&listener)).await.expect("it is told");
    assert!(half.starts_with("POST /alerts ") && half.contains("webhook-signature"), "{half}");
    assert!(half.contains("usage.limit") && half.contains("The Worker hello has used 50 %"), "{half}");
    platform.until_refused("hello.dev").await;
    let all = tokio::time::timeout(PATIENCE, take(&listener)).await.expect("it is told");
    assert!(all.contains("critical") && all.contains("% of its limit of 2 requests a day"), "{all}");
    let [runtime] = platform.runtimes()[..] else { panic!("{:?}", platform.runtimes()) };
    crate::processes::send("KILL", runtime).await;
    let died = tokio::time::timeout(PATIENCE, take(&listener)).await.expect("it is told");
    assert!(died.contains("runtime.died") && died.contains("SIGKILL"), "{died}");
    // What cannot be told waits, and is told after a restart.
    drop(listener);
    let more = json!({ "workers": { "hello": { "requests_per_day": 4 } } });
    assert_eq!(platform.terms(&more).await["success"], true);
    platform.kill().await;
    let listener = tokio::net::TcpListener::bind(hook).await.expect("the port is free");
    let data = Arc::clone(&platform.data);
    let _platform = Platform::over(data, &["--config", config.to_str().expect("a path")]).await;
    let later = tokio::time::timeout(PATIENCE, take(&listener)).await.expect("it is told");
    assert!(later.contains("limit of 4 requests a day"), "{later}");
}
