//! Tests of the outbox without a network: what is on the disk, what is bounded, what is the same.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use time::OffsetDateTime;

use super::queue::Entry;
use super::*;
use crate::{Alert, Severity, UsageEvent};

fn alert(destination: &str, key: &str) -> Item {
    let alert = Alert {
        kind: "quota.exceeded".to_owned(),
        severity: Severity::Warning,
        account: Some("acme".to_owned()),
        worker: None,
        title: "A quota is exceeded".to_owned(),
        text: "More requests than the plan has.".to_owned(),
        at: OffsetDateTime::UNIX_EPOCH,
        key: key.to_owned(),
    };
    Item { destination: destination.to_owned(), message: Message::Alert(alert) }
}

fn usage(destination: &str, key: &str) -> Item {
    let event = UsageEvent {
        account: "acme".to_owned(),
        customer: "cus_1".to_owned(),
        meter: "skep_requests".to_owned(),
        value: 7,
        window_start: OffsetDateTime::UNIX_EPOCH,
        window_end: OffsetDateTime::UNIX_EPOCH + time::Duration::HOUR,
        key: key.to_owned(),
    };
    Item { destination: destination.to_owned(), message: Message::Usage(event) }
}

fn open(folder: &Path) -> Outbox {
    Outbox::open(folder, Limits::default()).expect("it opens")
}

/// The keys of what waits and of what failed, in order.
fn keys(outbox: &Outbox, destination: &str) -> (Vec<String>, Vec<String>) {
    let inner = outbox.lock();
    let Some(queue) = inner.state.queues.get(destination) else { return Default::default() };
    let key = |entry: &Entry| entry.item.key().to_owned();
    (queue.waiting.iter().map(key).collect(), queue.failed.iter().map(|(entry, _)| key(entry)).collect())
}

fn waiting(outbox: &Outbox, destination: &str) -> Vec<String> {
    keys(outbox, destination).0
}

/// What the worker writes down when the first item of a destination was delivered, or will never be.
fn sent(outbox: &Outbox, destination: &str) {
    let entry = outbox.first(destination).0.expect("an item");
    let record = Record::Sent { destination: destination.to_owned(), number: entry.number, at: now() };
    outbox.settle(record).expect("it is written");
}

fn failed(outbox: &Outbox, destination: &str) {
    let entry = outbox.first(destination).0.expect("an item");
    let (destination, reason) = (destination.to_owned(), "no".to_owned());
    outbox.settle(Record::Failed { destination, number: entry.number, at: now(), reason }).expect("it is written");
}

#[test]
fn what_was_taken_is_there_after_a_restart_in_order_and_with_its_key() {
    let folder = TempDir::new().unwrap();
    let outbox = open(folder.path());
    for key in ["1", "2", "3"] {
        assert_eq!(outbox.put(alert("ops", key)).unwrap(), Taken::Queued);
    }
    outbox.put(usage("stripe", "u1")).unwrap();
    let ids = |outbox: &Outbox| (outbox.first("ops").0.unwrap().id, outbox.first("stripe").0.unwrap().id);
    let before = ids(&outbox);
    assert!(before.0.starts_with("msg_") && before.0.len() == 36, "{before:?}");
    assert_eq!(before.1, "u1");
    drop(outbox);

    let outbox = open(folder.path());
    assert_eq!(waiting(&outbox, "ops"), ["1", "2", "3"]);
    assert_eq!(ids(&outbox), before);
    sent(&outbox, "ops");
    failed(&outbox, "ops");
    drop(outbox);

    let outbox = open(folder.path());
    assert_eq!(keys(&outbox, "ops"), (vec!["3".to_owned()], vec!["2".to_owned()]));
    assert_eq!(outbox.put(alert("ops", "4")).unwrap(), Taken::Queued);
    assert_eq!(waiting(&outbox, "ops"), ["3", "4"]);
    assert_eq!(outbox.damaged(), 0);
}

