//! What is kept: certificates outlast the process, are renewed in time without a failed handshake, and replace files that are broken.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use skep_acme::Event;
use tempfile::TempDir;

use crate::authority::{Authority, Running};
use crate::site::{Plan, Site};

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOST: &str = "one.site.example";

/// The file of that name in the authority's folder.
fn file(folder: &Path, name: &str) -> PathBuf {
    let authority = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    authority.join(name)
}

/// A site that was visited once and is gone, with a certificate of such an age at that time.
async fn visited_before(ca: &Running, folder: &Path, age: Duration) {
    ca.authority.behave(|behaviour| behaviour.age = age);
    let site = Site::start(Plan::of(&ca.authority, folder)).await;
    ca.authority.look_at(site.http, site.tls);
    site.visit(HOST).await.unwrap();
    ca.authority.behave(|behaviour| behaviour.age = Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_uses_what_is_on_disk() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    visited_before(&ca, folder.path(), Duration::ZERO).await;
    for name in ["account.json", "one.site.example.pem"] {
        let mode = std::fs::metadata(file(folder.path(), name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    site.visit(HOST).await.unwrap();
    let seen = ca.authority.seen();
    assert_eq!((seen.orders.len(), seen.accounts), (1, 1));
    assert!(site.events().is_empty());

    // The account too: another host needs no new one.
    ca.authority.look_at(site.http, site.tls);
    site.visit("two.site.example").await.unwrap();
    assert_eq!(ca.authority.seen().accounts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_swaps_without_a_failed_handshake() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    // Of its 90 days it has 20 left.
    visited_before(&ca, folder.path(), 70 * DAY).await;
    // The old one serves until the new one is there.
    ca.authority.look_at("127.0.0.1:1".parse().unwrap(), "127.0.0.1:1".parse().unwrap());
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    let old = site.visit(HOST).await.unwrap().chain;
    site.told(|event| matches!(event, Event::Failed { .. })).await;
    assert_eq!(site.visit(HOST).await.unwrap().chain, old);
    ca.authority.look_at(site.http, site.tls);
    let mut visits = 0;
    while site.visit(HOST).await.unwrap().chain == old {
        visits += 1;
    }
    assert!(visits > 0);
    let Event::Renewed { host, until, .. } = site.told(|event| matches!(event, Event::Renewed { .. })).await else {
        unreachable!("that is what was asked for");
    };
    assert_eq!(host, HOST);
    assert!(until > std::time::SystemTime::now() + 89 * DAY);
    assert!(!site.events().iter().any(|event| matches!(event, Event::Expiring { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_comes_near_is_told() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    visited_before(&ca, folder.path(), 80 * DAY).await;
    ca.authority.look_at("127.0.0.1:1".parse().unwrap(), "127.0.0.1:1".parse().unwrap());
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    site.told(|event| matches!(event, Event::Expiring { host, .. } if host == HOST)).await;
    site.visit(HOST).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_ended_is_ordered_on_the_visit() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    visited_before(&ca, folder.path(), Duration::ZERO).await;
    // What a machine finds that was off for months.
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new([HOST.to_owned()]).unwrap();
    parameters.not_before = date_time_ymd(2024, 1, 1);
    parameters.not_after = date_time_ymd(2024, 3, 31);
    let ended = format!("{}{}", key.serialize_pem(), parameters.self_signed(&key).unwrap().pem());
    std::fs::write(file(folder.path(), "one.site.example.pem"), ended).unwrap();
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    ca.authority.look_at(site.http, site.tls);
    site.visit(HOST).await.unwrap();
    assert_eq!(ca.authority.seen().orders.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_may_ask_for_an_earlier_renewal() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    // RFC 9773: a window that has passed means now.
    ca.authority.behave(|behaviour| behaviour.window = Some((-3600, -60)));
    visited_before(&ca, folder.path(), Duration::ZERO).await;
    let before = ca.authority.seen();
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    ca.authority.look_at(site.http, site.tls);
    site.told(|event| matches!(event, Event::Renewed { .. })).await;
    let seen = ca.authority.seen();
    assert_eq!((seen.orders.len(), seen.replacements), (before.orders.len() + 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_file_is_named_and_replaced() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    visited_before(&ca, folder.path(), Duration::ZERO).await;
    let (certificate, account) = (file(folder.path(), "one.site.example.pem"), file(folder.path(), "account.json"));
    let half = std::fs::read(&certificate).unwrap();
    std::fs::write(&certificate, &half[..half.len() / 3]).unwrap();
    std::fs::write(&account, "{").unwrap();
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    ca.authority.look_at(site.http, site.tls);
    site.visit(HOST).await.unwrap();
    for corrupt in [&certificate, &account] {
        site.told(|event| matches!(event, Event::Corrupt { file, .. } if file == corrupt)).await;
    }
    let seen = ca.authority.seen();
    assert_eq!((seen.orders.len(), seen.accounts), (2, 2));
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    site.visit(HOST).await.unwrap();
    assert_eq!(ca.authority.seen().orders.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_authority_lost_is_made_again() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    visited_before(&ca, folder.path(), Duration::ZERO).await;
    ca.authority.forget_accounts();
    let site = Site::start(Plan::of(&ca.authority, folder.path())).await;
    ca.authority.look_at(site.http, site.tls);
    site.visit("two.site.example").await.unwrap();
    assert_eq!(ca.authority.seen().accounts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_contact_is_told_to_the_authority() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    visited_before(&ca, folder.path(), Duration::ZERO).await;
    let mut plan = Plan::of(&ca.authority, folder.path());
    plan.settings.contact = Some("other@site.example".to_owned());
    let site = Site::start(plan).await;
    ca.authority.look_at(site.http, site.tls);
    site.visit("two.site.example").await.unwrap();
    let seen = ca.authority.seen();
    assert_eq!((seen.accounts, &seen.contact[0]), (1, &"mailto:other@site.example".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_and_the_rest_is_on_disk() {
    let (folder, ca) = (TempDir::new().unwrap(), Authority::start(0).await);
    let mut plan = Plan::of(&ca.authority, folder.path());
    plan.settings.limits.hosts = 2;
    let site = Site::start(plan).await;
    ca.authority.look_at(site.http, site.tls);
    let hosts = ["a.site.example", "b.site.example", "c.site.example", "d.site.example"];
    for host in hosts {
        site.visit(host).await.unwrap();
    }
    for host in hosts {
        site.visit(host).await.unwrap();
    }
    assert_eq!(ca.authority.seen().orders.len(), 4);
}
