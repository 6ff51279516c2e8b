//! Getting certificates: on the first visit, once, by each challenge, for known hosts only.

use futures_util::future::join_all;
use skep_acme::{Challenge, Event};
use tempfile::TempDir;

use crate::authority::Authority;
use crate::site::{Plan, Site, own_certificate};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_visit_orders_once_for_everybody() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    ca.authority.look_at(site.http, site.tls);
    let answers = join_all((0..50).map(|_| site.visit("one.site.example"))).await;
    assert_eq!(answers.len(), 50);
    for answer in answers {
        let visit = answer.unwrap();
        assert!(visit.answer.ends_with("hello"), "{}", visit.answer);
        assert_eq!(visit.chain.len(), 2, "the leaf and who signed it");
    }
    let seen = ca.authority.seen();
    assert_eq!((seen.orders.len(), seen.accounts), (1, 1));
    assert_eq!(seen.validated, ["tls-alpn-01"]);
    assert_eq!(seen.contact[0], "mailto:owner@site.example");
    assert!(seen.bad_nonces > 0, "the authority was kind: that proves nothing");
    assert!(matches!(&*site.events(), [Event::Issued { host, .. }] if host == "one.site.example"));

    site.visit("ONE.site.example").await.unwrap();
    site.visit("two.site.example").await.unwrap();
    let seen = ca.authority.seen();
    assert_eq!((seen.orders, seen.accounts), (vec!["one.site.example".to_owned(), "two.site.example".to_owned()], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn control_is_shown_over_http_too() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    let mut plan = Plan::of(&ca.authority, folder.path());
    plan.settings.challenges = vec![Challenge::Http];
    let site = Site::start(plan).await;
    ca.authority.look_at(site.http, site.tls);
    site.visit("one.site.example").await.unwrap();
    assert_eq!(ca.authority.seen().validated, ["http-01"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_challenge_is_one_that_the_authority_offers() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    ca.authority.look_at(site.http, site.tls);
    ca.authority.behave(|behaviour| behaviour.offers = vec!["dns-01", "http-01"]);
    site.visit("one.site.example").await.unwrap();
    assert_eq!(ca.authority.seen().validated, ["http-01"]);

    ca.authority.behave(|behaviour| behaviour.offers = vec!["dns-01"]);
    site.visit("two.site.example").await.err().unwrap();
    let Event::Failed { reason, .. } = site.told(|event| matches!(event, Event::Failed { .. })).await else {
        unreachable!("that is what was asked for");
    };
    assert!(reason.contains("offers none of the challenges"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_never_ordered() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    ca.authority.look_at(site.http, site.tls);
    for host in ["one.other.example", "site.example", "127.0.0.1"] {
        site.visit(host).await.err().unwrap();
    }
    assert!(ca.authority.seen().orders.is_empty());

    let (fallback, root) = own_certificate("one.other.example");
    let plan = Plan { fallback: Some(fallback), root: &root, ..Plan::of(&ca.authority, folder.path()) };
    let site = Site::start(plan).await;
    let visit = site.visit("one.other.example").await.unwrap();
    assert!(visit.answer.ends_with("hello"));
    assert!(ca.authority.seen().orders.is_empty() && site.events().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_an_open_challenge_is_answered() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    ca.authority.look_at(site.http, site.tls);
    site.visit("one.site.example").await.unwrap();
    // The order is over: its challenges are closed, over HTTP as over TLS.
    let path = "/.well-known/acme-challenge/token-http-01-1";
    assert_eq!(site.certificates.http_challenge("one.site.example", path), None);
    let ports = crate::validation::Ports { http: site.http, tls: site.tls };
    crate::validation::validate(ports, "one.site.example", "tls-alpn-01", "token", "token.key").await.unwrap_err();
}
