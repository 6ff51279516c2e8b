//! Plans that are read, and every mistake with its line and key.

use rust_decimal::Decimal;

use super::{Plan, Round, Then};
use crate::Kind;

const LEAST: &str =
    "name = \"team\"\ntitle = \"Team\"\nbase = \"5\"\n[requests]\nincluded = 0\nprice_per_million = \"0.30\"\n";

fn error(text: &str) -> String {
    Plan::parse("team.toml", text).expect_err(text).to_string()
}

fn decimal(text: &str) -> Decimal {
    text.parse().expect("a number")
}

#[test]
fn what_is_left_out_has_a_default() {
    let plan = Plan::parse("team.toml", LEAST).expect("a plan");
    assert_eq!(plan.currency, "USD");
    assert_eq!(plan.billed, [Kind::Fetch, Kind::Scheduled, Kind::Queue].into());
    assert_eq!(plan.warn, [50, 80, 100]);
    assert_eq!((plan.cpu, plan.duration, plan.egress), (None, None, None));
    assert_eq!((plan.limits, plan.cap, plan.source, plan.as_of), (None, None, None, None));
}

#[test]
fn all_that_can_be_said_is_read_and_shown() {
    let text = r#"
name = "all-of-it"
title = "All of it"
currency = "EUR"
source = "https://example.com/prices"
as_of = "2026-07-31"
base = "1.50"
billed = ["asset", "fetch", "asset"]
warn = [100, 10, 10]
[requests]
included = 1_000
price_per_million = "0.300"
[cpu]
included_ms = 0x10
price_per_million_ms = "0.02"
[duration]
memory_mb = 256
round = "100ms"
included_gb_seconds = 4
price_per_gb_second = "0.0000166667"
vcpu = "0.5"
included_vcpu_seconds = 5
price_per_vcpu_second = "0.000024"
[egress]
included_gb = 1
gb_bytes = 1_000_000_000
price_per_gb = "0.1"
[limits]
requests_per_day = 10
cpu_ms_per_day = 20
bytes_out_per_day = 30
cpu_ms_per_request = 40
then = "throttle"
throttle_per_second = 7
[cap]
per_month = "50"
then = "bill"
"#;
    let plan = Plan::parse("all.toml", text).expect("a plan");
    let expect = serde_json::json!({
        "name": "all-of-it",
        "title": "All of it",
        "currency": "EUR",
        "source": "https://example.com/prices",
        "as_of": "2026-07-31",
        "base": "1.50",
        "billed": ["fetch", "asset"],
        "requests": {"included": 1000, "price_per_million": "0.30"},
        "cpu": {"included_ms": 16, "price_per_million_ms": "0.02"},
        "duration": {
            "memory_mb": 256,
            "round": "100ms",
            "included_gb_seconds": 4,
            "price_per_gb_second": "0.0000166667",
            "vcpu": "0.5",
            "vcpu_unit": "vCPU",
            "included_vcpu_seconds": 5,
            "price_per_vcpu_second": "0.000024",
        },
        "egress": {"included_gb": 1, "gb_bytes": 1_000_000_000, "price_per_gb": "0.10"},
        "limits": {
            "requests_per_day": 10,
            "cpu_ms_per_day": 20,
            "bytes_out_per_day": 30,
            "cpu_ms_per_request": 40,
            "then": "throttle",
            "throttle_per_second": 7,
        },
        "cap": {"per_month": "50.00", "then": "bill"},
        "warn": [10, 100],
    });
    assert_eq!(serde_json::to_value(plan).expect("JSON"), expect);
}

