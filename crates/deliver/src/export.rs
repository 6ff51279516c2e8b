//! What was used, as events for who writes the invoices elsewhere.
//!
//! Each meter of a destination takes one number of an account's usage in a window. The key of an event is made of the destination, the meter,
//! the account and the window: the same window exported again, after a crash, is the same event. So a window must be over, and all of its usage
//! written down, before it is exported: what comes later would be lost.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use skep_meter::{Kind, Month, Totals};
use time::{Date, Duration, OffsetDateTime, UtcOffset};

use crate::destination::Problem;
use crate::{ConfigError, Item, Message, UsageEvent};

/// What a destination is told of usage: the section `[export.<destination>]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportConfig {
    /// The meters.
    pub meters: Vec<MeterConfig>,
    /// Who an account is there: Stripe customers' ids, or OpenMeter's subjects, by accounts' ids. Accounts that are not here are not exported.
    pub customers: BTreeMap<String, String>,
}

/// A meter there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterConfig {
    /// Stripe's `event_name`, or the `type` of an OpenMeter event.
    pub event_name: String,
    /// What it counts.
    pub value: Value,
    /// The events whose usage counts: all kinds, without it.
    pub kinds: Option<BTreeSet<Kind>>,
}

/// What a meter counts: whole numbers that usage has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Events.
    Requests,
    /// CPU time in milliseconds. What is less than one at the end of a window is not counted.
    CpuMs,
    /// From the beginning of each event to its end, in milliseconds, each event rounded up.
    WallMs,
    /// Bytes of bodies that went.
    BytesOut,
    /// Requests that events made.
    Subrequests,
}

/// A time whose usage is one event. It begins and ends on whole hours, days or months, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    start: OffsetDateTime,
    end: OffsetDateTime,
}

/// Why a window is not exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// It is not over.
    #[error("the window that ends at {0} is not over: what comes until then would be lost, export it later")]
    NotOver(OffsetDateTime),
}

/// Makes events of usage.
#[derive(Clone, Debug)]
pub struct UsageExporter {
    exports: BTreeMap<String, ExportConfig>,
}

// === impl Window ===

impl Window {
    /// The hour in which a moment is. None at the end of time.
    pub fn hour(moment: OffsetDateTime) -> Option<Self> {
        let moment = moment.to_offset(UtcOffset::UTC);
        let start = moment.replace_time(time::Time::from_hms(moment.hour(), 0, 0).ok()?);
        Some(Self { start, end: start.checked_add(Duration::HOUR)? })
    }

    /// A day. None at the end of time.
    pub fn day(date: Date) -> Option<Self> {
        Some(Self { start: midnight(date), end: midnight(date.next_day()?) })
    }

    /// A month. None at the end of time.
    pub fn month(month: Month) -> Option<Self> {
        let first = |year, number: u8| Date::from_calendar_date(year, time::Month::try_from(number).ok()?, 1).ok();
        let next = if month.number() == 12 { (month.year() + 1, 1) } else { (month.year(), month.number() + 1) };
        Some(Self { start: midnight(first(month.year(), month.number())?), end: midnight(first(next.0, next.1)?) })
    }

    /// When it begins.
    pub fn start(self) -> OffsetDateTime {
        self.start
    }

    /// When it ends. This moment is not in it.
    pub fn end(self) -> OffsetDateTime {
        self.end
    }
}

fn midnight(date: Date) -> OffsetDateTime {
    date.midnight().assume_offset(UtcOffset::UTC)
}

// === impl UsageExporter ===

impl UsageExporter {
    /// An exporter for some destinations by their names.
    ///
    /// # Errors
    /// When what is configured makes no sense: with the key, and what to do.
    pub fn new(exports: BTreeMap<String, ExportConfig>) -> Result<Self, ConfigError> {
        for (destination, export) in &exports {
            export.check().map_err(|problem| problem.of(format!("export.{destination}")))?;
        }
        Ok(Self { exports })
    }

    /// The destinations, by name.
    pub fn destinations(&self) -> impl Iterator<Item = &str> {
        self.exports.keys().map(String::as_str)
    }

    /// What an account used in a window, as an item for each meter that counted something. `now` tells whether the window is over.
    ///
    /// # Errors
    /// When it is not.
    pub fn items(
        &self,
        account: &str,
        window: Window,
        used: &Totals,
        now: OffsetDateTime,
    ) -> Result<Vec<Item>, ExportError> {
        if window.end > now {
            return Err(ExportError::NotOver(window.end));
        }
        let mut items = Vec::new();
        for (destination, export) in &self.exports {
            let Some(customer) = export.customers.get(account) else { continue };
            for meter in &export.meters {
                let value = meter.count(used);
                if value == 0 {
                    continue;
                }
                let event = UsageEvent {
                    account: account.to_owned(),
                    customer: customer.clone(),
                    meter: meter.event_name.clone(),
                    value,
                    window_start: window.start,
                    window_end: window.end,
                    key: key(destination, &meter.event_name, account, window),
                };
                items.push(Item { destination: destination.clone(), message: Message::Usage(event) });
            }
        }
        Ok(items)
    }
}

/// The key of an event, which looks like a UUID, as Stripe recommends.
fn key(destination: &str, meter: &str, account: &str, window: Window) -> String {
    let mut hasher = blake3::Hasher::new();
    let moments = [window.start, window.end].map(|moment| moment.unix_timestamp().to_le_bytes());
    for part in [destination.as_bytes(), meter.as_bytes(), account.as_bytes(), &moments[0], &moments[1]] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

impl ExportConfig {
    fn check(&self) -> Result<(), Problem> {
        let mut names = BTreeSet::new();
        for MeterConfig { event_name, kinds, .. } in &self.meters {
            if event_name.is_empty() || event_name.len() > 100 || event_name.chars().any(char::is_control) {
                let problem = "an event_name has not 1 to 100 bytes, or has control characters: copy it from the meter";
                return Err(Problem::new("meters", problem));
            }
            if !names.insert(event_name) {
                let problem = format!("\"{event_name}\" is there twice: remove one, or they would be one event");
                return Err(Problem::new("meters", problem));
            }
            if kinds.as_ref().is_some_and(BTreeSet::is_empty) {
                let problem = format!("kinds of \"{event_name}\" is empty: write some, or leave it out for all");
                return Err(Problem::new("meters", problem));
            }
        }
        if let Some((account, _)) = self.customers.iter().find(|(account, id)| account.is_empty() || id.is_empty()) {
            let problem = format!("the account \"{account}\" or its customer is empty: write both, or remove the line");
            return Err(Problem::new("customers", problem));
        }
        let mut accounts = BTreeMap::new();
        for (account, customer) in &self.customers {
            if let Some(other) = accounts.insert(customer, account) {
                let problem = format!("\"{other}\" and \"{account}\" are the same customer: each account has its own");
                return Err(Problem::new("customers", problem));
            }
        }
        Ok(())
    }
}

impl MeterConfig {
    /// What it counts of usage.
    fn count(&self, used: &Totals) -> u64 {
        let usage = match &self.kinds {
            Some(kinds) => used.sum(kinds.iter().copied()),
            None => used.total(),
        };
        match self.value {
            Value::Requests => usage.requests,
            Value::CpuMs => usage.cpu_us / 1000,
            Value::WallMs => usage.wall_ms,
            Value::BytesOut => usage.bytes_out,
            Value::Subrequests => usage.subrequests,
        }
    }
}

#[cfg(test)]
mod tests;
