//! Once when it begins, once when it is over.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::{Alerts, Check, Finding, LATELY, SETTLE, Told};

const CALM: Duration = Duration::from_secs(60);
/// Every kind of check.
const CHECKS: [Check; 9] = [
    Check::Canary,
    Check::Store,
    Check::Disk,
    Check::Certificate,
    Check::Ledger,
    Check::Runtime,
    Check::Worker,
    Check::Node,
    Check::Outbox,
];
/// Between two looks.
const STEP: Duration = Duration::from_secs(5);

fn finding() -> Finding {
    let (subject, message) = ("hello".to_owned(), "it fails: look at it".to_owned());
    Finding { check: Check::Worker, account: Some("account".to_owned()), subject, message }
}

/// Looks every five seconds. Gives what was told, with the look in which it was.
fn looks(alerts: &mut Alerts, begun: Instant, found: impl IntoIterator<Item = bool>) -> Vec<(u32, String)> {
    let looks = (0..).zip(found);
    let told = looks.flat_map(|(look, is_found)| {
        let found = is_found.then(finding).into_iter().collect();
        let told = alerts.update(found, begun + STEP * look, OffsetDateTime::UNIX_EPOCH + STEP * look);
        told.into_iter().map(move |alert| (look, alert.kind))
    });
    told.collect()
}

fn times(is_found: bool, duration: Duration) -> impl Iterator<Item = bool> {
    std::iter::repeat_n(is_found, (duration.as_secs() / STEP.as_secs()) as usize)
}

#[test]
fn what_begins_is_told_once_and_what_is_over_too() {
    let begun = Instant::now();
    let mut alerts = Alerts::new(CALM, Vec::new(), begun);
    let found = times(true, CALM * 5).chain(times(false, CALM * 5));
    let told = looks(&mut alerts, begun, found);
    // The last look that found it is the 59th.
    assert_eq!(told, [(0, "worker.failing".to_owned()), (71, "worker.recovered".to_owned())]);
    assert!(alerts.told().is_empty());
}

#[test]
fn what_flickers_is_told_once() {
    let begun = Instant::now();
    let mut alerts = Alerts::new(CALM, Vec::new(), begun);
    let told = looks(&mut alerts, begun, (0..200).map(|look| look % 3 == 0));
    assert_eq!(told, [(0, "worker.failing".to_owned())]);
}

#[test]
fn what_begins_again_soon_must_last() {
    let begun = Instant::now();
    let mut alerts = Alerts::new(CALM, Vec::new(), begun);
    let once = || times(true, STEP).chain(times(false, CALM * 2));
    let told = looks(&mut alerts, begun, once().chain(once()).chain(once()).chain(times(true, CALM * 2)));
    let kinds: Vec<&str> = told.iter().map(|(_, kind)| kind.as_str()).collect();
    assert_eq!(kinds, ["worker.failing", "worker.recovered", "worker.failing"]);
    // It lasted a minute then.
    assert_eq!(told[2].0, 75 + 12);
    let mut alerts = Alerts::new(CALM, Vec::new(), begun);
    let told = looks(&mut alerts, begun, once().chain(times(false, CALM * LATELY)).chain(once()));
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn a_restart_tells_again_only_what_is_still_so() {
    let begun = Instant::now();
    let remembered = || vec![Told { finding: finding(), since: 7 }];
    let mut alerts = Alerts::new(CALM, remembered(), begun);
    assert_eq!(alerts.told(), remembered());
    let told = looks(&mut alerts, begun, times(true, SETTLE * 3));
    assert_eq!(told, [(12, "worker.failing".to_owned())]);
    assert_eq!(alerts.told(), remembered(), "it is as old as it was");
    let mut alerts = Alerts::new(CALM, remembered(), begun);
    let told = looks(&mut alerts, begun, times(false, SETTLE * 3));
    assert_eq!(told, [(12, "worker.recovered".to_owned())]);
}

#[test]
fn an_alert_can_be_delivered() {
    let begun = Instant::now();
    let mut alerts = Alerts::new(CALM, Vec::new(), begun);
    let found = CHECKS.map(|check| Finding { check, ..finding() });
    let told = alerts.update(found.to_vec(), begun, OffsetDateTime::UNIX_EPOCH);
    assert_eq!(told.len(), CHECKS.len());
    let folder = tempfile::TempDir::new().unwrap();
    let outbox = skep_deliver::Outbox::open(folder.path(), skep_deliver::Limits::default()).unwrap();
    for alert in told {
        let message = skep_deliver::Message::Alert(alert);
        let taken = outbox.put(skep_deliver::Item { destination: "hook".to_owned(), message }).unwrap();
        assert_eq!(taken, skep_deliver::Taken::Queued);
    }
}
