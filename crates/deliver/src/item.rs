//! Items: what is sent, and where to.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The longest name of a destination, account, Worker, meter or customer, and the longest key, in bytes. Stripe takes no longer name or
/// identifier: <https://docs.stripe.com/api/billing/meter-event/create>.
const LONGEST_NAME: usize = 100;

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The destination's name in the configuration.
    pub destination: String,
    /// What is sent.
    pub message: Message,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Something that a person should know.
    Alert(Alert),
    /// Something that a customer pays for.
    Usage(UsageEvent),
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What kind of thing happened: letters, digits and underscores with full stops between, such as "quota.exceeded".
    pub kind: String,
    /// How bad it is.
    pub severity: Severity,
    /// The account that it is about, if it is about one.
    pub account: Option<String>,
    /// The Worker that it is about, if it is about one.
    pub worker: Option<String>,
    /// One line.
    pub title: String,
    /// The whole story, as plain text.
    pub text: String,
    /// When it happened.
    #[serde(with = "unix_ms")]
    pub at: OffsetDateTime,
    /// What it is the same as: an alert with the key of another one is not taken again within [`crate::Limits::same_alert`].
    pub key: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it soon.
    Warning,
    /// Look at it now.
    Critical,
}

/// How much of one thing an account used in a window of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageEvent {
    /// The account's id here.
    pub account: String,
    /// Who that is there: the Stripe customer's id, or OpenMeter's subject.
    pub customer: String,
    /// The meter: Stripe's `event_name`, or the `type` of an OpenMeter event.
    pub meter: String,
    /// How much, in the meter's unit.
    pub value: u64,
    /// When the window begins.
    #[serde(with = "unix_ms")]
    pub window_start: OffsetDateTime,
    /// When it ends. This moment is not in it.
    #[serde(with = "unix_ms")]
    pub window_end: OffsetDateTime,
    /// The event: the same key always means the same event, however often it is sent.
    pub key: String,
}

/// Why an item cannot be sent to anybody. It is a mistake of who made it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an item cannot be sent: its {field} {problem}")]
pub struct ItemError {
    /// The field.
    field: &'static str,
    /// What is wrong with it, and how it should be.
    problem: &'static str,
}

// === impl Item ===

impl Item {
    /// What it is the same as at its destination.
    pub(crate) fn key(&self) -> &str {
        match &self.message {
            Message::Alert(alert) => &alert.key,
            Message::Usage(event) => &event.key,
        }
    }

    /// Whether it may be dropped for a newer one.
    pub(crate) fn is_alert(&self) -> bool {
        matches!(self.message, Message::Alert(_))
    }

    /// Looks at what every destination relies on.
    pub(crate) fn check(&self) -> Result<(), ItemError> {
        name("destination", &self.destination)?;
        match &self.message {
            Message::Alert(alert) => alert.check(),
            Message::Usage(event) => event.check(),
        }
    }
}

fn name(field: &'static str, text: &str) -> Result<(), ItemError> {
    if text.is_empty() {
        return Err(ItemError { field, problem: "is empty" });
    }
    if text.len() > LONGEST_NAME {
        return Err(ItemError { field, problem: "is longer than 100 bytes" });
    }
    if text.chars().any(char::is_control) {
        return Err(ItemError { field, problem: "has control characters" });
    }
    Ok(())
}

impl Alert {
    fn check(&self) -> Result<(), ItemError> {
        name("kind", &self.kind)?;
        let is_identifier =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !self.kind.split('.').all(is_identifier) {
            let problem = "is not letters, digits and underscores with full stops between, as in \"quota.exceeded\"";
            return Err(ItemError { field: "kind", problem });
        }
        if self.key.is_empty() {
            return Err(ItemError { field: "key", problem: "is empty" });
        }
        Ok(())
    }
}

impl Severity {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl UsageEvent {
    fn check(&self) -> Result<(), ItemError> {
        name("account", &self.account)?;
        name("customer", &self.customer)?;
        name("meter", &self.meter)?;
        name("key", &self.key)?;
        if self.window_start >= self.window_end {
            return Err(ItemError { field: "window_end", problem: "is not after its window_start" });
        }
        Ok(())
    }

    /// The moment that the event has at its destination: the last second of its window, so that it is in the month, the day and the hour that
    /// the window is in.
    pub(crate) fn moment(&self) -> OffsetDateTime {
        (self.window_end - time::Duration::SECOND).max(self.window_start)
    }
}

/// Moments as milliseconds since 1970.
mod unix_ms {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use time::OffsetDateTime;

    pub(super) fn serialize<S: Serializer>(moment: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = moment.unix_timestamp_nanos().div_euclid(1_000_000);
        serializer.serialize_i64(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
        let ms = i64::deserialize(deserializer)?;
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).map_err(D::Error::custom)
    }
}
