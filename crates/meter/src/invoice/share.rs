//! Whose the amounts are: shares in whole cents that add up.

use std::cmp::Reverse;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::{Line, LineKind, Plan, Totals};

/// The share of each in the amounts of all lines.
pub(super) fn shares(plan: &Plan, lines: &[Line], parts: &[&Totals]) -> Vec<Decimal> {
    let mut amounts = vec![Decimal::ZERO; parts.len()];
    for line in lines {
        let cents = (line.amount * Decimal::ONE_HUNDRED).to_u128().unwrap_or_default();
        for (amount, cents) in amounts.iter_mut().zip(split(cents, &weights(plan, line.what, parts))) {
            *amount += from_cents(cents);
        }
    }
    amounts
}

fn from_cents(cents: u128) -> Decimal {
    // A line's amount is far below what a decimal can hold, and so is a part of it.
    Decimal::try_from_i128_with_scale(i128::try_from(cents).unwrap_or_default(), 2).unwrap_or_default()
}

/// What each used of what a line is for. The base price follows the requests: those that are billed, or all if none is.
fn weights(plan: &Plan, what: LineKind, parts: &[&Totals]) -> Vec<u64> {
    let used = |what| parts.iter().map(|part| plan.used(what, part)).collect::<Vec<_>>();
    if what != LineKind::Base {
        return used(what);
    }
    let requests = used(LineKind::Requests);
    if requests.iter().any(|requests| *requests > 0) {
        return requests;
    }
    parts.iter().map(|part| part.total().requests).collect()
}

/// Splits cents in proportion to weights, by the largest remainder. If no weight is more than 0, all weigh the same.
fn split(cents: u128, weights: &[u64]) -> Vec<u128> {
    if weights.is_empty() {
        return Vec::new();
    }
    let sum: u128 = weights.iter().copied().map(u128::from).sum();
    if sum == 0 {
        return split(cents, &vec![1; weights.len()]);
    }
    // More than 64 bits together: a share is as good with weights of half the size, and nothing below overflows.
    if sum > u128::from(u64::MAX) {
        return split(cents, &weights.iter().map(|weight| weight.div_ceil(2)).collect::<Vec<_>>());
    }
    let (times, rest) = (cents / sum, cents % sum);
    let mut remainders = Vec::with_capacity(weights.len());
    let mut parts = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let weight = u128::from(*weight);
        parts.push(times * weight + rest * weight / sum);
        remainders.push((Reverse(rest * weight % sum), index));
    }
    remainders.sort_unstable();
    let missing = cents - parts.iter().sum::<u128>();
    for (_, index) in remainders.into_iter().take(usize::try_from(missing).unwrap_or(usize::MAX)) {
        parts[index] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::split;

    #[test]
    fn the_largest_remainder_gets_the_cent() {
        for (cents, weights, expect) in [
            (0, &[1, 2][..], &[0, 0][..]),
            (100, &[], &[]),
            (100, &[1], &[100]),
            (100, &[1, 1, 1], &[34, 33, 33]),
            (200, &[1, 1, 1], &[67, 67, 66]),
            (1, &[1, 2, 1], &[0, 1, 0]),
            // 10 × 15/100 = 1.5, 10 × 60/100 = 6, 10 × 25/100 = 2.5: the first of equal remainders.
            (10, &[15, 60, 25], &[2, 6, 2]),
            (5, &[0, 0], &[3, 2]),
            (5, &[0, 7, 0], &[0, 5, 0]),
            (3, &[u64::MAX, u64::MAX, u64::MAX], &[1, 1, 1]),
        ] {
            assert_eq!(split(cents, weights), expect, "{cents} {weights:?}");
        }
    }

    proptest! {
        #[test]
        fn parts_add_up_and_are_within_a_cent(
            cents in 0..1_000_000_000_000_u128,
            weights in proptest::collection::vec(prop_oneof![0..9_u64, 0..1_000_000_000_u64], 1..40),
        ) {
            let parts = split(cents, &weights);
            prop_assert_eq!(parts.iter().sum::<u128>(), cents);
            let sum: u128 = weights.iter().copied().map(u128::from).sum();
            for (part, weight) in parts.iter().zip(&weights) {
                prop_assert!(sum == 0 || (part * sum).abs_diff(cents * u128::from(*weight)) < sum);
            }
        }
    }
}
