//! Charges as the price lists have them, and what holds for any usage.

use proptest::prelude::*;
use rust_decimal::Decimal;
use skep_worker::Outcome;
use uuid::Uuid;

use super::{Line, LineKind, Totals};
use crate::{Entry, Kind, Plan, Usage, money};

fn plan(name: &str) -> &'static Plan {
    Plan::named(name).expect("a plan")
}

fn fetches(requests: u64, cpu_ms: u64, wall_ms: u64) -> Usage {
    Usage {
        requests,
        cpu_us: requests * cpu_ms * 1000,
        wall_ms: requests * wall_ms,
        wall_100ms: requests * wall_ms.div_ceil(100),
        ..Usage::default()
    }
}

fn totals(usages: &[(Kind, Usage)]) -> Totals {
    let mut totals = Totals::default();
    for (kind, usage) in usages {
        totals.add_usage(*kind, *usage);
    }
    totals
}

/// The amounts of the lines, and the total.
fn check(plan: &Plan, usage: &Totals, expect: &str) {
    let charge = plan.charge(usage);
    let amounts: Vec<String> = charge.lines.iter().map(|line| money::exact(line.amount)).collect();
    assert_eq!(format!("{} = {}", amounts.join(" + "), money::exact(charge.total)), expect, "{} {usage:?}", plan.name);
}

#[test]
fn cloudflares_own_examples_come_out() {
    // The examples of the price list: https://developers.cloudflare.com/workers/platform/pricing/#example-pricing
    let paid = plan("workers-paid");
    check(paid, &totals(&[(Kind::Fetch, fetches(15_000_000, 7, 9))]), "5.00 + 1.50 + 1.50 = 8.00");
    let assets = Usage { requests: 12_000_000, ..Usage::default() };
    check(
        paid,
        &totals(&[(Kind::Asset, assets), (Kind::Fetch, fetches(3_000_000, 7, 9))]),
        "5.00 + 0.00 + 0.00 = 5.00",
    );
    check(paid, &totals(&[(Kind::Scheduled, fetches(720, 180_000, 180_000))]), "5.00 + 0.00 + 1.99 = 6.99");
    check(paid, &totals(&[(Kind::Fetch, fetches(100_000_000, 7, 9))]), "5.00 + 27.00 + 13.40 = 45.40");
}

#[test]
fn what_is_free_on_cloudflare_is_free() {
    // Calls between Workers and tail Workers: their CPU time counts, they are no requests.
    let many = fetches(100_000_000, 1, 1);
    for kind in [Kind::Service, Kind::Tail] {
        // (100 - 30) million ms × 0.02 = 1.40
        check(plan("workers-paid"), &totals(&[(kind, many)]), "5.00 + 0.00 + 1.40 = 6.40");
    }
    let big = Usage { bytes_out: u64::MAX, ..Usage::default() };
    check(plan("workers-paid"), &totals(&[(Kind::Fetch, big)]), "5.00 + 0.00 + 0.00 = 5.00");
    check(plan("workers-free"), &totals(&[(Kind::Fetch, many)]), "0.00 = 0.00");
    check(plan("self-hosted"), &totals(&[(Kind::Fetch, many)]), "0.00 = 0.00");
}

#[test]
fn duration_is_rounded_and_included() {
    // 30 million × 0.2 s × 128/1024 GB = 750,000 GB-s; 350,000 × 0.0000166667 = 5.833345; 29 × 0.20 = 5.80
    check(plan("lambda"), &totals(&[(Kind::Fetch, fetches(30_000_000, 1, 200))]), "5.80 + 5.83 + 0.00 = 11.63");
    // 250 ms are billed as 300: 10 million × 0.3 s × 0.125 = 375,000 GB-s, which are included; × 0.2 GHz = 600,000 GHz-s, of
    // which 400,000 cost 4.00; 8 × 0.40 = 3.20
    check(
        plan("cloud-functions"),
        &totals(&[(Kind::Fetch, fetches(10_000_000, 1, 250))]),
        "3.20 + 0.00 + 4.00 + 0.00 = 7.20",
    );
    // A call of another function is an invocation there, and a static asset is none.
    check(plan("lambda"), &totals(&[(Kind::Service, fetches(2_000_000, 1, 1))]), "0.20 + 0.00 + 0.00 = 0.20");
    check(plan("lambda"), &totals(&[(Kind::Asset, fetches(2_000_000, 1, 1))]), "0.00 + 0.00 + 0.00 = 0.00");
}

