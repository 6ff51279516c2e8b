//! A comparison in words.

use rust_decimal::Decimal;

use super::{BreakEven, Comparison, Offer};
use crate::money::{exact, grouped, said, with_currency};

pub(super) fn sentence(comparison: &Comparison) -> String {
    let vm = format!("{}/month VM", price(comparison.vm.price_per_month, &comparison.currency));
    // One's own machines are not a price to compare with: they are the VM.
    let mut offers: Vec<&Offer> = comparison.offers.iter().filter(|offer| !offer.is_free).collect();
    if offers.is_empty() {
        return format!("There is no plan with prices in {} to compare with a {vm}.", comparison.currency);
    }
    // Without a break-even there is no request that could tell.
    if offers.iter().all(|offer| offer.break_even.is_none()) {
        return format!(
            "There were no requests to Workers yet in {}: once there are some, this says from how many on a {vm} would be cheaper.",
            comparison.month.title(),
        );
    }
    offers.retain(|offer| offer.this_month().is_some());
    // The first of those that cost the same.
    offers.sort_by_key(|offer| offer.this_month());
    let traffic = traffic(comparison.requests_per_day);
    let Some(cheapest) = offers.first() else {
        return format!("None of these plans serves your traffic ({traffic}).{}", carries(comparison, None));
    };
    let meets = |offer: &&&Offer| !matches!(offer.break_even, None | Some(BreakEven::Never));
    let meeting = offers.iter().find(meets).copied();
    let first = match meeting.map(|offer| (&offer.title, offer.break_even)) {
        Some((title, Some(BreakEven::Above { requests_per_day, .. }))) => {
            format!("A {vm} would be cheaper than {title} above {} a day", requests(requests_per_day))
        }
        Some((title, _)) => format!("A {vm} would be cheaper than {title} at any traffic"),
        None => format!("With requests like yours, no plan here that serves them costs more than a {vm}"),
    };
    let cost = with_currency(&grouped(&exact(cheapest.this_month().unwrap_or_default())), &comparison.currency);
    format!(
        "{first}; at your traffic ({traffic}) serverless costs {cost} a month ({}).{}",
        cheapest.title,
        carries(comparison, meeting)
    )
}

/// What is to be said of the machine's cores, if they are not enough for the traffic, or where it would be cheaper than this offer.
fn carries(comparison: &Comparison, offer: Option<&Offer>) -> String {
    let vm = &comparison.vm;
    let has = cores(vm.cores.into());
    if !vm.is_enough {
        let needed = cores(vm.cores_needed);
        return format!(
            " But your traffic needs about {needed}, each 60 % busy: a VM with {has} is not enough for it."
        );
    }
    let is_short =
        matches!(offer.and_then(|offer| offer.break_even), Some(BreakEven::Above { vm_is_enough: false, .. }));
    match vm.most_requests_per_day.filter(|_| is_short) {
        Some(most) => format!(" But a VM with {has} carries only about {} like yours a day.", requests(most)),
        None => String::new(),
    }
}

fn traffic(requests_per_day: u64) -> String {
    if requests_per_day == 0 { "less than one a day".to_owned() } else { format!("{} a day", said(requests_per_day)) }
}

fn requests(count: u64) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{} requests", said(count)) }
}

fn cores(count: u64) -> String {
    if count == 1 { "1 core".to_owned() } else { format!("{count} cores") }
}

/// A price without cents if it has none: "5 $", "4.59 $".
fn price(amount: Decimal, currency: &str) -> String {
    let text = exact(amount);
    with_currency(&grouped(text.strip_suffix(".00").unwrap_or(&text)), currency)
}
