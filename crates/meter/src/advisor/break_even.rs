//! Where two prices meet.

use rust_decimal::Decimal;

use crate::{Line, LineKind};

/// How many times the usage of these lines costs exactly `price`, before anything is rounded to cents; the most if a price is the same
/// over a range. Nothing if that never costs more, or if so much that nobody could count it.
///
/// The cost of `t` times the usage is the base price and, for each line, `max(0, t × quantity − included) × price of a unit`: it is made
/// of straight pieces, and each piece is steeper than the one before it.
pub(super) fn break_even(lines: &[Line], price: Decimal) -> Option<Decimal> {
    let mut rest = price;
    let mut slopes = Vec::new();
    for line in lines {
        if line.what == LineKind::Base {
            rest -= line.amount;
        } else if !line.quantity.is_zero() && !line.price().is_zero() {
            slopes.push((line.included.checked_div(line.quantity).unwrap_or(Decimal::MAX), line));
        }
    }
    slopes.sort_by_key(|(begin, _)| *begin);
    // Beyond what is included, a line costs its slope times t, less what is included: that is moved to the other side.
    let mut slope = Decimal::ZERO;
    for (_, line) in slopes {
        if !slope.is_zero() {
            let times = rest.checked_div(slope)?;
            if times.checked_mul(line.quantity).is_some_and(|quantity| quantity <= line.included) {
                return Some(times);
            }
        }
        rest += line.included * line.price();
        slope += line.quantity * line.price();
    }
    if slope.is_zero() { None } else { rest.checked_div(slope) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::break_even;
    use crate::{Kind, Plan, Totals, Usage};

    fn usage(requests: u64, cpu_us: u64, wall_ms: u64, bytes_out: u64) -> Totals {
        let mut totals = Totals::default();
        let usage =
            Usage { requests, cpu_us, wall_ms, wall_100ms: wall_ms.div_ceil(60), bytes_out, ..Usage::default() };
        totals.add_usage(Kind::Fetch, usage);
        totals
    }

    /// The exact cost of so many times the usage, which is what is solved for.
    fn cost(plan: &Plan, usage: &Totals, times: Decimal) -> Decimal {
        let lines = plan.charge(usage).lines;
        let used = lines.iter().filter(|line| line.what != crate::LineKind::Base);
        let amounts = used.map(|line| (line.quantity * times - line.included).max(Decimal::ZERO) * line.price());
        plan.base + amounts.sum::<Decimal>()
    }

    #[test]
    fn the_price_is_met_on_the_right_piece() {
        let paid = Plan::named("workers-paid").expect("a plan");
        // A million requests with 10 ms each: 10 million included are reached at 10 times, 30 million ms at 3 times.
        let usage = usage(1_000_000, 10_000_000_000, 0, 0);
        for (price, expect) in [
            ("5", Some("3")),
            // 7 times 10 million ms × 0.02 = 1.40 more, and that is where requests begin to cost.
            ("6.40", Some("10")),
            // Each time 0.30 + 0.20 more from there.
            ("6.90", Some("11")),
            ("11.40", Some("20")),
        ] {
            let times = break_even(&paid.charge(&usage).lines, price.parse().expect("a number"));
            assert_eq!(times, expect.map(|times| times.parse().expect("a number")), "{price}");
        }
        let free = Plan::named("workers-free").expect("a plan");
        assert_eq!(break_even(&free.charge(&usage).lines, Decimal::ZERO), None);
        let lambda = Plan::named("lambda").expect("a plan");
        assert_eq!(break_even(&lambda.charge(&Totals::default()).lines, Decimal::ONE), None);
    }

    proptest! {
        /// At the break-even the cost is the price, and a bit above it is more.
        #[test]
        fn the_solution_solves(
            requests in 1..1_000_000_000_u64,
            cpu_us in 0..1_000_000_000_000_u64,
            wall_ms in 0..1_000_000_000_000_u64,
            bytes_out in 0..1_000_000_000_000_000_u64,
            price in 500..1_000_000_i64,
        ) {
            let price = Decimal::new(price, 2);
            let usage = usage(requests, cpu_us, wall_ms, bytes_out);
            for name in ["workers-paid", "lambda", "cloud-functions"] {
                let plan = Plan::named(name).expect("a plan");
                let times = break_even(&plan.charge(&usage).lines, price).expect("there is one");
                let precision = Decimal::new(1, 12);
                prop_assert!((cost(plan, &usage, times) - price).abs() < precision);
                prop_assert!(cost(plan, &usage, times * Decimal::new(1_000_001, 6)) > price);
            }
        }
    }
}