#[test]
fn egress_is_what_goes_to_the_internet() {
    let sent = Usage { bytes_out: 200 << 30 | 1 << 29, ..Usage::default() };
    // (200.5 - 100) × 0.09 = 9.045, which is half a cent: up. (200.5 - 5) × 0.12 = 23.46
    for kind in [Kind::Fetch, Kind::Asset] {
        check(plan("lambda"), &totals(&[(kind, sent)]), "0.00 + 0.00 + 9.05 = 9.05");
        check(plan("cloud-functions"), &totals(&[(kind, sent)]), "0.00 + 0.00 + 0.00 + 23.46 = 23.46");
    }
    check(plan("lambda"), &totals(&[(Kind::Service, sent)]), "0.00 + 0.00 + 0.00 = 0.00");
    // A GB more, byte by byte: 1/2^30 GB is never nothing.
    let line = &plan("lambda").charge(&totals(&[(Kind::Fetch, Usage { bytes_out: 1, ..Usage::default() })])).lines[2];
    assert_eq!(line.quantity.to_string(), "0.0000000009313225746154785156");
}

#[test]
fn nothing_is_rounded_before_the_cent() {
    let requests = |count| totals(&[(Kind::Fetch, Usage { requests: count, ..Usage::default() })]);
    // Around half a cent: 0.30 × 16,666 / 1,000,000 = 0.0049998, 0.30 × 16,667 / 1,000,000 = 0.0050001
    for (count, expect) in [
        (10_000_000, "5.00 + 0.00 + 0.00 = 5.00"),
        (10_000_001, "5.00 + 0.00 + 0.00 = 5.00"),
        (10_016_666, "5.00 + 0.00 + 0.00 = 5.00"),
        (10_016_667, "5.00 + 0.01 + 0.00 = 5.01"),
        (10_500_000, "5.00 + 0.15 + 0.00 = 5.15"),
    ] {
        check(plan("workers-paid"), &requests(count), expect);
    }
}

#[test]
fn a_line_says_how_its_amount_comes() {
    let line = plan("workers-paid").charge(&totals(&[(Kind::Fetch, fetches(12_500_000, 1, 1))])).lines.remove(1);
    let expect = serde_json::json!({
        "what": "requests",
        "quantity": "12500000",
        "included": "10000000",
        "billed": "2500000",
        "unit": "requests",
        "unit_price": "0.30",
        "per": 1_000_000,
        "amount": "0.75",
    });
    assert_eq!(serde_json::to_value(line).expect("JSON"), expect);
}

#[test]
fn totals_add_up_what_entries_say() {
    let entry = |kind, outcome, requests| Entry {
        account: "account".to_owned(),
        worker: "worker".to_owned(),
        version: Uuid::nil(),
        kind,
        outcome,
        usage: Usage { requests, bytes_out: 10, ..Usage::default() },
    };
    let mut totals = Totals::default();
    totals.add(&entry(Kind::Fetch, Outcome::Ok, 3));
    totals.add(&entry(Kind::Fetch, Outcome::Exception, 4));
    totals.add(&entry(Kind::Tail, Outcome::Ok, 5));
    assert_eq!(totals.sum([Kind::Fetch]).requests, 7);
    assert_eq!((totals.total().requests, totals.bytes_sent()), (12, 20));
    let mut twice = totals.clone();
    twice.add_all(&totals);
    assert_eq!(twice, totals.scaled(2, 1));
    assert_eq!(twice.scaled(1, 2), totals);
}

