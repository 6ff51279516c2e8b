//! Limits are reached by what counts for them, when it counts, and not before.

use rust_decimal::Decimal;
use skep_worker::Outcome;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::{Books, MeasureKind};
use crate::{Entry, Kind, Minute, Plan, Terms, Usage};

const NOON: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

fn entry(worker: &str, kind: Kind, usage: Usage) -> Entry {
    let (account, worker) = ("a".to_owned(), worker.to_owned());
    Entry { account, worker, version: Uuid::nil(), kind, outcome: Outcome::Ok, usage }
}

fn requests(requests: u64) -> Usage {
    Usage { requests, cpu_us: requests * 1000, bytes_out: requests * 10, ..Usage::default() }
}

fn plan(more: &str) -> Plan {
    let text = format!(
        "name = \"test\"\ntitle = \"Test\"\nbase = \"1.00\"\n[requests]\nincluded = 0\nprice_per_million = \"1000\"\n{more}"
    );
    Plan::parse("test.toml", &text).expect("a plan")
}

fn terms(text: &str) -> Terms {
    serde_json::from_str(text).expect("terms")
}

#[test]
fn a_day_that_is_used_up_is_over_until_midnight() {
    let plan = plan("[limits]\nrequests_per_day = 100\nthen = \"refuse\"");
    let mut books = Books::default();
    books.add(Minute::of(NOON), &entry("one", Kind::Fetch, requests(99)));
    // Assets cost nothing, and count for nothing.
    books.add(Minute::of(NOON), &entry("one", Kind::Asset, requests(1000)));
    // Yesterday is another day.
    books.add(Minute::of(datetime!(2026-11-25 23:59 UTC)), &entry("one", Kind::Fetch, requests(1000)));
    let standing = books.standing("a", &plan, &Terms::default(), NOON);
    assert_eq!((standing.account, standing.measures[0].percent), (None, 99));
    books.add(Minute::of(NOON), &entry("two", Kind::Fetch, requests(1)));
    let standing = books.standing("a", &plan, &Terms::default(), NOON);
    let verdict = standing.account.expect("it is refused");
    assert_eq!((verdict.per_second, verdict.until), (0, datetime!(2026-11-27 0:00 UTC).unix_timestamp()));
    assert!(verdict.reason.contains("limit of 100 requests a day"), "{}", verdict.reason);
    assert!(standing.measures[0].warning().contains("100 % of its limit of 100 requests a day (2026-11-26)"));
    let midnight = datetime!(2026-11-27 0:00 UTC);
    assert_eq!(books.standing("a", &plan, &Terms::default(), midnight).account, None);
    // Another account has not used it.
    assert_eq!(books.standing("b", &plan, &Terms::default(), NOON).account, None);
}

#[test]
fn a_spend_cap_holds_for_the_month() {
    let plan = plan("[cap]\nper_month = \"3.00\"\nthen = \"refuse\"");
    let mut books = Books::default();
    // 1.00 base, and 0.001 for each request.
    for (day, count) in [(1, 900), (10, 900), (26, 195)] {
        let at = datetime!(2026-11-01 12:00 UTC) + time::Duration::days(day - 1);
        books.add(Minute::of(at), &entry("one", Kind::Fetch, requests(count)));
    }
    let standing = books.standing("a", &plan, &Terms::default(), NOON);
    // 2.995 is 3.00 on the invoice.
    assert_eq!(standing.measures[0].used, Decimal::new(300, 2));
    let verdict = standing.account.expect("it is refused");
    assert_eq!(verdict.until, datetime!(2026-12-01 0:00 UTC).unix_timestamp());
    assert!(verdict.reason.contains("spend cap of 3.00 $ a month"), "{}", verdict.reason);
    // Raised, it goes on; what the account says comes before what the plan says.
    let raised = terms(r#"{"cap":{"per_month":"3.01"}}"#);
    let standing = books.standing("a", &plan, &raised, NOON);
    assert_eq!((standing.account, standing.measures[0].percent), (None, 99));
    let throttled = terms(r#"{"cap":{"per_month":"2","then":"throttle","throttle_per_second":5}}"#);
    assert_eq!(books.standing("a", &plan, &throttled, NOON).account.expect("held back").per_second, 5);
    let billed = terms(r#"{"cap":{"per_month":"2","then":"bill"}}"#);
    let standing = books.standing("a", &plan, &billed, NOON);
    assert_eq!((standing.account, standing.measures[0].percent), (None, 150));
    assert_eq!(books.standing("a", &plan, &Terms::default(), datetime!(2026-12-01 0:00 UTC)).account, None);
}

#[test]
fn a_workers_limit_is_its_own() {
    let plan = plan("");
    let mut books = Books::default();
    books.add(Minute::of(NOON), &entry("one", Kind::Fetch, requests(1000)));
    books.add(Minute::of(NOON), &entry("two", Kind::Fetch, requests(3000)));
    let terms = terms(
        r#"{"workers":{"one":{"requests_per_day":1000,"cpu_ms_per_day":1001},"two":{"cap":{"per_month":"3.76"}},"three":{"requests_per_day":1}}}"#,
    );
    let standing = books.standing("a", &plan, &terms, NOON);
    assert_eq!(standing.account, None);
    assert_eq!(standing.workers.keys().collect::<Vec<_>>(), ["one"]);
    let spent: Vec<_> = standing.measures.iter().filter(|measure| measure.what == MeasureKind::Spend).collect();
    // Three quarters of the base price, and 3.00.
    assert_eq!((spent[0].used, spent[0].percent), (Decimal::new(375, 2), 99));
}

#[test]
fn a_clock_that_jumps_moves_nothing() {
    let plan = plan("[limits]\nrequests_per_day = 100\nthen = \"refuse\"");
    let mut books = Books::default();
    books.add(Minute::of(NOON), &entry("one", Kind::Fetch, requests(60)));
    books.add(Minute::of(datetime!(2031-01-01 0:00 UTC)), &entry("one", Kind::Fetch, requests(60)));
    books.add(Minute::of(NOON), &entry("one", Kind::Fetch, requests(39)));
    assert_eq!(books.standing("a", &plan, &Terms::default(), NOON).measures[0].percent, 99);
}
