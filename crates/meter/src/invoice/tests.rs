//! Invoices add up, are the same each time, and show every name as it is, harmlessly.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rust_decimal::Decimal;
use time::macros::{date, datetime};
use time::{Date, OffsetDateTime};

use super::{Billing, Invoice, InvoiceState};
use crate::{Kind, Month, Plan, Totals, Usage};

fn totals(requests: u64, cpu_us: u64, bytes_out: u64) -> Totals {
    let mut totals = Totals::default();
    totals.add_usage(Kind::Fetch, Usage { requests, cpu_us, bytes_out, ..Usage::default() });
    totals
}

fn period() -> Month {
    "2026-07".parse().expect("a month")
}

fn invoice(plan: &str, issued: OffsetDateTime, workers: &[(&str, Totals)], days: &[(Date, Totals)]) -> Invoice {
    let by_worker = workers.iter().map(|(name, totals)| ((*name).to_owned(), totals.clone())).collect();
    let by_day = days.iter().cloned().collect();
    Invoice::new(&Billing {
        account_id: "0190-account",
        account_name: "Bees & <Sons>",
        period: period(),
        plan: Plan::named(plan).expect("a plan"),
        issued,
        is_closed: true,
        by_worker: &by_worker,
        by_day: &by_day,
    })
}

fn sample() -> Invoice {
    let (api, shop) = (totals(12_000_000, 30_000_000_000, 1_550_000), totals(3_000_000, 75_000_000_000, 0));
    let days = [(date!(2026 - 07 - 01), totals(15_000_000, 105_000_000_000, 1_550_000))];
    invoice("workers-paid", datetime!(2026-08-01 09:05:59.5 UTC), &[("api", api), ("=shop", shop)], &days)
}

#[test]
fn amounts_follow_what_was_used() {
    // Base 5.00 and requests 1.50 by requests, 12 : 3; CPU time 1.50 by CPU time, 30 : 75, which is 0.4286 : 1.0714.
    let invoice = sample();
    let amounts: Vec<_> =
        invoice.by_worker.iter().map(|share| (share.worker.as_str(), share.amount.to_string())).collect();
    assert_eq!(amounts, [("=shop", "2.37".to_owned()), ("api", "5.63".to_owned())]);
    assert_eq!(invoice.by_day[0].amount, invoice.total);
    assert_eq!(invoice.total, Decimal::from(8));
}

#[test]
fn a_base_price_without_requests_is_somebodys_too() {
    let mut assets = Totals::default();
    assets.add_usage(Kind::Asset, Usage { requests: 3, ..Usage::default() });
    for (workers, expect) in [
        (&[("a", Totals::default()), ("b", Totals::default())][..], &["2.50", "2.50"][..]),
        (&[("a", Totals::default()), ("b", assets)], &["0.00", "5.00"]),
        (&[], &[]),
    ] {
        let invoice = invoice("workers-paid", datetime!(2026-07-02 0:00 UTC), workers, &[]);
        let amounts: Vec<_> = invoice.by_worker.iter().map(|share| crate::money::exact(share.amount)).collect();
        assert_eq!((amounts, invoice.total), (expect.iter().map(|amount| (*amount).to_owned()).collect(), 5.into()));
    }
}

#[test]
fn an_invoice_is_final_when_the_month_is_over() {
    for (issued, state) in [
        (datetime!(2026-07-31 23:59:59 UTC), InvoiceState::Open),
        (datetime!(2026-08-01 01:59:59 +2), InvoiceState::Open),
        (datetime!(2026-08-01 00:00 UTC), InvoiceState::Final),
    ] {
        assert_eq!(invoice("lambda", issued, &[], &[]).state, state, "{issued}");
    }
}

#[test]
fn an_account_and_a_month_always_have_the_same_number() {
    let number = |account, period: &str| super::number(account, period.parse().expect("a month"));
    assert_eq!(sample().number, number("0190-account", "2026-07"));
    assert!(number("a", "2026-07").starts_with("2026-07-") && number("a", "2026-07").len() == 20);
    assert_ne!(number("a", "2026-07"), number("a", "2026-08"));
    assert_ne!(number("a", "2026-07"), number("b", "2026-07"));
}

#[test]
fn json_has_money_as_strings() {
    let json = sample().to_json().expect("JSON");
    let text = |pointer: &str| json.pointer(pointer).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    for (pointer, expect) in [
        ("/account_name", "Bees & <Sons>"),
        ("/period", "2026-07"),
        ("/plan", "workers-paid"),
        ("/currency", "USD"),
        ("/issued", "2026-08-01T09:05:59Z"),
        ("/state", "final"),
        ("/total", "8.00"),
        ("/lines/0/what", "base"),
        ("/lines/1/amount", "1.50"),
        ("/lines/2/quantity", "105000000"),
        ("/by_worker/0/worker", "=shop"),
        ("/by_worker/0/amount", "2.37"),
        ("/by_day/0/day", "2026-07-01"),
        ("/by_day/0/amount", "8.00"),
    ] {
        assert_eq!(text(pointer), expect, "{pointer}");
    }
    assert_eq!(json.pointer("/by_worker/1/usage/requests"), Some(&12_000_000.into()));
}

