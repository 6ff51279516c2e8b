//! TOML with places: every value is asked for by its key, and every error says the line.

use rust_decimal::Decimal;
use skep_worker::compatibility::nearest;
use time::Date;
use time::macros::format_description;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::PlanError;

/// The most that a price of one unit may be. Times all that a counter can hold, it is still less than what [`Decimal`] can.
const MOST_PRICE: u32 = 10_000;
/// The most that an amount may be.
const MOST_AMOUNT: u32 = 1_000_000_000;
/// The most decimal places that a price may have.
const MOST_DECIMALS: u32 = 12;

/// The text that is read.
#[derive(Clone, Copy)]
pub(super) struct Source<'t> {
    pub(super) file: &'t str,
    pub(super) text: &'t str,
}

/// A table: where it is, and what is in it.
pub(super) struct Table<'t> {
    source: Source<'t>,
    /// Its name with a dot; nothing at the top.
    prefix: String,
    /// Where it begins: what is missing is missing there.
    offset: usize,
    entries: &'t DeTable<'t>,
}

/// A value, and the key that it was found under.
pub(super) struct Value<'t> {
    source: Source<'t>,
    key: String,
    value: &'t Spanned<DeValue<'t>>,
}

impl Source<'_> {
    pub(super) fn error(&self, offset: usize, key: &str, message: impl Into<String>) -> PlanError {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        PlanError { file: self.file.to_owned(), line, key: key.to_owned(), message: message.into() }
    }
}

impl<'t> Table<'t> {
    /// The table at the top, with no keys but these.
    pub(super) fn top(source: Source<'t>, document: &'t DeTable<'t>, known: &[&str]) -> Result<Self, PlanError> {
        Self { source, prefix: String::new(), offset: 0, entries: document }.with_known(known)
    }

    fn with_known(self, known: &[&str]) -> Result<Self, PlanError> {
        let mut unknown: Vec<_> = self.entries.keys().filter(|key| !known.contains(&key.get_ref().as_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        let Some(key) = unknown.first() else { return Ok(self) };
        let message = match nearest(key.get_ref(), known.iter().copied()) {
            Some(nearest) => format!("there is no such key: did you mean \"{nearest}\"?"),
            None => format!("there is no such key: remove it, or choose one of {}", known.join(", ")),
        };
        Err(self.source.error(key.span().start, &self.path(key.get_ref()), message))
    }

    fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Value<'t>> {
        let value = self.entries.get(key)?;
        Some(Value { source: self.source, key: self.path(key), value })
    }

    /// The value of a key that has to be there; `example` is one.
    pub(super) fn need(&self, key: &str, example: &str) -> Result<Value<'t>, PlanError> {
        self.get(key).ok_or_else(|| self.error(key, format!("this key is missing: add it, such as {example}")))
    }

    /// The table of a key, with no keys but these, if it is there.
    pub(super) fn table(&self, key: &str, known: &[&str]) -> Result<Option<Self>, PlanError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let DeValue::Table(entries) = value.value.get_ref() else {
            return Err(value.expected(&format!("a table: write [{}] above its keys", value.key)));
        };
        let prefix = format!("{}.", value.key);
        Self { source: self.source, prefix, offset: value.value.span().start, entries }.with_known(known).map(Some)
    }

    /// An error about a key of this table: at the key if it is there, at the table if not.
    pub(super) fn error(&self, key: &str, message: impl Into<String>) -> PlanError {
        let offset = self.entries.get_key_value(key).map_or(self.offset, |(key, _)| key.span().start);
        self.source.error(offset, &self.path(key), message)
    }
}

impl<'t> Value<'t> {
    pub(super) fn error(&self, message: impl Into<String>) -> PlanError {
        self.source.error(self.value.span().start, &self.key, message)
    }

    /// This is not what is expected; `expected` says what is, and how it is written.
    fn expected(&self, expected: &str) -> PlanError {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.error(format!("found {found}, expected {expected}"))
    }

