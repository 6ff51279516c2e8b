//! The platform looks at itself, says how it is, and tells people when something begins to be wrong and when that is over.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::billing::take;
use crate::processes::send;
use crate::support::{PATIENCE, Person, Platform, fetch, free_port, get};

/// Within this something must be noticed that is looked for every few seconds, on a busy machine too.
const SOON: Duration = PATIENCE;
/// Alerts that nobody has looked at.
const MOST_ALERTS: usize = 64;
/// Answers, and fails where it is asked to.
const WORKER: &str = "export default {
    fetch(request) {
        if (new URL(request.url).pathname === '/fail') throw new Error('as asked');
        return new Response('hello');
    },
};";

/// A platform whose alerts go to who listens, with some settings more, and where its metrics and health are.
async fn with_alerts(more: &str) -> (Platform, mpsc::Receiver<String>, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let hook = listener.local_addr().expect("an address");
    let (sender, alerts) = mpsc::channel(MOST_ALERTS);
    tokio::spawn(async move {
        loop {
            if sender.send(take(&listener).await).await.is_err() {
                return;
            }
        }
    });
    let data = Arc::new(TempDir::new().expect("a folder"));
    let config = data.path().join("skep.toml");
    let settings = format!(
        "alerts = [\"hook\"]\nnode_name = \"here\"\n{more}[destinations.hook]\ntype = \"webhook\"\nurl = \"http://{hook}/alerts\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n"
    );
    fs::write(&config, settings).expect("written");
    let metrics = format!("127.0.0.1:{}", free_port().await);
    let arguments = ["--config", config.to_str().expect("a path"), "--listen-metrics", metrics.as_str()];
    let platform = Platform::over(data, &arguments).await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    (platform, alerts, metrics)
}

/// Waits for an alert of a kind.
async fn told(alerts: &mut mpsc::Receiver<String>, kind: &str) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let alert = tokio::time::timeout(left, alerts.recv()).await;
        let alert = alert.unwrap_or_else(|_| panic!("nobody was told of {kind}")).expect("a webhook");
        if alert.contains(&format!("\"{kind}\"")) {
            return alert;
        }
    }
}

impl Platform {
    async fn status(&self) -> Value {
        let answer = self.own(Method::GET, &format!("/skep/v1/accounts/{}/status", self.account), "").await;
        assert_eq!(answer["success"], true, "{answer}");
        answer["result"].clone()
    }

