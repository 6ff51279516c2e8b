//! Five shapes of traffic, whose figures were worked out by hand.

use std::time::Duration;

use rust_decimal::Decimal;

use super::{BreakEven, Comparison, Cost, LimitKind, Observed, Vm, compare};
use crate::{Kind, Plan, Totals, Usage, money};

const FREE: &str = "workers-free";
const PAID: &str = "workers-paid";
const LAMBDA: &str = "lambda";
const GOOGLE: &str = "cloud-functions";

/// Requests a day, and what each of them uses.
#[derive(Clone, Copy)]
struct Shape {
    a_day: u64,
    cpu_ms: u64,
    wall_ms: u64,
    bytes_out: u64,
}

fn vm() -> Vm {
    Vm { price_per_month: 5.into(), currency: "USD".to_owned(), cores: 2 }
}

fn plan(name: &str) -> &'static Plan {
    Plan::named(name).expect("a plan")
}

fn used(shape: Shape, days: u64) -> Totals {
    let requests = shape.a_day * days;
    let mut totals = Totals::default();
    let usage = Usage {
        requests,
        cpu_us: requests * shape.cpu_ms * 1000,
        wall_us: requests * shape.wall_ms * 1000,
        wall_ms: requests * shape.wall_ms,
        wall_100ms: requests * shape.wall_ms.div_ceil(100),
        bytes_out: requests * shape.bytes_out,
        ..Usage::default()
    };
    totals.add_usage(Kind::Fetch, usage);
    totals
}

fn after(usage: &Totals, month: &str, days: u64, vm: &Vm, own: &str) -> Comparison {
    let month = month.parse().expect("a month");
    let covered = Duration::from_secs(days * 86_400);
    compare(&Observed { usage, month, covered }, Plan::shipped().iter().skip(1), vm, plan(own))
}

/// What a whole month of 30 days costs.
fn june(shape: Shape) -> Comparison {
    after(&used(shape, 30), "2026-06", 30, &vm(), "self-hosted")
}

/// Cost of the month and break-even of a plan, in words.
fn told(comparison: &Comparison, plan: &str) -> String {
    let offer = comparison.offers.iter().find(|offer| offer.plan == plan).expect("an offer");
    let cost = match offer.cost {
        Cost::Possible { this_month, .. } => money::exact(this_month),
        Cost::NotPossible { limit, permitted, used } => format!("not possible: {limit:?} {used} > {permitted}"),
    };
    let break_even = match offer.break_even {
        Some(BreakEven::Above { requests_per_day, vm_is_enough: true }) => format!("above {requests_per_day}"),
        Some(BreakEven::Above { requests_per_day, .. }) => format!("above {requests_per_day}, too many for the VM"),
        other => format!("{other:?}"),
    };
    format!("{cost}; {break_even}")
}

fn check(shape: Shape, expect: [(&str, &str); 4], vm_carries: u64, sentence: &str) {
    let comparison = june(shape);
    for (plan, expect) in expect {
        assert_eq!(told(&comparison, plan), expect, "{plan}");
    }
    assert_eq!(comparison.vm.price_per_month, Decimal::from(5));
    assert_eq!(comparison.vm.most_requests_per_day, Some(vm_carries));
    assert_eq!(comparison.sentence(), sentence);
}

// The figures of the five shapes were worked out by hand and with Python's fractions, and the break-evens by halving an interval; none
// of it with this program. A GB of egress is 2^30 bytes. The VM costs 5.00 and has 2 cores, so that 103,680 s of CPU time a day are
// 60 % of it (2 × 86,400 × 0.6).