#[test]
fn csv_is_a_table() {
    let invoice = sample();
    let before = format!("{},2026-07,final,0190-account", invoice.number);
    let expect = [
        "invoice,month,state,account,section,item,quantity,unit,included,billed,unit_price,per,amount,currency"
            .to_owned(),
        format!("{before},line,base,1,month,0,1,5.00,1,5.00,USD"),
        format!("{before},line,requests,15000000,requests,10000000,5000000,0.30,1000000,1.50,USD"),
        format!("{before},line,cpu,105000000,CPU ms,30000000,75000000,0.02,1000000,1.50,USD"),
        format!("{before},worker,'=shop,3000000,events,,,,,2.37,USD"),
        format!("{before},worker,api,12000000,events,,,,,5.63,USD"),
        format!("{before},day,2026-07-01,15000000,events,,,,,8.00,USD"),
        format!("{before},total,,,,,,,,8.00,USD"),
        String::new(),
    ];
    assert_eq!(invoice.to_csv(), expect.join("\r\n"));
}

#[test]
fn the_page_needs_nothing_and_shows_all() {
    let page = sample().to_html();
    for expect in [
        "<!doctype html>\n<html lang=\"en\">",
        "<title>Invoice 2026-07-",
        "<bdi>Bees &amp; &lt;Sons&gt;</bdi>",
        "<dt>Month</dt><dd>July 2026</dd>",
        "<dt>Issued</dt><dd>2026-08-01 09:05 UTC</dd>",
        "<dt>State</dt><dd>Final</dd>",
        "<tr><th scope=\"row\">Base price</th><td></td><td></td><td></td><td>5.00 <small>per month</small></td><td>5.00</td></tr>",
        "<tr><th scope=\"row\">Requests</th><td>15,000,000 <small>requests</small></td><td>10,000,000</td><td>5,000,000</td>\
         <td>0.30 <small>per million requests</small></td><td>1.50</td></tr>",
        "<tr><th scope=\"row\" colspan=\"5\">Total</th><td>8.00 $</td></tr>",
        "<tr><th scope=\"row\"><bdi>api</bdi></th><td>12,000,000</td><td>30,000,000 <small>ms</small></td>\
         <td>1.6 <small>MB</small></td><td>5.63</td></tr>",
        "<tr><th scope=\"row\">2026-07-01</th>",
        "@page { size: A4;",
        "prefers-color-scheme: dark",
        "tabular-nums",
    ] {
        assert!(page.contains(expect), "{expect} is not in {page}");
    }
    for never in ["<script", "http://", "https://", "src=\"", "href", "url(", "@import", "<Sons>", " style=\""] {
        assert!(!page.contains(never), "{never} is in {page}");
    }
    // Everything that is opened is closed.
    for tag in [
        "html", "head", "body", "main", "title", "style", "table", "caption", "thead", "tbody", "tr", "td", "dl", "bdi",
    ] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn an_open_invoice_says_so() {
    let page = invoice("self-hosted", datetime!(2026-07-15 12:00 UTC), &[], &[]).to_html();
    assert!(page.contains("<dd>Open: the month is not over, and amounts can still change</dd>"), "{page}");
    assert!(!page.contains("Workers</caption>") && !page.contains("Days (UTC)"), "{page}");
}

proptest! {
    /// Whoever used what: the amounts of Workers and of days add up to the total, and the same usage makes the same invoice.
    #[test]
    fn shares_add_up(
        used in proptest::collection::vec((0..40_000_000_u64, 0..90_000_000_000_u64, 0..900_000_000_000_u64), 1..12),
    ) {
        let by_worker: BTreeMap<String, Totals> =
            used.iter().enumerate().map(|(index, used)| (format!("w{index}"), totals(used.0, used.1, used.2))).collect();
        let by_day: BTreeMap<Date, Totals> =
            (1..).zip(&used).map(|(day, used)| (date!(2026 - 06 - 30) + time::Duration::days(day), totals(used.0, used.1, used.2))).collect();
        for plan in Plan::shipped() {
            let issued = datetime!(2026-08-01 0:00 UTC);
            let billing = Billing { account_id: "a", account_name: "A", period: period(), plan, issued, is_closed: true, by_worker: &by_worker, by_day: &by_day };
            let invoice = Invoice::new(&billing);
            prop_assert_eq!(invoice.by_worker.iter().map(|share| share.amount).sum::<Decimal>(), invoice.total);
            prop_assert_eq!(invoice.by_day.iter().map(|share| share.amount).sum::<Decimal>(), invoice.total);
            prop_assert_eq!(invoice.to_html(), Invoice::new(&billing).to_html());
        }
    }
}
