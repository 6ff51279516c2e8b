//! What people are told of with the real thing: a certificate that ends, a node that is down, a destination that takes nothing. Each is told once
//! when it begins and once when it is over.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skep_store::{MasterKeys, Node, Store};

use crate::deliveries::{folder, telling};
use crate::processes::send;
use crate::support::{Hook, Output, PATIENCE, Person, Posted, command, fetch, free_port, get};

const DAY: i64 = 24 * 3600;
/// What was told before a restart is said to be over a minute after it.
const AFTER_A_RESTART: Duration = Duration::from_secs(120);

/// How often a kind of alert came.
fn count(posted: &[Posted], kind: &str) -> usize {
    posted.iter().filter(|posted| posted.is(kind)).count()
}

/// Waits until a check is told to be so.
async fn checked(metrics: &str, check: &str, ok: bool) {
    let deadline = Instant::now() + PATIENCE;
    let line = format!("skep_check_ok{{check=\"{check}\"}} {}", u8::from(ok));
    loop {
        let told = fetch(metrics, get("/metrics")).await.text;
        if told.contains(&line) {
            return;
        }
        assert!(Instant::now() < deadline, "{line} is not told: {told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes a certificate for `localhost` that began and ends so many days from now.
fn certificate(folder: &Path, begins: i64, ends: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let at = |days: i64| {
        let seconds = now.saturating_add_signed(days * DAY);
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    (parameters.not_before, parameters.not_after) = (at(begins), at(ends));
    let key = rcgen::KeyPair::generate().expect("a key");
    let made = parameters.self_signed(&key).expect("a certificate");
    fs::write(folder.join("cert.pem"), made.pem()).expect("written");
    fs::write(folder.join("key.pem"), key.serialize_pem()).expect("written");
}

#[tokio::test]
async fn a_certificate_that_ends_is_told_of() {
    let (data, hook) = (folder(), Hook::start(200).await);
    let config = data.path().join("skep.toml");
    fs::write(&config, format!("alerts = [\"hook\"]\n{}", hook.section("hook"))).expect("written");
    let metrics = format!("127.0.0.1:{}", free_port().await);
    let start = async || {
        let arguments = ["serve", "--data-dir", "data", "--listen", "127.0.0.1:0", "--config", "skep.toml"];
        let more = ["--tls-certificate", "cert.pem", "--tls-key", "key.pem", "--listen-metrics", &metrics];
        let mut command = command(data.path(), &[&arguments[..], &more].concat());
        let (reader, writer) = std::io::pipe().expect("a pipe");
        command.stdout(writer.try_clone().expect("a pipe")).stderr(writer);
        let process = command.spawn().expect("it starts");
        drop(command);
        let mut output = Output::of(reader);
        output.until("Ready on https://").await;
        (process, output)
    };
    // It ends in three days, and should have been replaced weeks ago.
    certificate(data.path(), -57, 3);
    let (mut process, output) = start().await;
    let told = hook.until("a certificate", PATIENCE, |posted| posted.is("certificate.failing")).await;
    let alert = told.iter().find(|posted| posted.is("certificate.failing")).expect("it came");
    assert!(alert.text.contains("is valid for 71 more hours only"), "{alert:?}");
    checked(&metrics, "certificate", false).await;
    assert!(output.all().contains("is valid for 71 more hours only"), "{}", output.all());
    process.kill().await.expect("it ran");
    certificate(data.path(), -1, 89);
    let (mut process, _output) = start().await;
    checked(&metrics, "certificate", true).await;
    let all = hook.until("the new one", AFTER_A_RESTART, |posted| posted.is("certificate.recovered")).await;
    assert_eq!((count(&all, "certificate.failing"), count(&all, "certificate.recovered")), (1, 1), "{all:?}");
    process.kill().await.expect("it ran");
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(now.as_millis()).expect("not so late")
}

#[tokio::test]
async fn a_node_that_is_down_is_told_of() {
    let hook = Hook::start(200).await;
    let (platform, metrics) = telling(folder(), "alert_window_seconds = 30\n", &[("hook", &hook)]).await;
    platform.checked("node", true).await;
    // Another node of the same store, as it would say that it is there.
    let data = platform.data.path().join("data");
    let keys = fs::read_to_string(data.join("master-key")).expect("a key");
    let store = Store::open(&data, MasterKeys::parse(keys.lines()).expect("keys")).await.expect("the store");
    let other = |last_heartbeat| Node {
        id: "11111111-1111-4111-8111-111111111111".to_owned(),
        name: "there".to_owned(),
        address: "http://there.example".to_owned(),
        last_heartbeat,
        ..Node::default()
    };
    store.beat(&other(now() - 60_000)).await.expect("written");
    let told = hook.until("the node", PATIENCE, |posted| posted.is("node.failing")).await;
    let alert = told.iter().find(|posted| posted.is("node.failing")).expect("it came");
    assert!(alert.text.contains("Nothing was heard of the node there (http://there.example) for 6"), "{alert:?}");
    assert!(alert.text.contains("\"severity\":\"critical\""), "{alert:?}");
    checked(&metrics, "node", false).await;
    let status = platform.checked("node", false).await;
    let nodes = status["nodes"].as_array().expect("nodes");
    assert!(nodes.iter().any(|node| node["name"] == "there" && node["up"] == false), "{status}");
    let person = Person::of(&platform).await;
    let shown = person.run(platform.data.path(), &["status"]).await;
    assert!(
        shown.code == Some(1)
            && shown.output.contains("there http://there.example")
            && shown.output.contains("down since"),
        "{shown:?}"
    );
    // It is back, and stays.
    let beating = tokio::spawn(async move {
        loop {
            store.beat(&other(now())).await.expect("written");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let all = hook.until("its return", PATIENCE, |posted| posted.is("node.recovered")).await;
    checked(&metrics, "node", true).await;
    assert!(!beating.is_finished(), "the other node beats");
    beating.abort();
    assert_eq!((count(&all, "node.failing"), count(&all, "node.recovered")), (1, 1), "{all:?}");
}

#[tokio::test]
async fn a_destination_that_takes_nothing_is_told_of_elsewhere() {
    let (good, stuck) = (Hook::start(200).await, Hook::start(503).await);
    let settings = "alert_window_seconds = 30\nalert_outbox_seconds = 2\n";
    let (platform, metrics) = telling(folder(), settings, &[("good", &good), ("stuck", &stuck)]).await;
    platform.checked("outbox", true).await;
    let [runtime] = platform.runtimes()[..] else { panic!("{:?}", platform.runtimes()) };
    send("KILL", runtime).await;
    let told = good.until("the outbox", PATIENCE, |posted| posted.is("outbox.failing")).await;
    let alert = told.iter().find(|posted| posted.is("outbox.failing")).expect("it came");
    let what = "to be delivered to \\\"stuck\\\": 127.0.0.1 answered 503 Service Unavailable";
    assert!(alert.text.contains(what), "{alert:?}");
    checked(&metrics, "outbox", false).await;
    let person = Person::of(&platform).await;
    let here = platform.data.path();
    let shown = person.run(here, &["status"]).await;
    assert!(shown.code == Some(1) && shown.output.contains("outbox.failing since"), "{shown:?}");
    let shown = person.does(here, &["deliveries"]).await;
    assert!(shown.contains("503 Service Unavailable; the next try is at"), "{shown}");
    // When it is mended, nobody waits for the next try.
    stuck.answers(200);
    let hurried = person.json(here, &["deliveries", "retry", "--to", "stuck"]).await;
    assert_eq!(hurried["retried"], 0, "{hurried}");
    let all = good.until("the end", PATIENCE, |posted| posted.is("outbox.recovered")).await;
    assert_eq!((count(&all, "outbox.failing"), count(&all, "outbox.recovered")), (1, 1), "{all:?}");
    stuck.until("what waited", PATIENCE, |posted| posted.is("runtime.died") && posted.status == 200).await;
    let late: Vec<Posted> = stuck.posted().into_iter().filter(|posted| posted.is("runtime.died")).collect();
    assert!(late.len() >= 2 && late.iter().all(|posted| posted.id == late[0].id), "{late:?}");
}