#[test]
fn a_hobby_api() {
    // A month: 150,000 requests, 300,000 ms CPU. All is included everywhere:
    //   Lambda            150,000 × 0.020 s × 0.125 GB = 375 GB-s; 150,000 × 2,000 B = 0.28 GB
    //   Cloud Functions   150,000 × 0.1 s = 15,000 s: 1,875 GB-s and 3,000 GHz-s
    // 5.00 is met, with n requests a month and r = n/30 a day, where
    //   Workers Paid      n > 10,000,000 (30 million ms are reached later, at 15,000,000): r = 333,333.3
    //   Lambda            (n - 1,000,000) × 0.20/10^6 = 5.00: n = 26,000,000, r = 866,666.7
    //                     (there: 65,000 GB-s and 48.4 GB, both included)
    //   Cloud Functions   n is above 2,000,000 (requests), 10,000,000 (200,000 GHz-s / 0.02) and 2,684,354.56 (5 GB / 2,000 B):
    //                     (n - 2,000,000) × 0.40/10^6 + (0.02 n - 200,000) × 0.00001 + (n × 2,000/2^30 - 5) × 0.12 = 5.00
    //                     n × (0.0000004 + 0.0000002 + 0.000000223517418) = 5 + 0.8 + 2 + 0.6 = 8.4: n = 10,200,148, r = 340,004.9
    // The VM: 103,680 s / 0.002 s = 51,840,000 a day
    check(
        Shape { a_day: 5000, cpu_ms: 2, wall_ms: 20, bytes_out: 2000 },
        [
            (FREE, "0.00; Some(Never)"),
            (PAID, "5.00; above 333333"),
            (LAMBDA, "0.00; above 866666"),
            (GOOGLE, "0.00; above 340004"),
        ],
        51_840_000,
        "A 5 $/month VM would be cheaper than AWS Lambda above 870,000 requests a day; at your traffic (5,000 a day) serverless \
         costs 0.00 $ a month (Cloudflare Workers Free).",
    );
}

#[test]
fn a_busy_json_api() {
    // A month: 60 million requests, 180 million ms CPU.
    //   Workers Paid      5.00 + 50 × 0.30 + 150 × 0.02 = 5.00 + 15.00 + 3.00 = 23.00
    //   Lambda            59 × 0.20 = 11.80; 60 million × 0.040 s × 0.125 = 300,000 GB-s, included;
    //                     60 million × 4,000 B / 2^30 = 223.517418 GB: 123.517418 × 0.09 = 11.1166; 11.80 + 11.12 = 22.92
    //   Cloud Functions   58 × 0.40 = 23.20; 6 million s: 750,000 GB-s, 350,000 × 0.0000025 = 0.875, up to 0.88;
    //                     1,200,000 GHz-s, 1,000,000 × 0.00001 = 10.00; 218.517418 × 0.12 = 26.2221;
    //                     23.20 + 0.88 + 10.00 + 26.22 = 60.30
    // 5.00 is met where
    //   Workers Paid      requests and CPU time both begin to cost at n = 10,000,000: r = 333,333.3
    //   Lambda            n = 26,000,000 as above (96.9 GB are included): r = 866,666.7
    //   Cloud Functions   (n - 2,000,000) × 0.40/10^6 + (n × 4,000/2^30 - 5) × 0.12 = 5.00 (GHz-s cost from 10,000,000 on)
    //                     n × (0.0000004 + 0.000000447034836) = 5 + 0.8 + 0.6 = 6.4: n = 7,555,769, r = 251,858.9
    // The VM: 103,680 s / 0.003 s = 34,560,000 a day
    check(
        Shape { a_day: 2_000_000, cpu_ms: 3, wall_ms: 40, bytes_out: 4000 },
        [
            (FREE, "not possible: RequestsPerDay 2000000 > 100000; Some(Never)"),
            (PAID, "23.00; above 333333"),
            (LAMBDA, "22.92; above 866666"),
            (GOOGLE, "60.30; above 251858"),
        ],
        34_560_000,
        "A 5 $/month VM would be cheaper than AWS Lambda above 870,000 requests a day; at your traffic (2 million a day) serverless \
         costs 22.92 $ a month (AWS Lambda).",
    );
}

