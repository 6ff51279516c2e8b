//! Months: what invoices are for. They begin and end at midnight UTC, as days do here.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use time::{Date, Duration, OffsetDateTime};

/// One month of one year. It prints as "2026-07".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i32,
    month: time::Month,
}

/// A text is no month.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no month: write year and month as 2026-07")]
pub struct MonthError(String);

impl Month {
    /// The month of a date.
    pub fn of(date: Date) -> Self {
        Self { year: date.year(), month: date.month() }
    }

    /// The month in which this moment is, in UTC.
    pub fn at(moment: OffsetDateTime) -> Self {
        Self::of(moment.to_utc().date())
    }

    /// The year.
    pub fn year(self) -> i32 {
        self.year
    }

    /// When it begins.
    pub fn begins(self) -> OffsetDateTime {
        let first = Date::from_calendar_date(self.year, self.month, 1).unwrap_or(Date::MIN);
        first.midnight().assume_utc()
    }

    /// When it is over: the beginning of the next one.
    pub fn ends(self) -> OffsetDateTime {
        self.begins().saturating_add(Duration::days(self.days().into()))
    }

    /// Its number in the year: 1 to 12.
    pub fn number(self) -> u8 {
        self.month.into()
    }

    /// How many days it has.
    pub fn days(self) -> u8 {
        self.month.length(self.year)
    }

    /// How many seconds it has.
    pub fn seconds(self) -> u64 {
        u64::from(self.days()) * 86_400
    }

    /// As people write it: "July 2026".
    pub fn title(self) -> String {
        format!("{} {}", self.month, self.year)
    }

    /// Whether it is over at this moment.
    pub fn is_over(self, moment: OffsetDateTime) -> bool {
        Self::at(moment) > self
    }
}

impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}", self.year, self.number())
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let digits = |text: &str, count: usize| {
            (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u16>().ok())?
        };
        let parse = || {
            let (year, month) = text.split_once('-')?;
            let month = u8::try_from(digits(month, 2)?).ok()?;
            Some(Self { year: digits(year, 4)?.into(), month: time::Month::try_from(month).ok()? })
        };
        parse().ok_or_else(|| MonthError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::Month;

    #[test]
    fn months_are_read_and_printed() {
        for (text, days, title) in
            [("2026-07", 31, "July 2026"), ("2024-02", 29, "February 2024"), ("2100-02", 28, "February 2100")]
        {
            let month: Month = text.parse().expect("a month");
            assert_eq!((month.to_string().as_str(), month.days(), month.title().as_str()), (text, days, title));
        }
        for text in ["", "2026", "2026-7", "2026-00", "2026-13", "26-07", "2026-+7", "2026-07-01", " 2026-07"] {
            let error = text.parse::<Month>().expect_err("no month");
            assert_eq!(error.to_string(), format!("\"{text}\" is no month: write year and month as 2026-07"));
        }
    }

    #[test]
    fn a_month_ends_at_midnight_utc() {
        let month: Month = "2026-07".parse().expect("a month");
        for (moment, is_over) in [
            (datetime!(2026-06-30 23:59 UTC), false),
            (datetime!(2026-07-31 23:59:59 UTC), false),
            (datetime!(2026-08-01 0:00 UTC), true),
            // Midnight has come in Berlin, but not in UTC.
            (datetime!(2026-08-01 0:00 +2), false),
            (datetime!(2027-01-01 0:00 UTC), true),
        ] {
            assert_eq!(month.is_over(moment), is_over, "{moment}");
            assert_eq!(moment >= month.ends(), is_over, "{moment}");
        }
    }
}
