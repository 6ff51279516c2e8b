//! What goes wrong: it is named, the next try is later and later, and what was there stays.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use skep_acme::{Challenge, Event};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::authority::Authority;
use crate::site::{Plan, Site, own_certificate};

/// The failures that were told of a host: why, and how long after a moment the next try is.
fn failures(site: &Site, since: SystemTime) -> Vec<(String, Duration)> {
    let events = site.events().into_iter();
    let failed = events.filter_map(|event| match event {
        Event::Failed { reason, retry_at, .. } => Some((reason, retry_at.duration_since(since).unwrap_or_default())),
        _ => None,
    });
    failed.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_down_is_named_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let gone = Authority::start(0).await;
    // Nobody listens there, and nobody else takes the port.
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = taken.local_addr().unwrap();
    let (fallback, root) = own_certificate("one.site.example");
    let mut plan = Plan { fallback: Some(fallback), root: &root, ..Plan::of(&gone.authority, folder.path()) };
    plan.settings.directory_url = format!("https://localhost:{}/directory", closed.port());
    plan.settings.limits.first_pause = Duration::from_secs(3600);
    drop(taken);
    let begun = SystemTime::now();
    let site = Site::start(plan).await;
    let visit = site.visit("one.site.example").await.unwrap();
    assert!(visit.answer.ends_with("hello"), "the fallback serves");
    let told = failures(&site, begun);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0.starts_with("the certificate authority at localhost cannot be reached: "), "{}", told[0].0);
    assert!(told[0].1 >= Duration::from_secs(3600));
    // It is not tried again on each visit.
    for _ in 0..5 {
        site.visit("one.site.example").await.unwrap();
    }
    assert_eq!(failures(&site, begun).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_remembered_across_a_restart() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    let plan = || {
        let mut plan = Plan::of(&ca.authority, folder.path());
        plan.settings.limits.first_pause = Duration::from_secs(3600);
        plan.settings.challenges = vec![Challenge::Http];
        plan
    };
    let site = Site::start(plan()).await;
    ca.authority.look_at(site.http, site.tls);
    site.lies.store(true, Ordering::Relaxed);
    site.visit("one.site.example").await.err().unwrap();
    assert_eq!(ca.authority.seen().orders.len(), 1);
    drop(site);
    let site = Site::start(plan()).await;
    site.visit("one.site.example").await.err().unwrap();
    assert_eq!(ca.authority.seen().orders.len(), 1);
    assert!(site.events().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_to_a_challenge_is_refused_and_then_the_other_way_is_tried() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    let mut plan = Plan::of(&ca.authority, folder.path());
    plan.settings.challenges = vec![Challenge::Http, Challenge::TlsAlpn];
    let site = Site::start(plan).await;
    ca.authority.look_at(site.http, site.tls);
    site.lies.store(true, Ordering::Relaxed);
    site.visit("one.site.example").await.err().unwrap();
    let reason = failures(&site, SystemTime::now()).remove(0).0;
    let expected = "the certificate authority says: http-01: the answer is \"something else\" (unauthorized)";
    assert_eq!(reason, expected);
    // After the pause the next visit orders again, by the other challenge.
    while site.visit("one.site.example").await.is_err() {}
    assert_eq!(ca.authority.seen().validated, ["tls-alpn-01"]);
    assert_eq!(ca.authority.seen().orders.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_proves_nothing_is_refused() {
    let (folder, other_folder, ca) = (TempDir::new().unwrap(), TempDir::new().unwrap(), Authority::start(0).await);
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    let (fallback, root) = own_certificate("one.site.example");
    let plan = Plan { fallback: Some(fallback), root: &root, ..Plan::of(&ca.authority, other_folder.path()) };
    let other = Site::start(plan).await;
    // The authority is led to a server that has no such challenge open.
    ca.authority.look_at(other.http, other.tls);
    site.visit("one.site.example").await.err().unwrap();
    let reason = failures(&site, SystemTime::now()).remove(0).0;
    assert!(reason.starts_with("the certificate authority says: tls-alpn-01: "), "{reason}");
    assert!(ca.authority.seen().validated.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_authority_is_kept() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    ca.authority.look_at(site.http, site.tls);
    let begun = SystemTime::now();
    ca.authority.behave(|behaviour| behaviour.limit = Some((StatusCode::TOO_MANY_REQUESTS, 7200)));
    site.visit("one.site.example").await.err().unwrap();
    let told = failures(&site, begun);
    assert_eq!(told[0].0, "the certificate authority wants fewer requests: too many orders");
    assert!(told[0].1 >= Duration::from_secs(7199), "{:?}", told[0].1);

    // That was about one host. An authority that is overloaded is left alone by all.
    ca.authority.behave(|behaviour| behaviour.limit = Some((StatusCode::SERVICE_UNAVAILABLE, 3600)));
    site.visit("two.site.example").await.err().unwrap();
    ca.authority.behave(|behaviour| behaviour.limit = None);
    site.visit("three.site.example").await.err().unwrap();
    let told = failures(&site, begun);
    assert_eq!(told.len(), 3);
    assert!(told[2].0.contains("limit of orders") && told[2].1 >= Duration::from_secs(3599), "{:?}", told[2]);
    assert!(ca.authority.seen().orders.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_so_many_orders_in_a_window() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    let mut plan = Plan::of(&ca.authority, folder.path());
    plan.settings.limits.orders_in_window = 2;
    let site = Site::start(plan).await;
    ca.authority.look_at(site.http, site.tls);
    site.visit("one.site.example").await.unwrap();
    site.visit("two.site.example").await.unwrap();
    site.visit("three.site.example").await.err().unwrap();
    assert_eq!(ca.authority.seen().orders.len(), 2);
    site.visit("one.site.example").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_does_not_wait_for_ever() {
    let folder = TempDir::new().unwrap();
    let ca = Authority::start(0).await;
    // This one takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plan = Plan::of(&ca.authority, folder.path());
    plan.settings.directory_url = format!("https://localhost:{}/directory", silent.local_addr().unwrap().port());
    plan.settings.limits.wait = Duration::from_millis(50);
    let site = Site::start(plan).await;
    site.visit("one.site.example").await.err().unwrap();
    assert!(site.events().is_empty(), "the order goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_say_why() {
    use std::sync::Arc;

    use skep_acme::{Certificates, Settings};

    let folder = TempDir::new().unwrap();
    let refused = |settings: Settings| {
        let (known, tell) = (Arc::new(|_: &str| true), Arc::new(|_| ()));
        let made = Certificates::new(settings, known, None, tell, tokio::runtime::Handle::current());
        made.expect_err("settings that cannot be used").to_string()
    };
    let good = || Settings::new("https://ca.example/directory", folder.path());
    assert!(refused(Settings { directory_url: "http://ca.example/".to_owned(), ..good() }).contains("https://"));
    assert!(refused(Settings { challenges: Vec::new(), ..good() }).contains("tls-alpn-01"));
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    assert!(refused(Settings { root: Some(empty), ..good() }).contains("empty.pem: it has no certificate in PEM"));
    assert!(refused(Settings { root: Some("/missing.pem".into()), ..good() }).starts_with("/missing.pem: "));
    assert!(refused(Settings { folder: "/proc/nowhere".into(), ..good() }).starts_with("/proc/nowhere: "));
}