#[test]
fn a_lot_of_cpu_time() {
    // A month: 1.5 million requests, 300 million ms CPU.
    //   Workers Free      200 ms are more than 10 ms
    //   Workers Paid      5.00 + 270 × 0.02 = 10.40
    //   Lambda            0.5 × 0.20 = 0.10; 1.5 million × 0.220 × 0.125 = 41,250 GB-s and 13.97 GB are included: 0.10
    //   Cloud Functions   220 ms are billed as 300: 450,000 s, 56,250 GB-s, 90,000 GHz-s, all included;
    //                     1.5 million × 10,000 B / 2^30 = 13.969839 GB: 8.969839 × 0.12 = 1.0764, 1.08
    // 5.00 is met where
    //   Workers Paid      30 million ms / 200 ms = 150,000 = n: r = 5,000
    //   Lambda            (n - 1,000,000) × 0.20/10^6 + (n × 10,000/2^30 - 100) × 0.09 = 5.00 (GB from 10,737,418 on)
    //                     n × (0.0000002 + 0.000000838190317) = 5 + 0.2 + 9 = 14.2: n = 13,677,646, r = 455,921.5
    //                     (376,135 GB-s, included)
    //   Cloud Functions   (n - 2,000,000) × 0.40/10^6 + (0.06 n - 200,000) × 0.00001 + (n × 10,000/2^30 - 5) × 0.12 = 5.00
    //                     n × (0.0000004 + 0.0000006 + 0.00000111758709) = 5 + 0.8 + 2 + 0.6 = 8.4: n = 3,966,779, r = 132,225.9
    // The VM: 103,680 s / 0.2 s = 518,400 a day
    check(
        Shape { a_day: 50_000, cpu_ms: 200, wall_ms: 220, bytes_out: 10_000 },
        [
            (FREE, "not possible: CpuMsPerRequest 200 > 10; Some(Never)"),
            (PAID, "10.40; above 5000"),
            (LAMBDA, "0.10; above 455921"),
            (GOOGLE, "1.08; above 132225"),
        ],
        518_400,
        "A 5 $/month VM would be cheaper than AWS Lambda above 460,000 requests a day; at your traffic (50,000 a day) serverless \
         costs 0.10 $ a month (AWS Lambda).",
    );
}

#[test]
fn long_waits() {
    // A month: 2.4 million requests of 3 s, 4.8 million ms CPU.
    //   Workers Paid      5.00: waiting costs nothing
    //   Lambda            1.4 × 0.20 = 0.28; 7.2 million s × 0.125 = 900,000 GB-s: 500,000 × 0.0000166667 = 8.33335; 8.61
    //   Cloud Functions   0.4 × 0.40 = 0.16; 900,000 GB-s: 500,000 × 0.0000025 = 1.25; 1,440,000 GHz-s: 1,240,000 × 0.00001 = 12.40;
    //                     3.35 GB are included; 13.81
    // 5.00 is met where
    //   Workers Paid      n = 10,000,000: r = 333,333.3
    //   Lambda            (n - 1,000,000) × 0.20/10^6 + (0.375 n - 400,000) × 0.0000166667 = 5.00
    //                     n × (0.0000002 + 0.0000062500125) = 5 + 0.2 + 6.66668 = 11.86668: n = 1,839,793, r = 61,326.4
    //   Cloud Functions   (0.375 n - 400,000) × 0.0000025 + (0.6 n - 200,000) × 0.00001 = 5.00 (requests from 2,000,000 on)
    //                     n × (0.0000009375 + 0.000006) = 5 + 1 + 2 = 8: n = 1,153,153, r = 38,438.4
    check(
        Shape { a_day: 80_000, cpu_ms: 2, wall_ms: 3000, bytes_out: 1500 },
        [
            (FREE, "0.00; Some(Never)"),
            (PAID, "5.00; above 333333"),
            (LAMBDA, "8.61; above 61326"),
            (GOOGLE, "13.81; above 38438"),
        ],
        51_840_000,
        "A 5 $/month VM would be cheaper than Cloudflare Workers Paid above 330,000 requests a day; at your traffic (80,000 a day) \
         serverless costs 0.00 $ a month (Cloudflare Workers Free).",
    );
}

