//! The outbox with real servers: bad days, restarts, and that one destination holds up no other.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use skep_deliver::{Limits, Outbox, Which};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::server::{Answer, Request, Server};
use crate::smtp::{Protection, SmtpServer};
use crate::webhook::config;
use crate::{Running, alert, eventually, limits, usage};

/// The ids of requests, in order.
fn ids(server: &Server) -> Vec<String> {
    server.requests().iter().map(|request: &Request| request.header("webhook-id").expect("an id").to_owned()).collect()
}

/// A server whose first answers are these, and 200 after them: what was told until a webhook was delivered.
async fn told_of(answers: Vec<Answer>, limits: Limits) -> (Vec<String>, Vec<String>, Duration) {
    let server = Server::start(move |number, _| answers.get(number).cloned().unwrap_or(Answer::status(200))).await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits, &config(&server.url()));
    let begun = Instant::now();
    running.outbox.put(alert("ops", "a")).unwrap();
    assert!(running.done().await.is_empty());
    let ids = ids(&server);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    (running.told(), ids, begun.elapsed())
}

#[tokio::test]
async fn errors_of_the_server_are_tried_again_with_the_same_key() {
    let answers = [500, 502, 503, 408, 425].map(Answer::status).to_vec();
    let (told, ids, _) = told_of(answers, limits()).await;
    assert_eq!((told.len(), ids.len()), (6, 6), "{told:?}");
    assert!(
        told[0].starts_with("\"ops\" takes nothing now: 127.0.0.1 answered 500 Internal Server Error; the next try")
    );
    assert_eq!(told[5], "\"ops\" takes what is sent to it again");
    assert!(!format!("{told:?}").contains("T0K3N"), "{told:?}");
}