#[test]
fn a_file_that_ends_anywhere_in_its_last_record_has_all_the_others() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("outbox.log");
    let outbox = open(folder.path());
    outbox.put(usage("stripe", "u1")).unwrap();
    outbox.put(usage("stripe", "u2")).unwrap();
    let whole = fs::metadata(&path).unwrap().len() as usize;
    outbox.put(usage("stripe", "u3")).unwrap();
    drop(outbox);
    let bytes = fs::read(&path).unwrap();
    for end in whole..=bytes.len() {
        for torn in [bytes[..end].to_vec(), [&bytes[..end], &vec![0; bytes.len() - end]].concat()] {
            fs::write(&path, torn).unwrap();
            let outbox = open(folder.path());
            let all = end == bytes.len();
            let expected: &[&str] = if all { &["u1", "u2", "u3"] } else { &["u1", "u2"] };
            assert_eq!(waiting(&outbox, "stripe"), expected, "cut at {end}");
            assert_eq!(outbox.damaged(), 0, "cut at {end}");
            // What comes next is not lost behind what is left of the record.
            outbox.put(usage("stripe", "u4")).unwrap();
            drop(outbox);
            assert_eq!(waiting(&open(folder.path()), "stripe").last().unwrap(), "u4", "cut at {end}");
        }
    }
}

#[test]
fn damage_in_the_middle_is_told_and_kept_and_everything_else_is_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("outbox.log");
    let outbox = open(folder.path());
    for key in ["u1", "u2", "u3"] {
        outbox.put(usage("stripe", key)).unwrap();
    }
    drop(outbox);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let outbox = open(folder.path());
    assert_eq!(waiting(&outbox, "stripe"), ["u1", "u3"]);
    assert_eq!(outbox.damaged(), 1);
    assert_eq!(fs::read(folder.path().join("outbox.damaged")).unwrap(), bytes);
    drop(outbox);
    let outbox = open(folder.path());
    assert_eq!((waiting(&outbox, "stripe"), outbox.damaged()), (vec!["u1".to_owned(), "u3".to_owned()], 0));
}

#[test]
fn a_folder_has_one_outbox_and_only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let base = TempDir::new().unwrap();
    let folder = base.path().join("outbox");
    let outbox = open(&folder);
    let error = Outbox::open(&folder, Limits::default()).expect_err("it is in use").to_string();
    assert!(error.contains("another process has it"), "{error}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("outbox.log"))), (0o700, 0o600));
    drop(outbox);
    open(&folder);
}

#[test]
fn a_full_queue_lets_the_oldest_alerts_go_and_never_usage() {
    let folder = TempDir::new().unwrap();
    let limits = Limits { items: 4, ..Limits::default() };
    let outbox = Outbox::open(folder.path(), limits).unwrap();
    outbox.put(usage("hook", "u1")).unwrap();
    for key in ["a1", "a2", "a3"] {
        outbox.put(alert("hook", key)).unwrap();
    }
    outbox.put(alert("hook", "a4")).unwrap();
    assert_eq!(waiting(&outbox, "hook"), ["u1", "a2", "a3", "a4"]);
    // Those that failed go first.
    outbox.put(usage("hook", "u2")).unwrap();
    sent(&outbox, "hook");
    failed(&outbox, "hook");
    outbox.put(alert("hook", "a5")).unwrap();
    assert_eq!(keys(&outbox, "hook"), (vec!["a4".to_owned(), "u2".to_owned(), "a5".to_owned()], vec!["a3".to_owned()]));
    outbox.put(usage("hook", "u3")).unwrap();
    assert_eq!(keys(&outbox, "hook"), (["a4", "u2", "a5", "u3"].map(str::to_owned).to_vec(), vec![]));
    outbox.put(usage("hook", "u4")).unwrap();
    outbox.put(usage("hook", "u5")).unwrap();
    for item in [usage("hook", "u6"), alert("hook", "a6")] {
        let error = outbox.put(item).expect_err("it is full");
        assert!(matches!(error, OutboxError::Full { items: 4, .. }), "{error}");
        assert!(error.to_string().contains("hand in the same item again"), "{error}");
    }
    assert_eq!(waiting(&outbox, "hook"), ["u2", "u3", "u4", "u5"]);
    // Others have their own room, and a restart changes nothing.
    outbox.put(usage("stripe", "u1")).unwrap();
    drop(outbox);
    let outbox = Outbox::open(folder.path(), limits).unwrap();
    assert_eq!(waiting(&outbox, "hook"), ["u2", "u3", "u4", "u5"]);
    assert_eq!(waiting(&outbox, "stripe"), ["u1"]);
}