#[test]
fn big_downloads() {
    // A month: 600,000 requests of 5 MB: 3 × 10^12 B / 2^30 = 2,793.967724 GB. Everything else is included.
    //   Workers Paid      5.00: egress costs nothing
    //   Lambda            2,693.967724 × 0.09 = 242.4571
    //   Cloud Functions   2,788.967724 × 0.12 = 334.6761
    // 5.00 is met where
    //   Lambda            100 + 5 / 0.09 = 155.555556 GB = 167,026,504,249 B: n = 33,405.3, r = 1,113.5
    //   Cloud Functions   5 + 5 / 0.12 = 46.666667 GB = 50,107,951,275 B: n = 10,021.6, r = 334.05
    // The VM: 103,680 s / 0.001 s = 103,680,000 a day
    check(
        Shape { a_day: 20_000, cpu_ms: 1, wall_ms: 500, bytes_out: 5_000_000 },
        [
            (FREE, "0.00; Some(Never)"),
            (PAID, "5.00; above 333333"),
            (LAMBDA, "242.46; above 1113"),
            (GOOGLE, "334.68; above 334"),
        ],
        103_680_000,
        "A 5 $/month VM would be cheaper than Cloudflare Workers Paid above 330,000 requests a day; at your traffic (20,000 a day) \
         serverless costs 0.00 $ a month (Cloudflare Workers Free).",
    );
}

#[test]
fn a_part_of_a_month_is_extrapolated_and_says_so() {
    let shape = Shape { a_day: 2_000_000, cpu_ms: 3, wall_ms: 40, bytes_out: 4000 };
    let comparison = after(&used(shape, 10), "2026-06", 10, &vm(), "self-hosted");
    let paid = comparison.offers.iter().find(|offer| offer.plan == PAID).expect("an offer");
    // So far 20 million requests and 60 million ms: 5.00 + 10 × 0.30 + 30 × 0.02 = 8.60
    assert_eq!(paid.cost, Cost::Possible { so_far: Decimal::new(860, 2), this_month: Decimal::new(2300, 2) });
    // Requests that use the same have the same break-even, however many there were.
    let whole = june(shape);
    for (part, whole) in comparison.offers.iter().zip(&whole.offers) {
        assert_eq!((part.break_even, part.this_month()), (whole.break_even, whole.this_month()), "{}", part.plan);
    }
    assert_eq!((&comparison.vm, comparison.requests_per_day), (&whole.vm, 2_000_000));
    // What is included is included in a month: in a short one it is more a day. 10,000,000 / 28 = 357,142.9
    let february = after(&used(shape, 28), "2026-02", 28, &vm(), "self-hosted");
    assert!(told(&february, PAID).ends_with("above 357142"), "{}", told(&february, PAID));
    // A month that is over is not extrapolated further.
    let long_over = after(&used(shape, 30), "2026-06", 300, &vm(), "self-hosted");
    assert_eq!(told(&long_over, PAID), told(&whole, PAID));
}

#[test]
fn a_vm_that_is_too_small_is_said_to_be() {
    let shape = Shape { a_day: 1_000_000, cpu_ms: 200, wall_ms: 220, bytes_out: 10_000 };
    // 200,000 s of CPU time a day / 51,840 s a core = 3.86 cores
    let comparison = june(shape);
    assert_eq!((comparison.vm.cores_needed, comparison.vm.is_enough), (4, false));
    // Lambda: 29 × 0.20 = 5.80; 825,000 GB-s: 425,000 × 0.0000166667 = 7.08; 279.396772 GB: 179.396772 × 0.09 = 16.15
    assert_eq!(
        comparison.sentence(),
        "A 5 $/month VM would be cheaper than AWS Lambda above 460,000 requests a day; at your traffic (1 million a day) serverless \
         costs 29.03 $ a month (AWS Lambda). But your traffic needs about 4 cores, each 60 % busy: a VM with 2 cores is not enough \
         for it."
    );
    // With one core 259,200 a day: enough for today, and not for where it would be cheaper.
    let small = Vm { cores: 1, ..vm() };
    let shape = Shape { a_day: 50_000, ..shape };
    let comparison = after(&used(shape, 30), "2026-06", 30, &small, "self-hosted");
    assert_eq!(told(&comparison, LAMBDA), "0.10; above 455921, too many for the VM");
    assert!(
        comparison.sentence().ends_with(" But a VM with 1 core carries only about 260,000 requests like yours a day.")
    );
}