#[test]
fn what_is_not_as_expected_is_refused_with_file_line_and_key() {
    // A replacement in the least plan, and the message.
    for (from, to, expect) in [
        ("= \"5\"", "= ", "team.toml:3: this is not TOML: "),
        ("base", "bace", "team.toml:3: bace: there is no such key: did you mean \"base\"?"),
        ("included", "incuded", "team.toml:5: requests.incuded: there is no such key: did you mean \"included\"?"),
        (
            "[requests]",
            "[zzzzzz]\n[requests]",
            "team.toml:4: zzzzzz: there is no such key: remove it, or choose one of name, title, ",
        ),
        ("base = \"5\"", "", "team.toml:1: base: this key is missing: add it, such as base = \"5.00\""),
        (
            "price_per_million = \"0.30\"",
            "",
            "team.toml:4: requests.price_per_million: this key is missing: add it, such as price_per_million = \"0.30\"",
        ),
        (
            "\"0.30\"",
            "0.30",
            "team.toml:6: requests.price_per_million: a float is not exact: write it in quotes, as \"0.30\"",
        ),
        ("\"5\"", "5", "team.toml:3: base: found an integer, expected a string: write it in quotes, as \"5\""),
        ("\"5\"", "true", "team.toml:3: base: found a boolean, expected a number in quotes, such as \"0.30\""),
        ("\"0.30\"", "\"-0.30\"", "team.toml:6: requests.price_per_million: \"-0.30\" is negative: give 0 or more"),
        ("\"0.30\"", "\"30c\"", "\"30c\" is no number: write digits with a dot, such as \"0.30\""),
        ("\"0.30\"", "\"3e5\"", "\"3e5\" is no number"),
        ("\"0.30\"", "\"0,30\"", "\"0,30\" is no number"),
        ("\"0.30\"", "\"1_0\"", "\"1_0\" is no number"),
        ("\"0.30\"", "\"+1\"", "\"+1\" is no number"),
        ("\"0.30\"", "\".5\"", "\".5\" is no number"),
        ("\"0.30\"", "\"5.\"", "\"5.\" is no number"),
        ("\"0.30\"", "\"\"", "\"\" is no number"),
        (
            "\"0.30\"",
            "\"10000.01\"",
            "\"10000.01\" is too big or too long: give at most 10000, with 12 decimal places at most",
        ),
        ("\"0.30\"", "\"0.1234567890123\"", "is too big or too long"),
        ("\"0.30\"", "\"99999999999999999999999999999999\"", "is no number"),
        ("\"5\"", "\"5.001\"", "team.toml:3: base: this is paid as it stands: give whole cents, two decimal places"),
        ("= 0", "= -1", "team.toml:5: requests.included: -1 is out of range: give a whole number of at least 0"),
        ("= 0", "= 99999999999999999999", "team.toml:5: requests.included: 99999999999999999999 is out of range"),
        ("= 0", "= 0.5", "team.toml:5: requests.included: found a float, expected a whole number, without quotes"),
        ("= 0", "= \"0\"", "team.toml:5: requests.included: found a string, expected a whole number, without quotes"),
        (
            "\"team\"",
            "\"Team A\"",
            "team.toml:1: name: \"Team A\" is no name of a plan: use lowercase letters, digits,",
        ),
        ("\"team\"", "\"-a\"", "\"-a\" is no name of a plan"),
        ("\"Team\"", "\" \"", "team.toml:2: title: this is empty: write something in it"),
        ("\"Team\"", "7", "team.toml:2: title: found an integer, expected a string: write it in quotes"),
        (
            "base",
            "currency = \"dollar\"\nbase",
            "team.toml:3: currency: \"dollar\" is no currency: use three capital letters",
        ),
        ("base", "source = \"prices.pdf\"\nbase", "team.toml:3: source: \"prices.pdf\" is no address: give the URL"),
        ("base", "as_of = \"July\"\nbase", "team.toml:3: as_of: \"July\" is no date: write a date such as 2026-07-31"),
        ("base", "as_of = 2026-07-31T00:00:00Z\nbase", "team.toml:3: as_of: \"2026-07-31T00:00:00Z\" is no date"),
        ("base", "as_of = 2026\nbase", "team.toml:3: as_of: found an integer, expected a date such as 2026-07-31"),
        ("base", "warn = [50,\n 0]\nbase", "team.toml:4: warn: 0 is out of range: give a whole number of at least 1"),
        ("base", "warn = [101]\nbase", "team.toml:3: warn: this is no percentage: give 1 to 100"),
        ("base", "warn = 50\nbase", "team.toml:3: warn: found an integer, expected an array: write it in brackets"),
        ("base", "billed = [\"fecth\"]\nbase", "team.toml:3: billed: \"fecth\" is not known: did you mean \"fetch\"?"),
        ("base", "billed = [1]\nbase", "team.toml:3: billed: found an integer, expected one of \"fetch\", \"asset\", "),
        ("base", "cpu = 7\nbase", "team.toml:3: cpu: found an integer, expected a table: write [cpu] above its keys"),
    ] {
        let message = error(&LEAST.replacen(from, to, 1));
        assert!(message.contains(expect), "{to}: {message}");
    }
    let missing = "team.toml:1: requests: this table is missing: add [requests] with included and price_per_million";
    assert_eq!(error("name = \"team\"\ntitle = \"Team\"\nbase = \"5\"\n"), missing);
}

