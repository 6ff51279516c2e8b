//! When each check finds something.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use skep_deliver::Waiting;
use skep_store::Node;

use super::{Disk, GIB, certificates, disk_room, nodes, outbox, workers};
use crate::series::Rate;
use crate::settings::HealthSettings;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_disk_is_filling() {
    let settings = HealthSettings::default();
    let found = |free, total| disk_room(&settings, Path::new("/data"), Disk { free, total }).0.len();
    assert_eq!((found(11 * GIB, 100 * GIB), found(9 * GIB, 100 * GIB)), (0, 1));
    // Half of it is free, and that is little.
    assert_eq!((found(GIB / 2, GIB), found(0, 0)), (1, 0));
}

#[test]
fn a_certificate_ends() {
    let begun = UNIX_EPOCH + DAY * 1000;
    let found = |days, lives| certificates(&[("a.example".to_owned(), begun..begun + DAY * lives)], begun + DAY * days);
    let count = |days, lives| found(days, lives).0.len();
    assert_eq!((count(80, 90), count(75, 90), count(100, 90)), (1, 0, 1));
    // Of one for six days there are always less than fourteen left.
    assert_eq!((count(3, 6), count(5, 6), count(350, 365), count(352, 365)), (0, 0, 0, 1));
    assert!(found(80, 90).0[0].message.contains("a.example is valid for 240 more hours"));
}

#[test]
fn a_worker_fails() {
    let settings = HealthSettings::default();
    let found = |requests, errors| {
        let rate = Rate { account: "account".into(), worker: "hello".into(), requests, errors };
        workers(&settings, &[rate]).0
    };
    assert_eq!((found(49, 49).len(), found(50, 5).len(), found(50, 6).len()), (0, 0, 1));
    assert_eq!(found(100, 50)[0].account.as_deref(), Some("account"));
}

#[test]
fn a_node_is_down() {
    let node = |id: &str, last_heartbeat| Node { id: id.to_owned(), last_heartbeat, ..Node::default() };
    let found = |last| nodes(&[node("own", 0), node("other", last)], "own", 100_000).0.len();
    assert_eq!((found(85_000), found(84_000)), (0, 1));
}

#[test]
fn a_destination_takes_nothing() {
    let now = time::OffsetDateTime::UNIX_EPOCH + DAY * 1000;
    let waiting = |minutes: Option<u64>, failed| Waiting {
        destination: "hook".to_owned(),
        items: usize::from(minutes.is_some()) * 2,
        since: minutes.map(|minutes| now - Duration::from_secs(minutes * 60)),
        failed,
        bytes: 0,
        reason: Some("it answered 503".to_owned()),
        next: None,
    };
    let found = |waiting: Waiting| {
        let found = outbox(&[waiting], Duration::from_secs(900), now).0;
        found.into_iter().map(|finding| format!("{}: {}", finding.subject, finding.message)).collect::<String>()
    };
    assert_eq!(found(waiting(Some(15), 0)), "");
    let stuck = "hook: 2 items wait for up to 16 min to be delivered to \"hook\": it answered 503";
    assert_eq!(found(waiting(Some(16), 0)), stuck);
    let failed = "1 items for \"hook\" failed for good and are kept: `skep deliveries` says why, and sends them again";
    assert_eq!(found(waiting(None, 1)), format!("hook: {failed}"));
    assert_eq!(found(waiting(Some(16), 1)), format!("{stuck}; {failed}"));
}