#[test]
fn without_requests_nothing_is_claimed() {
    let expect = "There were no requests to Workers yet in June 2026: once there are some, this says from how many on a 5 $/month VM \
                  would be cheaper.";
    let mut assets = Totals::default();
    assets.add_usage(Kind::Asset, Usage { requests: 7, bytes_out: 9, ..Usage::default() });
    for (usage, days) in [(Totals::default(), 0), (Totals::default(), 30), (assets, 3)] {
        let comparison = after(&usage, "2026-06", days, &vm(), "self-hosted");
        assert_eq!(comparison.sentence(), expect);
        assert!(comparison.offers.iter().all(|offer| offer.break_even.is_none()));
        assert_eq!(told(&comparison, PAID), "5.00; None");
    }
    // The month has just begun: what there is is not extrapolated.
    let shape = Shape { a_day: 2_000_000, cpu_ms: 3, wall_ms: 40, bytes_out: 4000 };
    let comparison = after(&used(shape, 30), "2026-06", 0, &vm(), "self-hosted");
    assert_eq!(told(&comparison, PAID), "23.00; above 333333");
}

#[test]
fn other_sentences() {
    let shape = Shape { a_day: 5000, cpu_ms: 2, wall_ms: 20, bytes_out: 2000 };
    let usage = used(shape, 30);
    let said = |usage: &Totals, plans: &[&str], vm: Vm, own: &str| {
        let (month, covered) = ("2026-06".parse().expect("a month"), Duration::from_secs(30 * 86_400));
        let plans = plans.iter().map(|name| plan(name));
        compare(&Observed { usage, month, covered }, plans, &vm, plan(own)).sentence()
    };
    let at = "at your traffic (5,000 a day) serverless costs";
    // The own plan is compared too, once; a VM for less than the base price is always cheaper.
    let cheap = Vm { price_per_month: Decimal::new(459, 2), ..vm() };
    assert_eq!(
        said(&usage, &[PAID], cheap, PAID),
        format!(
            "A 4.59 $/month VM would be cheaper than Cloudflare Workers Paid at any traffic; {at} 5.00 $ a month (Cloudflare Workers Paid)."
        )
    );
    assert_eq!(
        said(&usage, &[], vm(), FREE),
        format!(
            "With requests like yours, no plan here that serves them costs more than a 5 $/month VM; {at} 0.00 $ a month (Cloudflare Workers Free)."
        )
    );
    let busy = used(Shape { a_day: 200_000, ..shape }, 30);
    assert_eq!(said(&busy, &[], vm(), FREE), "None of these plans serves your traffic (200,000 a day).");
    let euros = Vm { currency: "EUR".to_owned(), ..vm() };
    assert_eq!(
        said(&usage, &[PAID], euros, "self-hosted"),
        "There is no plan with prices in EUR to compare with a 5 €/month VM."
    );
    let mut rare = Totals::default();
    rare.add_usage(Kind::Scheduled, Usage { requests: 3, ..Usage::default() });
    assert!(said(&rare, &[PAID], vm(), FREE).contains("at your traffic (less than one a day) serverless"));
}

#[test]
fn limits_of_a_day_are_kept_exactly() {
    let shape = Shape { a_day: 100_000, cpu_ms: 10, wall_ms: 10, bytes_out: 0 };
    assert_eq!(told(&june(shape), FREE), "0.00; Some(Never)");
    // One request more in 30 days.
    let mut usage = used(shape, 30);
    usage.add_usage(Kind::Queue, Usage { requests: 1, ..Usage::default() });
    let comparison = after(&usage, "2026-06", 30, &vm(), "self-hosted");
    assert_eq!(told(&comparison, FREE), "not possible: RequestsPerDay 100001 > 100000; Some(Never)");
    // One microsecond more of CPU time.
    let mut usage = used(shape, 30);
    usage.add_usage(Kind::Fetch, Usage { cpu_us: 1, ..Usage::default() });
    let comparison = after(&usage, "2026-06", 30, &vm(), "self-hosted");
    assert_eq!(told(&comparison, FREE), "not possible: CpuMsPerRequest 11 > 10; Some(Never)");
}

