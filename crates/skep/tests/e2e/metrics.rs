//! What `/metrics` and the API say of Workers is what their clients counted, Prometheus understands it, and the dashboards and rules that
//! are shipped ask for nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::{Method, Request};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::processes::send;
use crate::support::{PATIENCE, Person, Platform, body, fetch, free_port, get, offline, try_fetch};

/// Answers at once.
const QUICK: &str = "export default { fetch: () => new Response('hello') };";
/// Throws.
const FAILING: &str = "export default { fetch() { throw new Error('as asked'); } };";
/// Takes longer than 25 ms, answers with a status of its own.
const SLOW: &str = "export default {
    async fetch() {
        await new Promise((done) => setTimeout(done, 30));
        return new Response('late', { status: 503 });
    },
};";
/// Requests to each Worker.
const TO_QUICK: usize = 20;
const TO_FAILING: usize = 7;
const TO_SLOW: usize = 5;
const ALL: f64 = (TO_QUICK + TO_FAILING + TO_SLOW) as f64;

/// A platform with traffic, and where its metrics are.
async fn with_traffic(more: &[&str]) -> (Platform, String) {
    let metrics = format!("127.0.0.1:{}", free_port().await);
    let arguments = [&["--listen-metrics", metrics.as_str()], more].concat();
    let platform = Platform::over(Arc::new(TempDir::new().expect("a folder")), &arguments).await;
    for (name, code) in [("quick", QUICK), ("failing", FAILING), ("slow", SLOW)] {
        platform.upload(name, &[("index.js", code.to_owned())]).await.expect("it is deployed");
    }
    for (name, requests, status) in [("quick", TO_QUICK, 200), ("failing", TO_FAILING, 500), ("slow", TO_SLOW, 503)] {
        for _ in 0..requests {
            assert_eq!(platform.get(&format!("{name}.dev"), "/").await.status, status);
        }
    }
    (platform, metrics)
}

/// The sum of a metric's series that have some labels.
fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let is_meant = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label)))
    };
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number");
    metrics.lines().filter(is_meant).map(value).sum()
}

