//! Hours are exported once, in their order, whatever stops the platform in between.

use std::sync::Arc;

use skep_meter::{Batch, Entry, Kind, Ledger, Usage};
use skep_worker::Outcome;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::{Delivery, DeliverySettings};
use crate::settings::Given;

const BEGIN: OffsetDateTime = datetime!(2026-11-26 12:30 UTC);
const SETTINGS: &str = r#"
    alerts = ["hook"]
    [destinations.hook]
    type = "webhook"
    url = "http://127.0.0.1:9/hook"
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    [destinations.meter]
    type = "openmeter"
    url = "http://127.0.0.1:9/"
    [export.meter]
    customers = { a = "customer-a" }
    meters = [{ event_name = "requests", value = "requests" }]
"#;

fn settings(text: &str) -> Result<DeliverySettings, String> {
    let given: Given = toml::from_str(text).map_err(|error| error.to_string())?;
    let resolved = given.resolve(None, Vec::new()).map_err(|error| error.to_string())?;
    Ok(resolved.delivery)
}

fn add(ledger: &Ledger, number: u64, at: OffsetDateTime, account: &str) {
    let usage = Usage { requests: number, ..Usage::default() };
    let entry = Entry {
        account: account.to_owned(),
        worker: "w".to_owned(),
        version: Uuid::nil(),
        kind: Kind::Fetch,
        outcome: Outcome::Ok,
        usage,
    };
    let batch = Batch { process: Uuid::from_u128(1), number, entries: vec![entry] };
    assert!(ledger.append(at, &batch).expect("written"));
}

#[tokio::test]
async fn each_hour_is_exported_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(&folder.path().join("usage")).expect("a ledger");
    let settings = settings(SETTINGS).expect("settings");
    let hour = time::Duration::HOUR;
    let waiting = |delivery: &Arc<Delivery>| {
        let all = delivery.outbox.waiting();
        all.iter().filter(|waiting| waiting.destination == "meter").map(|waiting| waiting.items).sum::<usize>()
    };
    let start = || Delivery::start(&settings, folder.path(), Arc::new(|_| {})).expect("started");
    let delivery = start();
    add(&ledger, 1, BEGIN, "a");
    // The first time there is nothing to export: the hour is not over.
    delivery.export_hours(&ledger, BEGIN).expect("exported");
    assert_eq!(waiting(&delivery), 0);
    // Nobody exports what "b" uses.
    add(&ledger, 2, BEGIN + hour, "b");
    add(&ledger, 3, BEGIN + hour * 2, "a");
    delivery.export_hours(&ledger, BEGIN + hour).expect("exported");
    assert_eq!(waiting(&delivery), 1);
    delivery.export_hours(&ledger, BEGIN + hour).expect("exported");
    assert_eq!(waiting(&delivery), 1);
    delivery.export_hours(&ledger, BEGIN + hour * 3).expect("exported");
    assert_eq!(waiting(&delivery), 2);
    // Killed before it was written down: the same events are handed in again, and are the same.
    std::fs::write(folder.path().join("outbox/exported"), "2026-11-26T12:00:00Z").expect("written");
    delivery.export_hours(&ledger, BEGIN + hour * 3).expect("exported");
    assert_eq!(waiting(&delivery), 2);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let check = |text: &str, expect: &str| {
        let said = match settings(text) {
            Ok(settings) => settings.check().map_or_else(|error| error.to_string(), |()| "fine".to_owned()),
            Err(error) => error,
        };
        assert!(said.contains(expect), "{said}");
    };
    check(SETTINGS, "fine");
    check("", "fine");
    check(
        &SETTINGS.replace("[\"hook\"]", "[\"hok\"]"),
        "alerts: there is no destination \"hok\": add it, or use one of hook, meter",
    );
    check(&SETTINGS.replace("[\"hook\"]", "[\"meter\"]"), "alerts: \"meter\" takes usage and no alerts");
    check("alerts = [\"ops\"]", "add [destinations.ops]");
    check(&SETTINGS.replace("openmeter", "openmetr"), "unknown variant");
    check(&SETTINGS.replace("event_name", "name"), "unknown field");
}