#[test]
fn a_queue_has_so_many_bytes_and_an_item_too() {
    let folder = TempDir::new().unwrap();
    let limits = Limits { bytes: 2000, item_bytes: 1000, ..Limits::default() };
    let outbox = Outbox::open(folder.path(), limits).unwrap();
    let error = loop {
        let number = outbox.waiting().first().map_or(0, |waiting| waiting.items);
        match outbox.put(usage("stripe", &format!("u{number}"))) {
            Ok(taken) => assert_eq!(taken, Taken::Queued),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, OutboxError::Full { items: 8, bytes: 1900..=2000, .. }), "{error}");
    let mut large = alert("ops", "a");
    let Message::Alert(inside) = &mut large.message else { unreachable!() };
    inside.text = "x".repeat(1000);
    assert!(matches!(outbox.put(large), Err(OutboxError::TooLarge { limit: 1000, .. })));
}

#[test]
fn destinations_are_bounded() {
    let folder = TempDir::new().unwrap();
    let outbox = Outbox::open(folder.path(), Limits { destinations: 2, ..Limits::default() }).unwrap();
    outbox.put(alert("a", "1")).unwrap();
    outbox.put(alert("b", "1")).unwrap();
    assert!(matches!(outbox.put(alert("c", "1")), Err(OutboxError::Destinations(2))));
    // One that has nothing and remembers nothing makes room.
    failed(&outbox, "a");
    assert_eq!(outbox.forget(&Which::of("a")).unwrap().len(), 1);
    outbox.put(alert("c", "1")).unwrap();
}

#[test]
fn the_same_event_is_not_taken_again_even_after_it_was_sent() {
    let folder = TempDir::new().unwrap();
    let outbox = open(folder.path());
    assert_eq!(outbox.put(usage("stripe", "u1")).unwrap(), Taken::Queued);
    assert_eq!(outbox.put(usage("stripe", "u1")).unwrap(), Taken::Known);
    assert_eq!(outbox.put(usage("meter", "u1")).unwrap(), Taken::Queued);
    sent(&outbox, "stripe");
    assert_eq!(outbox.put(usage("stripe", "u1")).unwrap(), Taken::Known);
    drop(outbox);
    let outbox = open(folder.path());
    assert_eq!(outbox.put(usage("stripe", "u1")).unwrap(), Taken::Known);
    // One that failed is kept, and sent again by another call.
    outbox.put(usage("stripe", "u2")).unwrap();
    failed(&outbox, "stripe");
    assert_eq!(outbox.put(usage("stripe", "u2")).unwrap(), Taken::Known);
}

#[test]
fn the_same_alert_is_taken_again_when_its_time_is_over() {
    let folder = TempDir::new().unwrap();
    let limits = Limits { same_alert: Duration::from_secs(60), ..Limits::default() };
    let outbox = Outbox::open(folder.path(), limits).unwrap();
    outbox.put(alert("ops", "a")).unwrap();
    assert_eq!(outbox.put(alert("ops", "a")).unwrap(), Taken::Known);
    let first = outbox.first("ops").0.unwrap();
    let sent = |number, at| Record::Sent { destination: "ops".to_owned(), number, at };
    outbox.settle(sent(first.number, now() - 59_000)).unwrap();
    assert_eq!(outbox.put(alert("ops", "a")).unwrap(), Taken::Known);
    assert_eq!(outbox.put(alert("ops", "b")).unwrap(), Taken::Queued);
    let second = outbox.first("ops").0.unwrap();
    outbox.settle(sent(second.number, now() - 61_000)).unwrap();
    assert_eq!(outbox.put(alert("ops", "b")).unwrap(), Taken::Queued);
    assert_ne!(outbox.first("ops").0.unwrap().id, second.id, "another alert has another key");
    // One that failed does not keep a new one away.
    failed(&outbox, "ops");
    assert_eq!(outbox.put(alert("ops", "b")).unwrap(), Taken::Queued);
}