/// What is told, once all requests are counted.
async fn counted(address: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = fetch(address, get("/metrics")).await;
        assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        let requests = sum(&metrics.text, "skep_requests_total", &[]);
        assert!(requests <= ALL, "{}", metrics.text);
        // They are seen before they are on the disk.
        if requests > ALL - 0.5 && sum(&metrics.text, "skep_meter_batches_total", &[]) > 0.5 {
            return metrics.text;
        }
        assert!(Instant::now() < deadline, "{ALL} requests are not counted: {}", metrics.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs promtool with something to read. Gives what it says, which is nothing if all is well.
async fn promtool(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("promtool, of the package prometheus: `cargo xtask test` installs it");
    let mut stdin = process.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("written");
    drop(stdin);
    let ended = process.wait_with_output().await.expect("it ends");
    let said = [ended.stdout, ended.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    assert!(ended.status.success(), "{arguments:?}: {said}");
    said
}

/// A file that is shipped.
fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("skep_") || word.starts_with("process_")).collect()
}

/// The expressions of a dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("expr" | "query", Value::String(text)) => found.push(text.clone()),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn metrics_are_what_the_clients_counted() {
    let (platform, address) = with_traffic(&[]).await;
    let metrics = counted(&address).await;
    let of = |name: &str, worker: &str| sum(&metrics, name, &[&format!("worker=\"{worker}\"")]);
    let account = format!("account=\"{}\"", platform.account);
    for (worker, requests) in [("quick", TO_QUICK), ("failing", TO_FAILING), ("slow", TO_SLOW), ("other", 0)] {
        let requests = requests as f64;
        for name in ["skep_requests_total", "skep_request_duration_seconds_count"] {
            assert!((of(name, worker) - requests).abs() < 0.5, "{name} of {worker}: {metrics}");
        }
        let all =
            sum(&metrics, "skep_request_duration_seconds_bucket", &[&format!("worker=\"{worker}\""), "le=\"+Inf\""]);
        assert!((all - requests).abs() < 0.5, "{worker}: {metrics}");
    }
    let failed = |worker: &str, outcome: &str| {
        let labels = [account.as_str(), &format!("worker=\"{worker}\""), &format!("outcome=\"{outcome}\"")];
        sum(&metrics, "skep_request_errors_total", &labels)
    };
    assert!((failed("failing", "exception") - TO_FAILING as f64).abs() < 0.5, "{metrics}");
    assert!((failed("slow", "serverError") - TO_SLOW as f64).abs() < 0.5, "{metrics}");
    assert!(failed("quick", "serverError") < 0.5 && (of("skep_request_errors_total", "failing") - 7.0).abs() < 0.5);
    // Each of them took 30 ms and more.
    assert!(of("skep_request_duration_seconds_sum", "slow") >= 0.03 * TO_SLOW as f64, "{metrics}");
    let quick = sum(&metrics, "skep_request_duration_seconds_bucket", &["worker=\"slow\"", "le=\"0.025\""]);
    assert!(quick < 0.5, "{metrics}");
    assert!(
        of("skep_sent_bytes_total", "quick") - 5.0 * (TO_QUICK as f64) < 0.5
            && of("skep_cpu_seconds_total", "quick") > 0.0
    );
    assert!(sum(&metrics, "process_open_fds", &[]) > 2.0, "{metrics}");

    let request =
        Request::get("/metrics").header("accept", "text/plain;q=0.5, application/openmetrics-text;version=1.0.0");
    let open = fetch(&address, request.body(body("")).expect("a request")).await;
    assert!(open.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"), "{open:?}");
    assert!(open.text.ends_with("# EOF\n") && sum(&open.text, "skep_requests_total", &[]) > ALL - 0.5, "{}", open.text);
    if !offline() {
        assert_eq!(promtool(&["check", "metrics"], &metrics).await, "");
    }
}

/// What is waited for at most where a process hangs: Prometheus gives up after ten seconds.
const SCRAPE: Duration = Duration::from_secs(5);

/// Asks the address for machines, in time.
async fn told(address: &str, path: &str) -> String {
    let answer = tokio::time::timeout(SCRAPE, fetch(address, get(path))).await;
    answer.unwrap_or_else(|_| panic!("{path} is not answered within {SCRAPE:?}")).text
}

#[tokio::test]
async fn nobody_waits_for_a_process_that_hangs() {
    let (platform, address) = with_traffic(&[]).await;
    let before = counted(&address).await;
    let of = |text: &str, name: &str| sum(text, name, &[]);
    let silent = |text: &str| of(text, "skep_processes_silent") > 0.5;
    assert!(!silent(&before) && before.contains("\nskep_processes_silent 0"), "{before}");
    let [runtime] = platform.runtimes()[..] else { panic!("{:?}", platform.runtimes()) };
    send("STOP", runtime).await;
    // Many at once cost no more than one.
    let scrapes = (0..20).map(|_| {
        let address = address.clone();
        tokio::spawn(async move { told(&address, "/metrics").await })
    });
    for scrape in scrapes.collect::<Vec<_>>() {
        let hung = scrape.await.expect("it is told");
        assert!(silent(&hung), "{hung}");
        for name in ["skep_processes", "skep_isolates", "skep_cold_starts_total", "skep_requests_total"] {
            let (before, after) = (of(&before, name), of(&hung, name));
            assert!(before > 0.5 && (before - after).abs() < 0.5, "{name}: {before}, then {after}");
        }
        if !offline() {
            assert_eq!(promtool(&["check", "metrics"], &hung).await, "");
        }
    }
    assert_eq!(told(&address, "/healthz").await, "ok\n");
    told(&address, "/readyz").await;
    let account = |root: &str, path: &str| format!("{root}/accounts/{}/{path}", platform.account);
    let own = ["status", "analytics", "usage", "billing", "audit"].map(|path| account("/skep/v1", path));
    for path in own.into_iter().chain([account("/client/v4", "workers/scripts")]) {
        let answer = tokio::time::timeout(SCRAPE, platform.own(Method::GET, &path, "")).await;
        assert_eq!(answer.unwrap_or_else(|_| panic!("{path} hangs"))["success"], true);
    }
    let page = tokio::time::timeout(SCRAPE, platform.at("/dashboard/")).await.expect("the dashboard answers");
    assert_eq!(page.status, 200);
    let status = platform.checked("runtime", false).await;
    let what = format!("The process {runtime}, which runs Workers, does not answer");
    assert!(status["alerts"].to_string().contains(&what), "{status}");
    let person = Person::of(&platform).await;
    let shown = tokio::time::timeout(SCRAPE, person.run(platform.data.path(), &["status"])).await;
    let shown = shown.expect("skep status answers");
    assert!(shown.code == Some(1) && shown.output.contains(&what), "{shown:?}");
    let failing = told(&address, "/metrics").await;
    assert!(failing.contains("skep_check_ok{check=\"runtime\"} 0"), "{failing}");

    send("CONT", runtime).await;
    platform.checked("runtime", true).await;
    let well = told(&address, "/metrics").await;
    assert!(!silent(&well), "{well}");
    // What a process did is not forgotten with it.
    send("KILL", runtime).await;
    platform.runtime_after(runtime).await;
    let deadline = Instant::now() + PATIENCE;
    while of(&told(&address, "/metrics").await, "skep_processes") < 0.5 {
        assert!(Instant::now() < deadline, "no other process is told of");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let after = told(&address, "/metrics").await;
    for name in ["skep_cold_starts_total", "skep_cold_start_time_seconds_total", "skep_isolates_busy_seconds_total"] {
        assert!(of(&after, name) >= of(&well, name) && of(&well, name) > 0.0, "{name}: {well} {after}");
    }
}

#[tokio::test]
async fn the_api_tells_how_workers_do() {
    let (platform, address) = with_traffic(&["--metrics-workers", "1"]).await;
    let metrics = counted(&address).await;
    // One Worker has metrics of its own, whichever was told of first; the others are told together.
    let series = metrics.lines().filter(|line| line.starts_with("skep_requests_total{")).count();
    assert!(series == 2 && sum(&metrics, "skep_requests_total", &["worker=\"other\""]) > 0.5, "{metrics}");
    let path = format!("/skep/v1/accounts/{}/analytics", platform.account);
    let shown = platform.own(Method::GET, &path, "").await["result"].clone();
    let series = shown["series"].as_array().expect("a series");
    let total = |key: &str| series.iter().map(|moment| moment[key].as_u64().expect("a number")).sum::<u64>();
    assert_eq!((series.len(), shown["step"].as_u64(), total("requests")), (360, Some(10), 32), "{shown}");
    assert_eq!((total("errors"), total("bytes_out") > 100), (12, true), "{shown}");
    let busy = series.iter().find(|moment| moment["requests"].as_u64() > Some(0)).expect("a step");
    assert!(series[0]["p50_ms"].is_null() && busy["p99_ms"].as_f64() > Some(0.0), "{shown}");
    let of =
        |key: &str| shown["workers"].as_array().expect("Workers").iter().map(|worker| worker[key].clone()).collect();
    let (workers, errors): (Vec<Value>, Vec<Value>) = (of("worker"), of("errors"));
    assert_eq!((Value::from(workers), Value::from(errors)), (["quick", "failing", "slow"].into(), [0, 7, 5].into()));
    let slow = platform.own(Method::GET, &format!("{path}?worker=slow&since=600"), "").await["result"].clone();
    assert_eq!((slow["series"].as_array().map(Vec::len), slow["workers"][0]["requests"].as_u64()), (Some(60), Some(5)));
    assert!(slow["workers"][0]["p50_ms"].as_f64() > Some(25.0), "{slow}");
    let refused = platform.own(Method::GET, &format!("{path}?since=0"), "").await;
    assert!(refused.to_string().contains("from 1 to 3600"), "{refused}");
}

#[tokio::test]
async fn dashboards_and_rules_ask_for_what_is_told() {
    let (_platform, address) = with_traffic(&[]).await;
    let metrics = counted(&address).await;
    // A metric is told with samples, and not only by name.
    let told: BTreeSet<&str> = metrics.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let rules = fs::read_to_string(shipped("prometheus/alerts.yaml")).expect("rules");
    let mut all = vec![rules];
    for name in ["platform", "worker"] {
        let text = fs::read_to_string(shipped(&format!("grafana/{name}.json"))).expect("a dashboard");
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        assert!(dashboard["schemaVersion"].as_u64() >= Some(38) && dashboard["uid"].is_string(), "{name}");
        let variables = dashboard["templating"]["list"].as_array().expect("variables").iter();
        let variables: Vec<&str> = variables.filter_map(|variable| variable["name"].as_str()).collect();
        assert!(variables.starts_with(&["datasource", "account"]), "{variables:?}");
        let before = all.len();
        expressions(&dashboard, &mut all);
        assert!(all.len() > before + 10, "{name} has expressions");
    }
    let unknown: Vec<&str> = all.iter().flat_map(|text| named(text)).filter(|name| !told.contains(name)).collect();
    assert_eq!(unknown, Vec::<&str>::new(), "{metrics}");
    if !offline() {
        let rules = shipped("prometheus/alerts.yaml");
        let said = promtool(&["check", "rules", rules.to_str().expect("a path")], "").await;
        assert!(said.contains("SUCCESS"), "{said}");
    }
}

#[tokio::test]
async fn prometheus_scrapes_it() {
    if offline() {
        return;
    }
    let (platform, address) = with_traffic(&[]).await;
    counted(&address).await;
    let folder = platform.data.path().join("prometheus");
    fs::create_dir(&folder).expect("a folder");
    let config = folder.join("prometheus.yml");
    let scrape = format!(
        "scrape_configs:\n  - job_name: skep\n    scrape_interval: 250ms\n    scrape_timeout: 250ms\n    static_configs:\n      - targets: [\"{address}\"]\n"
    );
    fs::write(&config, scrape).expect("written");
    let listens = format!("127.0.0.1:{}", free_port().await);
    let mut prometheus = Command::new("prometheus");
    prometheus
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={listens}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let _prometheus = prometheus.spawn().expect("prometheus, of the package prometheus");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let query = get("/api/v1/query?query=sum(skep_requests_total)");
        let answer = match tokio::net::TcpStream::connect(&listens).await {
            Ok(_) => try_fetch(&listens, query).await.map(|answer| answer.text).unwrap_or_default(),
            Err(_) => String::new(),
        };
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        if answer["data"]["result"][0]["value"][1].as_str() == Some(&*ALL.to_string()) {
            return;
        }
        assert!(Instant::now() < deadline, "{answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