#[test]
fn the_most_that_counters_hold_has_a_price() {
    let all = |value| Usage {
        requests: value,
        cpu_us: value,
        wall_us: value,
        wall_ms: value,
        wall_100ms: value,
        bytes_in: value,
        bytes_out: value,
        subrequests: value,
        cold_starts: value,
    };
    let most = totals(&Kind::ALL.map(|kind| (kind, all(u64::MAX))));
    let dear = "name = \"dear\"\ntitle = \"Dear\"\nbase = \"1000000000\"\n\
                [requests]\nincluded = 0\nprice_per_million = \"10000\"\n\
                [cpu]\nincluded_ms = 0\nprice_per_million_ms = \"10000\"\n\
                [duration]\nmemory_mb = 1000000\nround = \"100ms\"\nincluded_gb_seconds = 0\n\
                price_per_gb_second = \"10000\"\nvcpu = \"1000\"\nincluded_vcpu_seconds = 0\n\
                price_per_vcpu_second = \"10000\"\n\
                [egress]\nincluded_gb = 0\ngb_bytes = 1000000000\nprice_per_gb = \"10000\"\n";
    let dear = Plan::parse("dear.toml", dear).expect("a plan");
    for plan in Plan::shipped().iter().chain([&dear]) {
        assert!(plan.charge(&most).total >= plan.base, "{}", plan.name);
    }
}

fn usage() -> impl Strategy<Value = Usage> {
    // A month of a big account, and the odd fields independent of each other.
    let count = || prop_oneof![0..1000_u64, 0..1_000_000_000_000_u64];
    (count(), count(), count(), count(), count()).prop_map(|(requests, cpu_us, wall_ms, wall_100ms, bytes_out)| Usage {
        requests,
        cpu_us,
        wall_ms,
        wall_100ms,
        bytes_out,
        ..Usage::default()
    })
}

fn month() -> impl Strategy<Value = Totals> {
    proptest::collection::vec((0..Kind::ALL.len(), usage()), 0..6).prop_map(|usages| {
        totals(&usages.into_iter().map(|(kind, usage)| (Kind::ALL[kind], usage)).collect::<Vec<_>>())
    })
}

proptest! {
    /// Using more of anything makes no line cheaper.
    #[test]
    fn more_never_costs_less(before in month(), kind in 0..Kind::ALL.len(), more in usage()) {
        let mut after = before.clone();
        after.add_usage(Kind::ALL[kind], more);
        for plan in Plan::shipped() {
            let (before, after) = (plan.charge(&before), plan.charge(&after));
            prop_assert_eq!(before.lines.len(), after.lines.len());
            for (before, after) in before.lines.iter().zip(&after.lines) {
                prop_assert!(before.amount <= after.amount);
            }
        }
    }

    /// Lines add up to the total in whole cents, and each is no more than half a cent from its exact amount.
    #[test]
    fn lines_add_up(usage in month()) {
        for plan in Plan::shipped() {
            let charge = plan.charge(&usage);
            prop_assert_eq!(charge.lines.iter().map(|line| line.amount).sum::<Decimal>(), charge.total);
            prop_assert!(charge.total.scale() <= 2 && charge.total >= plan.base);
            for Line { what, quantity, included, billed, amount, unit_price, per, .. } in charge.lines {
                prop_assert_eq!(billed + quantity.min(included), quantity);
                prop_assert!(what != LineKind::Base || amount == plan.base);
                let exact = billed * unit_price / Decimal::from(per);
                prop_assert!((amount - exact).abs() <= Decimal::new(5, 3));
            }
        }
    }

    /// Two accounts have twice what is included: apart from the base price and the rounding, one that used all is never cheaper.
    #[test]
    fn what_is_included_is_included_once(left in month(), right in month()) {
        let mut both = left.clone();
        both.add_all(&right);
        for plan in Plan::shipped() {
            let [left, right, both] = [&left, &right, &both].map(|usage| plan.charge(usage));
            let rounding = Decimal::new(2, 2) * Decimal::from(both.lines.len());
            prop_assert!(both.total + plan.base + rounding >= left.total + right.total);
        }
    }
}