#[test]
fn what_belongs_together_is_given_together() {
    // What is added to the least plan, and the message. It begins on line 7.
    for (added, expect) in [
        ("[cpu]", "team.toml:7: cpu.included_ms: this key is missing"),
        (
            "[limits]\nthen = \"refuse\"",
            "team.toml:8: limits.then: there is no limit: add one, such as requests_per_day",
        ),
        (
            "[limits]\nrequests_per_day = 1",
            "team.toml:7: limits.then: this key is missing: add it, such as then = \"refuse\"",
        ),
        ("[limits]\nrequests_per_day = 0\nthen = \"bill\"", "team.toml:8: limits.requests_per_day: 0 is out of range"),
        (
            "[limits]\nrequests_per_day = 1\nthen = \"stop\"",
            "team.toml:9: limits.then: \"stop\" is not known: choose one of",
        ),
        (
            "[limits]\nrequests_per_day = 1\nthen = \"throttle\"",
            "team.toml:7: limits.throttle_per_second: this key is missing",
        ),
        (
            "[cap]\nper_month = \"1\"\nthen = \"throttle\"\nthrottle_per_second = 0",
            "team.toml:10: cap.throttle_per_second: 0 is out",
        ),
        (
            "[cap]\nper_month = \"1\"\nthen = \"throttle\"\nthrottle_per_second = 1000001",
            "team.toml:10: cap.throttle_per_second: 1000001 is too big: give at most 1000000",
        ),
        (
            "[cap]\nper_month = \"1\"\nthen = \"bill\"\nthrottle_per_second = 1",
            "team.toml:10: cap.throttle_per_second: this needs then = \"throttle\": write that, or remove this",
        ),
        ("[cap]\nper_month = \"0.001\"\nthen = \"bill\"", "team.toml:8: cap.per_month: this is paid as it stands"),
        (
            "[egress]\nincluded_gb = 1\nprice_per_gb = \"1\"\ngb_bytes = 1024",
            "team.toml:10: egress.gb_bytes: 1024 bytes are no GB: give 1_000_000_000 or 1_073_741_824",
        ),
        (
            "[duration]\nmemory_mb = 128\nround = \"1s\"",
            "team.toml:9: duration.round: \"1s\" is not known: did you mean \"1ms\"?",
        ),
        (
            "[duration]\nmemory_mb = 1\nround = \"1ms\"\nincluded_gb_seconds = 0\nprice_per_gb_second = \"1\"\nvcpu_unit = \"GHz\"",
            "team.toml:12: duration.vcpu_unit: this needs vcpu: add it, such as vcpu = \"0.2\", or remove this",
        ),
        (
            "[duration]\nmemory_mb = 1\nround = \"1ms\"\nincluded_gb_seconds = 0\nprice_per_gb_second = \"1\"\nvcpu = 0.2",
            "team.toml:12: duration.vcpu: a float is not exact: write it in quotes, as \"0.2\"",
        ),
    ] {
        let message = error(&format!("{LEAST}{added}"));
        assert!(message.starts_with(expect), "{added}: {message}");
    }
}

#[test]
fn the_shipped_plans_are_as_their_price_lists() {
    let names: Vec<&str> = Plan::shipped().iter().map(|plan| plan.name.as_str()).collect();
    assert_eq!(names, ["self-hosted", "workers-free", "workers-paid", "lambda", "cloud-functions"]);
    for plan in Plan::shipped() {
        assert_eq!(plan.is_free(), plan.name == super::SELF_HOSTED, "{}", plan.name);
        assert_eq!(plan.source.is_some() && plan.as_of.is_some(), !plan.is_free(), "{}", plan.name);
    }
    let plan = |name| Plan::named(name).expect("a plan");
    let free = plan("workers-free").limits.clone().expect("limits");
    assert_eq!((free.requests_per_day, free.cpu_ms_per_request, free.then), (Some(100_000), Some(10), Then::Refuse));
    let paid = plan("workers-paid");
    assert_eq!((paid.base, paid.requests.included), (decimal("5"), 10_000_000));
    assert_eq!(paid.requests.price_per_million, decimal("0.30"));
    let duration = plan("lambda").duration.as_ref().expect("duration");
    assert_eq!((duration.memory_mb, duration.round), (128, Round::Millisecond));
    assert_eq!(duration.price_per_gb_second, decimal("0.0000166667"));
    let duration = plan("cloud-functions").duration.as_ref().expect("duration");
    assert_eq!(duration.round, Round::HundredMilliseconds);
    assert_eq!(duration.vcpu.as_ref().expect("processors").share, decimal("0.2"));
    assert_eq!(Plan::named("no-such-plan"), None);
}