#[test]
fn remembered_keys_are_bounded_and_the_oldest_goes() {
    let folder = TempDir::new().unwrap();
    let outbox = Outbox::open(folder.path(), Limits { keys: 2, ..Limits::default() }).unwrap();
    for key in ["u1", "u2", "u3"] {
        outbox.put(usage("stripe", key)).unwrap();
        sent(&outbox, "stripe");
    }
    assert_eq!(outbox.put(usage("stripe", "u3")).unwrap(), Taken::Known);
    assert_eq!(outbox.put(usage("stripe", "u2")).unwrap(), Taken::Known);
    assert_eq!(outbox.put(usage("stripe", "u1")).unwrap(), Taken::Queued);
}

#[test]
fn what_failed_is_kept_until_somebody_decides() {
    let folder = TempDir::new().unwrap();
    let outbox = open(folder.path());
    for key in ["u1", "u2"] {
        outbox.put(usage("stripe", key)).unwrap();
        failed(&outbox, "stripe");
    }
    outbox.put(usage("stripe", "u3")).unwrap();
    let kept = outbox.failed(&Which::of("stripe"));
    assert_eq!(
        kept.iter().map(|failed| (&*failed.id, &*failed.reason)).collect::<Vec<_>>(),
        [("u1", "no"), ("u2", "no")]
    );
    let [found] = &outbox.waiting()[..] else { panic!("one destination") };
    assert_eq!((found.items, found.failed), (1, 2));
    assert_eq!(outbox.retry(&Which::of("stripe")).unwrap().failed.len(), 2);
    drop(outbox);
    let outbox = open(folder.path());
    assert_eq!(waiting(&outbox, "stripe"), ["u3", "u1", "u2"]);
    failed(&outbox, "stripe");
    assert_eq!(
        (outbox.forget(&Which::of("stripe")).unwrap().len(), outbox.forget(&Which::of("nobody")).unwrap().len()),
        (1, 0)
    );
    assert_eq!(keys(&outbox, "stripe"), (vec!["u1".to_owned(), "u2".to_owned()], vec![]));
}

#[test]
fn one_of_what_failed_is_decided_on_or_nothing_changes() {
    let folder = TempDir::new().unwrap();
    let outbox = open(folder.path());
    for (destination, key) in [("stripe", "u1"), ("stripe", "u2"), ("stripe", "u3"), ("meter", "u1")] {
        outbox.put(usage(destination, key)).unwrap();
        failed(&outbox, destination);
    }
    let some = |destination: Option<&str>, ids: &[&str]| Which {
        destination: destination.map(str::to_owned),
        ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()),
    };
    let unknown = outbox.retry(&some(None, &["u1", "u4"])).unwrap_err();
    assert!(matches!(&unknown, OutboxError::Unknown(id) if id == "u4"), "{unknown}");
    assert!(matches!(outbox.forget(&some(Some("meter"), &["u2"])), Err(OutboxError::Unknown(_))));
    assert_eq!(outbox.failed(&Which::default()).len(), 4);
    let retried = outbox.retry(&some(Some("stripe"), &["u1"])).unwrap();
    assert_eq!((retried.failed.len(), retried.waiting, &*retried.failed[0].id), (1, 0, "u1"));
    assert_eq!(outbox.forget(&some(None, &["u3"])).unwrap().len(), 1);
    let left: Vec<(String, String)> =
        outbox.failed(&Which::default()).into_iter().map(|failed| (failed.item.destination, failed.id)).collect();
    assert_eq!(left, [("meter", "u1"), ("stripe", "u2")].map(|(to, id)| (to.to_owned(), id.to_owned())));
    assert_eq!(outbox.retry(&Which::default()).unwrap().failed.len(), 2);
    drop(outbox);
    let outbox = open(folder.path());
    assert_eq!(
        (waiting(&outbox, "stripe"), waiting(&outbox, "meter").len()),
        (vec!["u1".to_owned(), "u2".to_owned()], 1)
    );
    assert!(outbox.failed(&Which::default()).is_empty());
}

