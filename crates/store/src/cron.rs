//! Cron expressions, as Cloudflare has them: five fields, UTC, days of the week from 1 for Sunday to 7 for Saturday.
//! <https://developers.cloudflare.com/workers/configuration/cron-triggers/#supported-cron-expressions>

use chrono::{DateTime, Utc};
use croner::parser::{CronParser, Seconds, Year};

use crate::records::Timestamp;

/// A cron expression.
#[derive(Clone, Debug)]
pub struct Cron(croner::Cron);

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{text}\" is not a cron expression: {reason}. It has five fields: minute, hour, day of the month, month, day of the week (1 is Sunday), for example \"*/15 * * * *\""
)]
pub struct CronError {
    text: String,
    reason: String,
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .alternative_weekdays(true)
            .build();
        let cron = parser.parse(text);
        cron.map(Self).map_err(|error| CronError { text: text.to_owned(), reason: error.to_string() })
    }

    /// Whether it is due in the minute of that time.
    pub fn is_due(&self, time: Timestamp) -> bool {
        let time: Option<DateTime<Utc>> = DateTime::from_timestamp_millis(time - time.rem_euclid(60_000));
        time.is_some_and(|time| self.0.is_time_matching(&time).unwrap_or(false))
    }

    /// The first minute after that time in which it is due.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after: DateTime<Utc> = DateTime::from_timestamp_millis(after)?;
        Some(self.0.find_next_occurrence(&after, false).ok()?.timestamp_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::Cron;
    use chrono::DateTime;

    fn time(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).expect("a time").timestamp_millis()
    }

    #[test]
    fn expressions_are_due_when_cloudflare_says() {
        // 2026-11-22 is a Sunday.
        let cases = [
            ("* * * * *", "2026-11-22T10:11:12Z", true),
            ("*/15 * * * *", "2026-11-22T10:45:00Z", true),
            ("*/15 * * * *", "2026-11-22T10:46:00Z", false),
            ("0 17 * * 1", "2026-11-22T17:00:30Z", true),
            ("0 17 * * SUN", "2026-11-22T17:00:00Z", true),
            ("0 17 * * 2", "2026-11-22T17:00:00Z", false),
            ("10 7 * * 2-6", "2026-11-23T07:10:00Z", true),
            ("0 15 1 * *", "2026-12-01T15:00:00Z", true),
            ("59 23 L * *", "2026-11-30T23:59:00Z", true),
            ("59 23 L * *", "2026-11-29T23:59:00Z", false),
        ];
        for (cron, at, due) in cases {
            assert_eq!(Cron::parse(cron).expect(cron).is_due(time(at)), due, "{cron} at {at}");
        }
        let next = Cron::parse("0 0 1 1 *").expect("a cron").next(time("2026-11-22T00:00:00Z"));
        assert_eq!(next, Some(time("2027-01-01T00:00:00Z")));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "* * * *", "* * * * * *", "61 * * * *", "hello", "0 0 32 * *", "* * * * 8"] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
    }
}
