//! How amounts and numbers are written: exact in data, short in sentences.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serializer;

/// An amount without zeros that say nothing, but with two decimal places at least: "5.00", "0.0000166667".
pub(crate) fn exact(amount: Decimal) -> String {
    let mut amount = amount.normalize();
    if amount.scale() < 2 {
        amount.rescale(2);
    }
    amount.to_string()
}

/// A number without zeros that say nothing: "1.5", "3".
pub(crate) fn plain(number: Decimal) -> String {
    number.normalize().to_string()
}

/// To the cent; half a cent goes up, as on any till.
pub(crate) fn to_cents(amount: Decimal) -> Decimal {
    rounded(amount, 2)
}

/// To so many decimal places; half of the last one goes up. No number here is negative.
pub(crate) fn rounded(number: Decimal, places: u32) -> Decimal {
    number.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero)
}

/// An amount with its currency as people write it: "5.00 $", "5.00 CHF".
pub(crate) fn with_currency(amount: &str, currency: &str) -> String {
    let sign = match currency {
        "USD" => "$",
        "EUR" => "€",
        "GBP" => "£",
        other => other,
    };
    format!("{amount} {sign}")
}

/// A number with commas between thousands: "1,234,567.89".
pub(crate) fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::with_capacity(number.len() * 4 / 3 + 1);
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// A number as it is said: two significant digits from 1,000 on, and words from a million on: "999", "120,000", "3.1 million".
pub(crate) fn said(number: u64) -> String {
    const WORDS: [(u64, &str); 3] =
        [(1_000_000_000_000, "trillion"), (1_000_000_000, "billion"), (1_000_000, "million")];
    if number < 1000 {
        return number.to_string();
    }
    let step = 10_u64.pow(number.ilog10() - 1);
    // What is at the end of the range is rounded down, so that it stays within.
    let rounded = number.checked_add(step / 2).unwrap_or(number) / step * step;
    for (size, word) in WORDS {
        if rounded >= size {
            return format!("{} {word}", grouped(&plain(Decimal::from(rounded) / Decimal::from(size))));
        }
    }
    grouped(&rounded.to_string())
}

/// For serde: money, as [`exact`] writes it.
pub(crate) fn serialize<S: Serializer>(amount: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&exact(*amount))
}

/// For serde: a quantity, as [`plain`] writes it.
pub(crate) fn serialize_plain<S: Serializer>(number: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&plain(*number))
}

/// For serde: what prints itself, such as a date.
pub(crate) fn serialize_display<S: Serializer, T: std::fmt::Display>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The same, if it is there.
pub(crate) fn serialize_optional<S: Serializer, T: std::fmt::Display>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::{exact, grouped, plain, said, to_cents};

    #[test]
    fn amounts_have_two_decimal_places_at_least() {
        for (text, expect) in
            [("5", "5.00"), ("0.3", "0.30"), ("0.0000166667", "0.0000166667"), ("0.00001000", "0.00001"), ("0", "0.00")]
        {
            assert_eq!(exact(text.parse().expect("a number")), expect);
        }
        assert_eq!(plain("1.50".parse().expect("a number")), "1.5");
    }

    #[test]
    fn half_a_cent_goes_up() {
        for (text, expect) in [("1.005", "1.01"), ("1.0049999", "1.00"), ("0.015", "0.02"), ("0.025", "0.03")] {
            assert_eq!(exact(to_cents(text.parse().expect("a number"))), expect, "{text}");
        }
    }

    #[test]
    fn thousands_are_grouped() {
        for (text, expect) in
            [("1", "1"), ("999", "999"), ("1000", "1,000"), ("1234567.891", "1,234,567.891"), ("100000", "100,000")]
        {
            assert_eq!(grouped(text), expect);
        }
    }

    #[test]
    fn numbers_are_said_with_two_digits() {
        for (number, expect) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1049, "1,000"),
            (1050, "1,100"),
            (118_432, "120,000"),
            (994_999, "990,000"),
            (995_000, "1 million"),
            (3_149_999, "3.1 million"),
            (3_150_000, "3.2 million"),
            (96_000_000, "96 million"),
            (960_000_000, "960 million"),
            (9_999_999_999, "10 billion"),
            (u64::MAX, "18,000,000 trillion"),
        ] {
            assert_eq!(said(number), expect);
        }
    }
}
