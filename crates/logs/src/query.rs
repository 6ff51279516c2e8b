//! Queries: which events somebody looks for, and cursors, which say where a search goes on.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use skep_worker::{Event, Outcome};

use crate::Level;
use crate::block::Record;
use crate::frame::{self, Summary};
use crate::text::Text;

/// Events on a page.
const MOST_EVENTS: usize = 1000;

/// Which events to find: those that meet every condition which is there.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Query {
    /// The account's id. Events of others are never found.
    pub account: String,
    /// The Worker's name.
    pub worker: Option<String>,
    /// The earliest time, in milliseconds since 1970.
    pub since: Option<i64>,
    /// The time before which events began, in milliseconds since 1970.
    pub until: Option<i64>,
    /// A part of a console line, of an exception's name, message or stack, or of what the event was about (a URL, …). Letters' case does not matter.
    pub text: Option<String>,
    /// What the Worker was called for.
    pub kind: Option<Event>,
    /// How the event ended: one of these. None at all for however it ended.
    pub outcomes: Vec<Outcome>,
    /// The answer's status.
    pub status: Option<Status>,
    /// Events with a console line as loud as this, or louder.
    pub level: Option<Level>,
    /// The request's method.
    pub method: Option<String>,
    /// The version's id.
    pub version: Option<String>,
    /// The request's ray id.
    pub ray: Option<String>,
    /// How many events to give at most, 1 to 1000.
    #[serde(skip)]
    pub limit: usize,
    /// Where to go on: what [`crate::Page::next`] said to the same query.
    #[serde(skip)]
    pub cursor: Option<String>,
}

/// A condition on the answer's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Status {
    /// This status.
    Exactly(u16),
    /// A status with these hundreds: 5 for 500 to 599.
    Class(u16),
    /// An event that went wrong: its outcome is not `ok`, or its status is 500 or above.
    Error,
}

/// A text that is no condition on a status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no status: use a number as 404, a class as 5xx, or error")]
pub struct StatusError(String);

impl FromStr for Status {
    type Err = StatusError;

    fn from_str(text: &str) -> Result<Self, StatusError> {
        let wrong = || StatusError(text.to_owned());
        match text.strip_suffix("xx") {
            _ if text == "error" => Ok(Self::Error),
            Some(class) => {
                class.parse().ok().filter(|class| (1..=9).contains(class)).map(Self::Class).ok_or_else(wrong)
            }
            None => {
                text.parse().ok().filter(|status| (100..=999).contains(status)).map(Self::Exactly).ok_or_else(wrong)
            }
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(status) => write!(formatter, "{status}"),
            Self::Class(class) => write!(formatter, "{class}xx"),
            Self::Error => formatter.write_str("error"),
        }
    }
}

/// Why a search makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The number of events is none.
    #[error("the limit is {0}: ask for 1 to {MOST_EVENTS} events")]
    Limit(usize),
    /// The cursor was not given to this query.
    #[error(
        "the cursor is not one of this search: leave it out to begin anew, or repeat the search that it came from with all its filters"
    )]
    Cursor,
}

impl Query {
    /// The query for the newest 100 events of an account.
    pub fn new(account: impl Into<String>) -> Self {
        Self { account: account.into(), limit: 100, ..Self::default() }
    }

    /// Says where a search goes on: with events whose sequence is below a number.
    pub(crate) fn cursor_at(&self, below: u64) -> String {
        let conditions = postcard::to_stdvec(self).unwrap_or_default();
        let below = below.to_be_bytes();
        let seal: [u8; 8] = frame::seal(&[&below, &conditions]);
        format!("{:016x}{:016x}", u64::from_be_bytes(below), u64::from_be_bytes(seal))
    }

    /// The number in the query's cursor, if it has one. It is bound to the conditions, as with others it would leave out events.
    pub(crate) fn below(&self) -> Result<Option<u64>, SearchError> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let below = cursor.get(..16).and_then(|below| u64::from_str_radix(below, 16).ok());
        below.filter(|below| self.cursor_at(*below) == *cursor).map(Some).ok_or(SearchError::Cursor)
    }

    /// How many events a page has.
    pub(crate) fn page_size(&self) -> Result<usize, SearchError> {
        if (1..=MOST_EVENTS).contains(&self.limit) { Ok(self.limit) } else { Err(SearchError::Limit(self.limit)) }
    }
}

