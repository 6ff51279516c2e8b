//! Usage, added up for who asks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skep_worker::Outcome;
use time::Date;
use uuid::Uuid;

use crate::{Entry, Kind, Minute, Usage};

/// What usage is added up by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// By account.
    Account,
    /// By Worker.
    #[default]
    Worker,
    /// By version of a Worker.
    Version,
    /// By day, UTC.
    Day,
    /// By hour, UTC.
    Hour,
    /// By kind of event.
    Kind,
    /// By how events ended.
    Outcome,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Account, Self::Worker, Self::Version, Self::Day, Self::Hour, Self::Kind, Self::Outcome];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Worker => "worker",
            Self::Version => "version",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Kind => "kind",
            Self::Outcome => "outcome",
        }
    }

    /// What has this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.name() == name)
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The account. Nothing: all of them.
    pub account: Option<String>,
    /// The Worker. Nothing: all of them.
    pub worker: Option<String>,
    /// The first day, UTC.
    pub from: Date,
    /// The last day, UTC.
    pub to: Date,
    /// What it is added up by.
    pub by: By,
}

/// What something used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What: a name, a version's id, a day (`2026-11-26`), an hour (`2026-11-26T13:00:00Z`).
    pub of: String,
    /// The Worker, of a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// What it used.
    #[serde(flatten)]
    pub usage: Usage,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What the rows are.
    pub by: By,
    /// Sorted by what they are.
    pub rows: Vec<Row>,
    /// Their sum.
    pub total: Usage,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Text(String),
    Version(String, Uuid),
    Minute(Minute),
    Kind(Kind),
}

/// A report that is being made.
#[derive(Debug)]
pub struct Reporter {
    question: Question,
    rows: BTreeMap<Of, Usage>,
}

/// A name that JSON has for it.
fn name(outcome: Outcome) -> String {
    serde_json::to_value(outcome).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Reporter {
    /// Begins to answer.
    pub fn new(question: Question) -> Self {
        Self { question, rows: BTreeMap::new() }
    }

    /// The question.
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// Adds an entry, if it is asked for.
    pub fn add(&mut self, minute: Minute, entry: &Entry) {
        let Question { account, worker, from, to, by } = &self.question;
        let other = |asked: &Option<String>, own: &str| asked.as_deref().is_some_and(|asked| asked != own);
        if other(account, &entry.account) || other(worker, &entry.worker) || !(*from..=*to).contains(&minute.day()) {
            return;
        }
        let of = match by {
            By::Account => Of::Text(entry.account.clone()),
            By::Worker => Of::Text(entry.worker.clone()),
            By::Version => Of::Version(entry.worker.clone(), entry.version),
            By::Day => Of::Minute(Minute(minute.0 - minute.0.rem_euclid(24 * 60))),
            By::Hour => Of::Minute(Minute(minute.0 - minute.0.rem_euclid(60))),
            By::Kind => Of::Kind(entry.kind),
            By::Outcome => Of::Text(name(entry.outcome)),
        };
        *self.rows.entry(of).or_default() += entry.usage;
    }

    /// The answer.
    pub fn finish(self) -> Report {
        let by = self.question.by;
        let mut total = Usage::default();
        let row = |(of, usage)| {
            total += usage;
            let (of, worker) = match of {
                Of::Text(text) => (text, None),
                Of::Version(worker, version) => (version.to_string(), Some(worker)),
                Of::Minute(minute) if by == By::Day => (minute.day().to_string(), None),
                Of::Minute(minute) => (format!("{}T{:02}:00:00Z", minute.day(), minute.begins().hour()), None),
                Of::Kind(kind) => (kind.name().to_owned(), None),
            };
            Row { of, worker, usage }
        };
        let rows = self.rows.into_iter().map(row).collect();
        Report { by, rows, total }
    }
}

#[cfg(test)]
mod tests {
    use skep_worker::Outcome;
    use time::OffsetDateTime;
    use time::macros::{date, datetime};
    use uuid::Uuid;

    use super::{By, Question, Reporter};
    use crate::{Entry, Kind, Minute, Usage};

    fn entry(account: &str, worker: &str, kind: Kind, outcome: Outcome) -> Entry {
        let usage = Usage { requests: 1, cpu_us: 10, ..Usage::default() };
        Entry { account: account.to_owned(), worker: worker.to_owned(), version: Uuid::nil(), kind, outcome, usage }
    }

    #[test]
    fn usage_is_added_up_by_what_is_asked() {
        let at = |time: OffsetDateTime| Minute::of(time);
        let entries = [
            (at(datetime!(2026-11-25 23:59 UTC)), entry("a", "one", Kind::Fetch, Outcome::Ok)),
            (at(datetime!(2026-11-26 00:00 UTC)), entry("a", "one", Kind::Fetch, Outcome::ExceededCpu)),
            (at(datetime!(2026-11-26 00:59 UTC)), entry("a", "two", Kind::Asset, Outcome::Ok)),
            (at(datetime!(2026-11-26 01:00 UTC)), entry("b", "one", Kind::Fetch, Outcome::Ok)),
            (at(datetime!(2026-11-27 00:00 UTC)), entry("a", "one", Kind::Fetch, Outcome::Ok)),
        ];
        let check = |account: Option<&str>, worker: Option<&str>, by: By, expect: &[(&str, u64)]| {
            let mut reporter = Reporter::new(Question {
                account: account.map(str::to_owned),
                worker: worker.map(str::to_owned),
                from: date!(2026 - 11 - 25),
                to: date!(2026 - 11 - 26),
                by,
            });
            entries.iter().for_each(|(minute, entry)| reporter.add(*minute, entry));
            let report = reporter.finish();
            let rows: Vec<(&str, u64)> = report.rows.iter().map(|row| (&*row.of, row.usage.requests)).collect();
            assert_eq!(rows, expect, "{by:?}");
            assert_eq!(report.total.cpu_us, rows.iter().map(|(_, requests)| requests * 10).sum::<u64>());
        };
        check(Some("a"), None, By::Worker, &[("one", 2), ("two", 1)]);
        check(None, None, By::Account, &[("a", 3), ("b", 1)]);
        check(None, None, By::Day, &[("2026-11-25", 1), ("2026-11-26", 3)]);
        check(Some("a"), Some("one"), By::Hour, &[("2026-11-25T23:00:00Z", 1), ("2026-11-26T00:00:00Z", 1)]);
        check(None, None, By::Kind, &[("fetch", 3), ("asset", 1)]);
        check(None, None, By::Outcome, &[("exceededCpu", 1), ("ok", 3)]);
        check(Some("a"), Some("two"), By::Version, &[("00000000-0000-0000-0000-000000000000", 1)]);
        check(Some("c"), None, By::Worker, &[]);
    }
}