    /// Its status, once a check is or is not as it should be.
    pub(crate) async fn checked(&self, name: &str, ok: bool) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            let status = self.status().await;
            if check(&status, name)["ok"] == ok {
                return status;
            }
            assert!(Instant::now() < deadline, "{name} does not become {ok}: {status}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn check<'s>(status: &'s Value, name: &str) -> &'s Value {
    let checks = status["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == name).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn processes_that_die_again_and_again_are_told_of() {
    // So that it is over soon.
    let (platform, mut alerts, metrics) = with_alerts("alert_window_seconds = 30\n").await;
    let well = platform.checked("canary", true).await;
    assert_eq!((&well["status"], &well["alerts"]), (&json!("ok"), &json!([])), "{well}");
    let node = &well["nodes"][0];
    assert_eq!((&node["name"], &node["up"], &node["runtimes"]), (&json!("here"), &json!(true), &json!(1)), "{well}");
    assert!(node["disk_free"].as_u64() <= node["disk_total"].as_u64() && node["cores"].as_u64() > Some(0), "{well}");
    let person = Person::of(&platform).await;
    let folder = platform.data.path();
    let shown = person.does(folder, &["status"]).await;
    assert!(shown.contains(" is ok (") && shown.contains("NODE") && shown.contains("here http://"), "{shown}");
    assert_eq!(person.json(folder, &["status"]).await["status"], "ok");

    for _ in 0..3 {
        let [runtime] = platform.runtimes()[..] else { panic!("{:?}", platform.runtimes()) };
        send("KILL", runtime).await;
        platform.runtime_after(runtime).await;
        assert_eq!(platform.get("hello.dev", "/").await.text, "hello");
    }
    let failed = platform.checked("runtime", false).await;
    assert_eq!(failed["status"], "degraded", "{failed}");
    let alert = told(&mut alerts, "runtime.failing").await;
    assert!(alert.contains("3 processes that run Workers died"), "{alert}");
    assert!(failed["alerts"].to_string().contains("runtime.failing"), "{failed}");
    let error = person.fails(folder, &["status"]).await;
    assert!(error.contains("needs to be looked at"), "{error}");
    // It answers all the same.
    assert_eq!(fetch(&metrics, get("/readyz")).await.status, 200);

    told(&mut alerts, "runtime.recovered").await;
    let well = platform.checked("runtime", true).await;
    assert_eq!((&well["status"], &well["alerts"]), (&json!("ok"), &json!([])), "{well}");
}

/// Waits until health is told with a status. Gives the text.
async fn ready(metrics: &str, status: u16) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        let answer = fetch(metrics, get("/readyz")).await;
        if answer.status == status {
            return answer.text;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn where_requests_are_not_answered_none_should_come() {
    let (platform, mut alerts, metrics) = with_alerts("alert_window_seconds = 30\n").await;
    platform.checked("canary", true).await;
    let [runtime] = platform.runtimes()[..] else { panic!("{:?}", platform.runtimes()) };
    // It is there, and takes requests, and does nothing.
    send("STOP", runtime).await;
    let reason = ready(&metrics, 503).await;
    assert!(reason.starts_with("canary: ") && reason.contains("did not answer within 5 s"), "{reason}");
    assert_eq!(fetch(&metrics, get("/healthz")).await.text, "ok\n");
    told(&mut alerts, "canary.failing").await;
    send("CONT", runtime).await;
    assert_eq!(ready(&metrics, 200).await, "ready\n");
    told(&mut alerts, "canary.recovered").await;
    assert_eq!(platform.get("hello.dev", "/").await.text, "hello");
}

#[tokio::test]
async fn a_worker_that_fails_is_told_of_once() {
    let (platform, mut alerts, _) = with_alerts("alert_errors_requests = 10\n").await;
    for _ in 0..10 {
        assert_eq!(platform.get("hello.dev", "/fail").await.status, 500);
    }
    let alert = told(&mut alerts, "worker.failing").await;
    assert!(alert.contains("10 of 10 requests to hello failed"), "{alert}");
    let status = platform.checked("worker", false).await;
    assert_eq!(status["alerts"][0]["event"], "worker.failing", "{status}");
    // Another account sees neither nodes nor checks, and nothing of others' Workers.
    let accounts = format!("/skep/v1/accounts/{}/accounts", platform.account);
    let made = platform.own(Method::POST, &accounts, r#"{"name":"Other","subdomain":"other"}"#).await;
    let (id, token) = (&made["result"]["id"], &made["result"]["token"]);
    let (Some(id), Some(token)) = (id.as_str(), token.as_str()) else { panic!("{made}") };
    let request = hyper::Request::get(format!("/skep/v1/accounts/{id}/status"))
        .header("host", &platform.host)
        .header("authorization", format!("Bearer {token}"));
    let answer = fetch(&platform.address(), request.body(crate::support::body("")).expect("a request")).await;
    let other: Value = serde_json::from_str(&answer.text).expect("JSON");
    let other = &other["result"];
    assert_eq!((&other["status"], &other["nodes"]), (&json!("ok"), &json!([])), "{other}");
    assert_eq!((&other["checks"], &other["alerts"]), (&json!([]), &json!([])), "{other}");
}

#[tokio::test]
async fn the_canary_is_nobodys() {
    let (platform, _alerts, metrics) = with_alerts("").await;
    platform.checked("canary", true).await;
    platform.get("hello.dev", "/").await;
    // What it used would be told with this.
    let usage = platform.usage_of(1, "worker").await;
    assert_eq!(usage["rows"].as_array().map(Vec::len), Some(1), "{usage}");
    let scripts = platform.api(Method::GET, &format!("/accounts/{}/workers/scripts", platform.account), "").await;
    assert_eq!(scripts["result"].as_array().map(Vec::len), Some(1), "{scripts}");
    let told = fetch(&metrics, get("/metrics")).await.text;
    assert!(!told.contains("worker=\"canary\""), "{told}");
    for host in ["canary.invalid", "canary.dev.localhost", "canary.localhost", "canary..localhost"] {
        let request = hyper::Request::get("/?hello").header("host", host);
        let answer = fetch(&platform.address(), request.body(crate::support::body("")).expect("a request")).await;
        assert_eq!(answer.status, 404, "{host}: {}", answer.text);
    }
}