/// A query that is ready to be compared with many entries.
pub(crate) struct Filter<'q> {
    query: &'q Query,
    since: i64,
    until: i64,
    /// Sets of what [`frame`] gives.
    outcomes: u8,
    levels: u8,
    kinds: u8,
    statuses: u16,
    text: Option<Text>,
    /// The ray's bytes, which are in a block as they are.
    ray: Option<memchr::memmem::Finder<'q>>,
}

/// All outcomes but `ok`, and statuses of 500 and above, as sets.
const WRONG_OUTCOMES: u8 = !1;
const WRONG_STATUSES: u16 = !0b1_1111;

impl<'q> Filter<'q> {
    /// A query for events that are not from before `oldest`, in milliseconds since 1970.
    pub(crate) fn new(query: &'q Query, oldest: i64) -> Self {
        let outcomes = query.outcomes.iter().fold(0, |set, outcome| set | frame::outcome_bit(*outcome));
        let statuses = match query.status {
            None | Some(Status::Error) => u16::MAX,
            Some(Status::Exactly(status)) => frame::status_bit(Some(status)),
            Some(Status::Class(class)) => frame::status_bit(Some(class.saturating_mul(100))),
        };
        Self {
            query,
            since: query.since.unwrap_or(i64::MIN).max(oldest),
            until: query.until.unwrap_or(i64::MAX),
            outcomes: if query.outcomes.is_empty() { u8::MAX } else { outcomes },
            levels: query.level.map_or(u8::MAX, |level| !(frame::level_bit(Some(level)) - 1)),
            kinds: query.kind.map_or(u8::MAX, frame::kind_bit),
            statuses,
            text: query.text.as_deref().filter(|text| !text.is_empty()).map(Text::new),
            ray: query.ray.as_deref().map(memchr::memmem::Finder::new),
        }
    }

    /// Whether a block has entries of the times that are asked for.
    pub(crate) fn is_then(&self, summary: &Summary) -> bool {
        summary.latest >= self.since && summary.earliest < self.until
    }

    /// Whether a block may have an entry that is looked for.
    pub(crate) fn may_have(&self, summary: &Summary) -> bool {
        let wrong = summary.outcomes & WRONG_OUTCOMES != 0 || summary.statuses & WRONG_STATUSES != 0;
        self.is_then(summary)
            && summary.outcomes & self.outcomes != 0
            && summary.levels & self.levels != 0
            && summary.kinds & self.kinds != 0
            && summary.statuses & self.statuses != 0
            && (self.query.status != Some(Status::Error) || wrong)
    }

    /// Whether a block, not compressed, may have an entry that is looked for. `lowered` is room for its bytes.
    pub(crate) fn may_be_in(&self, raw: &[u8], lowered: &mut Vec<u8>) -> bool {
        self.ray.as_ref().is_none_or(|ray| ray.find(raw).is_some())
            && self.text.as_ref().is_none_or(|text| text.may_be_in(raw, lowered))
    }

    /// Whether an entry is looked for. `lowered` is room for its bytes.
    pub(crate) fn admits(&self, record: &Record<'_>, lowered: &mut Vec<u8>) -> bool {
        let query = self.query;
        let is = |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        (self.since..self.until).contains(&record.at)
            && frame::outcome_bit(record.outcome) & self.outcomes != 0
            && frame::level_bit(record.level) & self.levels != 0
            && frame::kind_bit(record.kind) & self.kinds != 0
            && self.has_status(record)
            && is(&query.method, record.method)
            && is(&query.version, Some(record.version))
            && is(&query.ray, Some(record.ray))
            && self.text.as_ref().is_none_or(|text| text.is_in(record, lowered))
    }

    fn has_status(&self, record: &Record<'_>) -> bool {
        match self.query.status {
            None => true,
            Some(Status::Exactly(status)) => record.status == Some(status),
            Some(Status::Class(class)) => record.status.is_some_and(|status| status / 100 == class),
            Some(Status::Error) => record.outcome != Outcome::Ok || record.status.is_some_and(|status| status >= 500),
        }
    }
}

#[cfg(test)]
mod tests;