#[tokio::test]
async fn who_has_mended_the_server_need_not_wait() {
    let server = Server::start(|number, _| Answer::status(if number == 0 { 503 } else { 200 })).await;
    let folder = TempDir::new().unwrap();
    let hour = Duration::from_secs(3600);
    let limits = Limits { first_pause: hour, last_pause: hour, ..limits() };
    let running = Running::start(folder.path(), limits, &config(&server.url()));
    running.outbox.put(alert("ops", "a")).unwrap();
    eventually(|| running.outbox.waiting()[0].reason.is_some()).await;
    let [waiting] = &running.outbox.waiting()[..] else { panic!("one destination") };
    assert_eq!(waiting.reason.as_deref(), Some("127.0.0.1 answered 503 Service Unavailable"));
    assert!(waiting.next > waiting.since, "{waiting:?}");
    // What is meant alone is none of those that wait.
    let other = Which { destination: None, ids: Some(Vec::new()) };
    assert_eq!(running.outbox.retry(&other).unwrap().waiting, 0);
    assert_eq!(running.outbox.retry(&Which::of("ops")).unwrap().waiting, 1);
    assert!(running.done().await.is_empty());
    assert_eq!(ids(&server).len(), 2);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let (told, ids, took) = told_of(vec![Answer::Status(429, &[("retry-after", "1")], String::new())], limits()).await;
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(told[0].contains("answered 429 Too Many Requests; the next try is in 1 s"), "{told:?}");
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn a_server_that_is_slow_is_not_waited_for() {
    let limits = Limits { timeout: Duration::from_millis(300), ..limits() };
    let (told, ids, took) = told_of(vec![Answer::Late(Duration::from_secs(30))], limits).await;
    assert!(told[0].contains("it did not answer within 300 ms"), "{told:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    let (told, ids, _) = told_of(vec![Answer::Nothing, Answer::Nothing], limits()).await;
    assert!(told[0].contains("network connection lost"), "{told:?}");
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(|_, _| Answer::status(200)).await;
    let location: &'static str = elsewhere.url().leak();
    let headers: &'static [_] = vec![("location", location)].leak();
    let (told, ids, _) = told_of(vec![Answer::Status(302, headers, String::new())], limits()).await;
    assert!(told[0].contains("302 Found: redirects are not followed, write the URL that it leads to"), "{told:?}");
    assert!(elsewhere.requests().is_empty());
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn a_connection_that_is_refused_is_tried_until_somebody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &config(&format!("http://{address}")));
    running.outbox.put(alert("ops", "a")).unwrap();
    eventually(|| running.told().len() >= 3).await;
    assert!(running.told()[0].contains("could not connect to 127.0.0.1"), "{:?}", running.told());
    let server = Server::on(TcpListener::bind(address).await.unwrap(), |_, _| Answer::status(200));
    assert!(running.done().await.is_empty());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn without_tls_that_can_be_trusted_nothing_is_sent() {
    // One has a certificate that nobody vouches for, the other one does not speak TLS.
    let stranger = SmtpServer::start(Protection::Implicit, |_| None).await;
    let plain = SmtpServer::start(Protection::Nothing, |_| None).await;
    for (server, why) in [(stranger, "invalid peer certificate: UnknownIssuer"), (plain, "InvalidContentType")] {
        let folder = TempDir::new().unwrap();
        let running = Running::start(folder.path(), limits(), &config(&format!("https://{}", server.address)));
        running.outbox.put(alert("ops", "a")).unwrap();
        eventually(|| running.told().len() >= 2).await;
        assert!(running.told()[0].contains("takes nothing now"), "{:?}", running.told());
        assert!(running.told()[0].contains(why), "{:?}", running.told());
        assert!(!format!("{:?}", server.heard()).contains("POST"));
        assert_eq!(running.waiting("ops"), 1);
    }
}

#[tokio::test]
async fn an_address_that_is_forbidden_is_told() {
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &config("http://10.0.0.1"));
    running.outbox.put(alert("ops", "a")).unwrap();
    eventually(|| !running.told().is_empty()).await;
    assert!(running.told()[0].contains("10.0.0.1 is a private"), "{:?}", running.told());
}

#[tokio::test]
async fn one_destination_that_is_down_holds_up_no_other() {
    let dead = Server::start(|_, _| Answer::Late(Duration::from_secs(3600))).await;
    let alive = Server::start(|_, _| Answer::status(200)).await;
    let folder = TempDir::new().unwrap();
    let config = [config(&dead.url()).replace("[ops]", "[dead]"), config(&alive.url())].concat();
    let running = Running::start(folder.path(), Limits { timeout: Duration::from_secs(3600), ..limits() }, &config);
    for key in 0..20 {
        running.outbox.put(alert("dead", &key.to_string())).unwrap();
        running.outbox.put(alert("ops", &key.to_string())).unwrap();
    }
    eventually(|| running.waiting("ops") == 0).await;
    assert_eq!((running.waiting("dead"), dead.requests().len(), alive.requests().len()), (20, 1, 20));
}

#[tokio::test]
async fn items_arrive_in_order_once_each_over_restarts_in_the_middle_of_bad_days() {
    let is_bad = Arc::new(AtomicBool::new(false));
    let bad = is_bad.clone();
    // Every third answer is lost after the server took what was sent.
    let server = Server::start(move |number, _| match (bad.load(Ordering::Relaxed), number % 3) {
        (true, _) => Answer::status(503),
        (false, 2) => Answer::Nothing,
        (false, _) => Answer::status(200),
    })
    .await;
    let folder = TempDir::new().unwrap();
    let mut running = Running::start(folder.path(), limits(), &config(&server.url()));
    for number in 0..60 {
        running.outbox.put(usage("ops", &format!("u{number}"))).unwrap();
        if number % 15 == 14 {
            is_bad.store(number % 30 == 14, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
            running.kill().await;
            running = Running::start(folder.path(), limits(), &config(&server.url()));
        }
    }
    is_bad.store(false, Ordering::Relaxed);
    assert!(running.done().await.is_empty());
    // Who looks at the keys has each event once, and in order.
    let mut seen = ids(&server);
    seen.dedup();
    assert_eq!(seen, (0..60).map(|number| format!("u{number}")).collect::<Vec<_>>());
}

/// Where the process below puts items.
const CHILD: &str = "SKEP_DELIVER_CHILD";

/// What another process runs that is killed: it says which items were taken.
#[test]
fn a_process_that_puts_items_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let outbox = Outbox::open(folder, Limits { items: usize::MAX, bytes: u64::MAX, ..limits() }).unwrap();
    for number in 0.. {
        outbox.put(usage("ops", &format!("u{number}"))).unwrap();
        println!("taken {number}");
    }
}

#[tokio::test]
async fn what_a_process_took_before_it_was_killed_is_delivered_by_the_next_one() {
    let folder = TempDir::new().unwrap();
    let name = "outbox::a_process_that_puts_items_until_it_is_killed";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line == "taken 99").expect("a hundred items");
    child.kill().unwrap();
    child.wait().unwrap();
    let taken = lines.filter(|line| line.starts_with("taken")).count() + 100;
    let server = Server::start(|_, _| Answer::status(200)).await;
    let running = Running::start(folder.path(), limits(), &config(&server.url()));
    assert!(running.done().await.is_empty());
    let ids = ids(&server);
    // The last one may be on the disk although the process did not come to say so.
    assert!((taken..=taken + 1).contains(&ids.len()), "{taken} taken, {} delivered", ids.len());
    assert_eq!(ids, (0..ids.len()).map(|number| format!("u{number}")).collect::<Vec<_>>());
}