#[test]
fn the_file_stays_small_and_nothing_is_lost_when_it_is_written_anew() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("outbox.log");
    let outbox = open(folder.path());
    outbox.put(alert("ops", "kept")).unwrap();
    outbox.put(usage("stripe", "failed")).unwrap();
    failed(&outbox, "stripe");
    outbox.put(usage("stripe", "sent")).unwrap();
    sent(&outbox, "stripe");
    // As if all of this had been long ago: only what is left makes the file.
    {
        let mut inner = outbox.lock();
        let Inner { state, log, .. } = &mut *inner;
        log.replace(state.records(now())).unwrap();
    }
    let fresh = fs::metadata(&path).unwrap().len();
    let text = "x".repeat(50_000);
    let mut longest = 0;
    for number in 0..100 {
        let mut item = alert("noise", &number.to_string());
        let Message::Alert(inside) = &mut item.message else { unreachable!() };
        inside.text.clone_from(&text);
        outbox.put(item).unwrap();
        sent(&outbox, "noise");
        longest = longest.max(fs::metadata(&path).unwrap().len());
    }
    assert!(longest > 100_000 && longest < SLACK + 2 * fresh + 200_000, "{longest} bytes, {fresh} at first");
    drop(outbox);
    let outbox = open(folder.path());
    assert_eq!(waiting(&outbox, "ops"), ["kept"]);
    assert_eq!(keys(&outbox, "stripe"), (vec![], vec!["failed".to_owned()]));
    assert_eq!(outbox.put(usage("stripe", "sent")).unwrap(), Taken::Known);
    assert_eq!(outbox.put(alert("noise", "0")).unwrap(), Taken::Known);
    // A new file that a crash left behind is in nobody's way.
    drop(outbox);
    fs::write(folder.path().join("outbox.new"), "half of").unwrap();
    assert_eq!(waiting(&open(folder.path()), "ops"), ["kept"]);
}

#[test]
fn items_that_make_no_sense_are_refused_with_the_field() {
    let folder = TempDir::new().unwrap();
    let outbox = open(folder.path());
    let of_alert = |change: fn(&mut Alert)| {
        let mut item = alert("ops", "a");
        let Message::Alert(alert) = &mut item.message else { unreachable!() };
        change(alert);
        item
    };
    let of_usage = |change: fn(&mut UsageEvent)| {
        let mut item = usage("stripe", "u");
        let Message::Usage(event) = &mut item.message else { unreachable!() };
        change(event);
        item
    };
    for (item, field) in [
        (alert("", "a"), "destination"),
        (alert("ops", ""), "key"),
        (of_alert(|alert| alert.kind = "quota exceeded".to_owned()), "kind"),
        (of_alert(|alert| alert.kind = "quota..exceeded".to_owned()), "kind"),
        (of_usage(|event| event.customer = String::new()), "customer"),
        (of_usage(|event| event.meter = "m".repeat(101)), "meter"),
        (of_usage(|event| event.key = "a\nb".to_owned()), "key"),
        (of_usage(|event| event.window_end = event.window_start), "window_end"),
    ] {
        let error = outbox.put(item).expect_err(field).to_string();
        assert!(error.contains(&format!("its {field} ")), "{error}");
    }
    assert!(outbox.waiting().is_empty());
}

#[test]
fn a_disk_that_takes_nothing_is_told_and_nothing_is_taken() {
    let folder = TempDir::new().unwrap();
    let outbox = open(folder.path());
    outbox.put(usage("stripe", "u1")).unwrap();
    // As a full disk: what is written fails.
    let whole = {
        let mut inner = outbox.lock();
        let full = fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
        inner.log.exchange_file(full)
    };
    let error = outbox.put(usage("stripe", "u2")).expect_err("the disk is full").to_string();
    assert!(error.contains("No space left") && error.contains("disk's space"), "{error}");
    assert_eq!(waiting(&outbox, "stripe"), ["u1"]);
    outbox.lock().log.exchange_file(whole);
    outbox.put(usage("stripe", "u3")).unwrap();
    drop(outbox);
    assert_eq!(waiting(&open(folder.path()), "stripe"), ["u1", "u3"]);
}