    /// A text that is not empty.
    pub(super) fn text(&self) -> Result<&'t str, PlanError> {
        match self.value.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => Err(self.error("this is empty: write something in it")),
            DeValue::String(text) => Ok(text),
            _ => Err(self.expected("a string: write it in quotes")),
        }
    }

    /// The price of a unit.
    pub(super) fn price(&self) -> Result<Decimal, PlanError> {
        self.decimal(MOST_PRICE)
    }

    /// An exact number from 0 to `most`, written as a string.
    pub(super) fn decimal(&self, most: u32) -> Result<Decimal, PlanError> {
        let text = match self.value.get_ref() {
            DeValue::String(text) => text,
            DeValue::Float(float) => {
                let message = format!("a float is not exact: write it in quotes, as \"{}\"", float.as_str());
                return Err(self.error(message));
            }
            DeValue::Integer(integer) => {
                return Err(self.expected(&format!("a string: write it in quotes, as \"{}\"", integer.as_str())));
            }
            _ => return Err(self.expected("a number in quotes, such as \"0.30\"")),
        };
        if text.starts_with('-') {
            return Err(self.error(format!("\"{text}\" is negative: give 0 or more")));
        }
        // Stricter than the parser, which knows signs and underscores.
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = (is_digits(whole) && is_digits(decimals)).then(|| Decimal::from_str_exact(text).ok()).flatten();
        let Some(number) = number.map(|number| number.normalize()) else {
            return Err(self.error(format!("\"{text}\" is no number: write digits with a dot, such as \"0.30\"")));
        };
        if number.scale() > MOST_DECIMALS || number > Decimal::from(most) {
            let message = format!("give at most {most}, with {MOST_DECIMALS} decimal places at most");
            return Err(self.error(format!("\"{text}\" is too big or too long: {message}")));
        }
        Ok(number)
    }

    /// An amount that people pay: whole cents.
    pub(super) fn amount(&self) -> Result<Decimal, PlanError> {
        let amount = self.decimal(MOST_AMOUNT)?;
        if amount.scale() > 2 {
            return Err(self.error("this is paid as it stands: give whole cents, two decimal places"));
        }
        Ok(amount)
    }

    /// A whole number from `least` on.
    pub(super) fn count(&self, least: u64) -> Result<u64, PlanError> {
        let DeValue::Integer(integer) = self.value.get_ref() else {
            return Err(self.expected("a whole number, without quotes"));
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let count = number.and_then(|number| u64::try_from(number).ok()).filter(|count| *count >= least);
        count.ok_or_else(|| self.error(format!("{integer} is out of range: give a whole number of at least {least}")))
    }

    /// A whole number from 1 to `most`.
    pub(super) fn small_count(&self, most: u32) -> Result<u32, PlanError> {
        let count = self.count(1)?;
        let small = u32::try_from(count).ok().filter(|small| *small <= most);
        small.ok_or_else(|| self.error(format!("{count} is too big: give at most {most}")))
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, PlanError> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let list = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let DeValue::String(text) = self.value.get_ref() else { return Err(self.expected(&format!("one of {list}"))) };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| name == text) {
            return Ok(*choice);
        }
        Err(self.error(match nearest(text, names.iter().copied()) {
            Some(nearest) => format!("\"{text}\" is not known: did you mean \"{nearest}\"?"),
            None => format!("\"{text}\" is not known: choose one of {list}"),
        }))
    }

    /// Each element of an array.
    pub(super) fn elements(&self) -> Result<Vec<Self>, PlanError> {
        let DeValue::Array(array) = self.value.get_ref() else {
            return Err(self.expected("an array: write it in brackets"));
        };
        Ok(array.iter().map(|value| Self { source: self.source, key: self.key.clone(), value }).collect())
    }

    /// A date without a time.
    pub(super) fn date(&self) -> Result<Date, PlanError> {
        let expected = "a date such as 2026-07-31";
        let text = match self.value.get_ref() {
            DeValue::Datetime(date) => date.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => return Err(self.expected(expected)),
        };
        Date::parse(&text, format_description!("[year]-[month]-[day]"))
            .map_err(|_| self.error(format!("\"{text}\" is no date: write {expected}")))
    }
}