/// An hour in which everything is 2,000 times as fast: time that can be paused is of no use where the kernel is waited for.
#[tokio::test]
async fn a_destination_that_is_down_for_an_hour_is_left_alone_ever_longer_and_then_gets_everything() {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let server = Server::start(move |_, _| Answer::status(if down.load(Ordering::Relaxed) { 503 } else { 200 })).await;
    let folder = TempDir::new().unwrap();
    let usual = Limits::default();
    let (first_pause, last_pause) = (usual.first_pause / 2000, usual.last_pause / 2000);
    let running = Running::start(folder.path(), Limits { first_pause, last_pause, ..usual }, &config(&server.url()));
    for key in ["a", "b", "c"] {
        running.outbox.put(alert("ops", key)).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3600) / 2000).await;
    // A busy machine is slower than the clock.
    eventually(|| ids(&server).len() >= 4).await;
    let tries = ids(&server);
    assert!((4..=11).contains(&tries.len()) && tries.iter().all(|id| *id == tries[0]), "{tries:?}");
    assert_eq!(running.told().len(), 1, "{:?}", running.told());
    is_down.store(false, Ordering::Relaxed);
    assert!(running.done().await.is_empty());
    assert!((tries.len() + 3..=tries.len() + 4).contains(&ids(&server).len()), "{:?}", ids(&server));
}

#[tokio::test]
async fn what_was_put_before_a_kill_is_delivered_after_it() {
    let server = Server::start(|_, _| Answer::status(200)).await;
    let folder = TempDir::new().unwrap();
    let outbox = Outbox::open(folder.path(), limits()).unwrap();
    outbox.put(usage("ops", "u1")).unwrap();
    drop(outbox);
    let running = Running::start(folder.path(), limits(), &config(&server.url()));
    assert!(running.done().await.is_empty());
    // And not again after another one.
    running.kill().await;
    let running = Running::start(folder.path(), limits(), &config(&server.url()));
    running.outbox.put(usage("ops", "u1")).unwrap();
    running.outbox.put(usage("ops", "u2")).unwrap();
    assert!(running.done().await.is_empty());
    assert_eq!(ids(&server), ["u1", "u2"]);
}

#[tokio::test]
async fn an_item_that_is_too_old_is_kept_as_failed_and_told() {
    let server = Server::start(|_, _| Answer::status(500)).await;
    let folder = TempDir::new().unwrap();
    let limits = Limits { alert_age: Duration::from_millis(300), ..limits() };
    let running = Running::start(folder.path(), limits, &config(&server.url()));
    running.outbox.put(alert("ops", "a")).unwrap();
    assert_eq!(running.done().await[0].failed, 1);
    let reason = "it could not be delivered within 300 ms: 127.0.0.1 answered 500 Internal Server Error";
    assert_eq!(running.outbox.failed(&Which::of("ops"))[0].reason, reason);
    eventually(|| running.told().last().is_some_and(|told| told.contains(reason))).await;
    assert!(server.requests().len() >= 2);
}

#[tokio::test]
async fn about_one_destination_little_is_told() {
    let server = Server::start(|number, _| Answer::status(if number < 20 { 404 } else { 200 })).await;
    let folder = TempDir::new().unwrap();
    let limits = Limits { tell: Duration::from_secs(1), items: 1000, ..limits() };
    let running = Running::start(folder.path(), limits, &config(&server.url()));
    for key in 0..20 {
        running.outbox.put(alert("ops", &key.to_string())).unwrap();
    }
    assert_eq!(running.done().await[0].failed, 20);
    eventually(|| running.told().len() == 2).await;
    let told = running.told();
    assert!(
        told[0].starts_with("an alert will not reach \"ops\": 127.0.0.1 answered 404 Not Found; it is kept"),
        "{told:?}"
    );
    assert!(told[1].ends_with(" (18 more before that)"), "{told:?}");
}

#[tokio::test]
async fn alerts_that_a_full_queue_lost_are_told_and_so_are_items_without_a_destination() {
    let server = Server::start(|_, _| Answer::status(200)).await;
    let folder = TempDir::new().unwrap();
    let limits = Limits { items: 2, ..limits() };
    let outbox = Outbox::open(folder.path(), limits).unwrap();
    outbox.put(alert("nobody", "a")).unwrap();
    drop(outbox);
    let running = Running::start(folder.path(), limits, &config(&server.url()));
    // None of these is sent before all are there: nothing else runs on this thread meanwhile.
    for key in ["1", "2", "3", "4", "5"] {
        running.outbox.put(alert("ops", key)).unwrap();
    }
    eventually(|| running.waiting("ops") == 0).await;
    eventually(|| running.told().len() == 2).await;
    let told = running.told();
    let nobody = "\"nobody\" is no destination, and items wait for it (1): configure it, and they are sent";
    assert_eq!(told[0], nobody);
    assert_eq!(told[1], "the queue for \"ops\" is full: the oldest alerts were dropped (3)");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn no_secret_of_the_configuration_is_on_the_disk() {
    let server = Server::start(|_, _| Answer::status(404)).await;
    let folder = TempDir::new().unwrap();
    let running = Running::start(folder.path(), limits(), &config(&server.url()));
    running.outbox.put(alert("ops", "a")).unwrap();
    running.done().await;
    let file = std::fs::read_to_string(folder.path().join("outbox.log")).unwrap();
    let all = format!("{file}{:?}{:?}", running.outbox, running.told());
    assert!(all.contains("quota.exceeded") && !all.contains("T0K3N") && !all.contains("MfKQ9r8G"), "{all}");
}