#[test]
fn a_plan_that_refuses_has_no_break_even_beyond() {
    let text = |requests: u64, then: &str| {
        format!(
            "name = \"tight\"\ntitle = \"Tight\"\nbase = \"0\"\n[requests]\nincluded = 0\nprice_per_million = \"1\"\n\
             [limits]\nrequests_per_day = {requests}\nthen = \"{then}\"\n"
        )
    };
    let shape = Shape { a_day: 1000, cpu_ms: 1, wall_ms: 1, bytes_out: 0 };
    // 5.00 are 5,000,000 requests: 166,666 a day.
    for (requests, then, expect) in [
        (166_666, "refuse", "0.03; Some(Never)"),
        (166_667, "refuse", "0.03; above 166666"),
        (999, "refuse", "not possible: RequestsPerDay 1000 > 999; Some(Never)"),
        (999, "bill", "0.03; above 166666"),
    ] {
        let plan = Plan::parse("tight.toml", &text(requests, then)).expect("a plan");
        let usage = used(shape, 30);
        let observed = Observed {
            usage: &usage,
            month: "2026-06".parse().expect("a month"),
            covered: Duration::from_secs(30 * 86_400),
        };
        let comparison = compare(&observed, [], &vm(), &plan);
        assert_eq!(told(&comparison, "tight"), expect, "{requests} {then}");
        assert_eq!(comparison.offers[0].most_requests_per_day, (then == "refuse").then_some(requests));
    }
}

#[test]
fn json_has_money_as_strings() {
    let shape = Shape { a_day: 2_000_000, cpu_ms: 3, wall_ms: 40, bytes_out: 4000 };
    let json = serde_json::to_value(june(shape)).expect("JSON");
    let offer = |index: usize| json.pointer(&format!("/offers/{index}")).expect("an offer");
    assert_eq!(json["month"], "2026-06");
    assert_eq!(json["vm"]["price_per_month"], "5.00");
    assert_eq!((&offer(0)["plan"], &offer(0)["is_own"]), (&"self-hosted".into(), &true.into()));
    let expect = serde_json::json!({
        "plan": "workers-free",
        "title": "Cloudflare Workers Free",
        "is_own": false,
        "is_free": false,
        "cost": "not_possible",
        "limit": LimitKind::RequestsPerDay,
        "permitted": 100_000,
        "used": 2_000_000,
        "most_requests_per_day": 100_000,
        "break_even": {"vm_is_cheaper": "never"},
    });
    assert_eq!(*offer(1), expect);
    let expect = serde_json::json!({
        "plan": "workers-paid",
        "title": "Cloudflare Workers Paid",
        "is_own": false,
        "is_free": false,
        "cost": "possible",
        "so_far": "23.00",
        "this_month": "23.00",
        "most_requests_per_day": null,
        "break_even": {"vm_is_cheaper": "above", "requests_per_day": 333_333, "vm_is_enough": true},
    });
    assert_eq!(*offer(2), expect);
}

#[test]
fn the_most_that_counters_hold_is_compared() {
    let most = Usage {
        requests: u64::MAX,
        cpu_us: u64::MAX,
        wall_us: u64::MAX,
        wall_ms: u64::MAX,
        wall_100ms: u64::MAX,
        bytes_in: u64::MAX,
        bytes_out: u64::MAX,
        subrequests: u64::MAX,
        cold_starts: u64::MAX,
    };
    let mut usage = Totals::default();
    Kind::ALL.into_iter().for_each(|kind| usage.add_usage(kind, most));
    let big = Vm { cores: u32::MAX, price_per_month: 1_000_000_000.into(), ..vm() };
    let mut least = Totals::default();
    least.add_usage(
        Kind::Fetch,
        Usage { requests: 1, cpu_us: 1, bytes_out: 1, wall_ms: 1, wall_100ms: 1, ..Usage::default() },
    );
    for usage in [usage, least] {
        assert!(!after(&usage, "2026-06", 1, &big, PAID).sentence().is_empty());
    }
}
