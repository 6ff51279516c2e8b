//! Alerts: each is told once when it begins and once when it is over, and not each time that something flickers.
//!
//! What is found must be gone for a while before it is over. What begins again soon after it was told must last as long before it is told
//! again. What was told before a restart is remembered: it is told again if it is still so a minute after the start, or said to be over.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use skep_deliver::{Alert, Severity};
use skep_store::Timestamp;
use time::OffsetDateTime;

/// How long the platform looks after a start before it says again what it said before.
const SETTLE: Duration = Duration::from_secs(60);
/// Alerts that are active at once. What is more is not told.
const MOST: usize = 1000;
/// For how many times of what must be gone something counts as told lately.
const LATELY: u32 = 10;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The check that found it.
    pub(crate) check: Check,
    /// The account that it is about, if it is about one.
    pub(crate) account: Option<String>,
    /// What it is about, where a check is about several things: a Worker, a node, a host, a process, a destination.
    pub(crate) subject: String,
    /// A sentence, without its end, that says what to do.
    pub(crate) message: String,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Check {
    Canary,
    Store,
    Disk,
    Certificate,
    Ledger,
    Runtime,
    Worker,
    Node,
    Outbox,
}

impl Check {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Store => "store",
            Self::Disk => "disk",
            Self::Certificate => "certificate",
            Self::Ledger => "ledger",
            Self::Runtime => "runtime",
            Self::Worker => "worker",
            Self::Node => "node",
            Self::Outbox => "outbox",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Canary | Self::Store | Self::Disk | Self::Runtime | Self::Node => Severity::Critical,
            Self::Certificate | Self::Ledger | Self::Worker | Self::Outbox => Severity::Warning,
        }
    }
}

type Key = (Check, Option<String>, String);

/// An alert that was told and is not over, as it is kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) finding: Finding,
    /// Since when, in milliseconds since 1970.
    pub(crate) since: Timestamp,
}

#[derive(Debug)]
struct Active {
    told: Told,
    first: Instant,
    last: Instant,
    is_told: bool,
    /// It was told before the start.
    is_remembered: bool,
}

/// All that is not as it should be.
#[derive(Debug)]
pub(crate) struct Alerts {
    begun: Instant,
    /// How long something must be gone before it is over.
    calm: Duration,
    active: HashMap<Key, Active>,
    /// What was over lately, and when.
    over: HashMap<Key, Instant>,
    /// Alerts since the start: makes the keys of two different.
    number: u64,
}

impl Alerts {
    pub(crate) fn new(calm: Duration, remembered: Vec<Told>, now: Instant) -> Self {
        let active = remembered.into_iter().map(|told| {
            let active = Active { told, first: now, last: now, is_told: false, is_remembered: true };
            (active.told.finding.key(), active)
        });
        Self { begun: now, calm, active: active.collect(), over: HashMap::new(), number: 0 }
    }

    /// Takes what is found now, and gives what people are to be told.
    pub(crate) fn update(&mut self, found: Vec<Finding>, now: Instant, at: OffsetDateTime) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for finding in found {
            let key = finding.key();
            if self.active.len() >= MOST && !self.active.contains_key(&key) {
                continue;
            }
            let since = timestamp(at);
            let active = self.active.entry(key).or_insert_with(|| Active {
                told: Told { finding: finding.clone(), since },
                first: now,
                last: now,
                is_told: false,
                is_remembered: false,
            });
            (active.told.finding, active.last) = (finding, now);
        }
        let (calm, begun, over, number) = (self.calm, self.begun, &mut self.over, &mut self.number);
        over.retain(|_, when| now.duration_since(*when) < calm * LATELY);
        self.active.retain(|key, active| {
            let lasts = now.duration_since(active.first);
            let wait = match (active.is_remembered, over.contains_key(key)) {
                (true, _) => SETTLE.saturating_sub(active.first.duration_since(begun)),
                (false, true) => calm,
                (false, false) => Duration::ZERO,
            };
            if active.last == now {
                if !active.is_told && lasts >= wait {
                    active.is_told = true;
                    *number += 1;
                    alerts.push(active.told.alert(false, at, *number));
                }
                return true;
            }
            let was_told = active.is_told || active.is_remembered;
            let gone = now.duration_since(active.last);
            let is_over = gone >= if active.is_told { calm } else { wait.min(SETTLE) };
            if is_over && was_told {
                over.insert(key.clone(), now);
                *number += 1;
                alerts.push(active.told.alert(true, at, *number));
            }
            !is_over
        });
        alerts
    }

    /// What was told and is not over, the oldest first.
    pub(crate) fn told(&self) -> Vec<Told> {
        let told = self.active.values().filter(|active| active.is_told || active.is_remembered);
        let mut told: Vec<Told> = told.map(|active| active.told.clone()).collect();
        told.sort_by(|one, other| {
            one.since.cmp(&other.since).then_with(|| one.finding.subject.cmp(&other.finding.subject))
        });
        told
    }
}

impl Finding {
    fn key(&self) -> Key {
        (self.check, self.account.clone(), self.subject.clone())
    }
}

impl Told {
    /// What kind of alert it is.
    pub(crate) fn event(&self) -> String {
        format!("{}.failing", self.finding.check.name())
    }

    fn alert(&self, is_over: bool, at: OffsetDateTime, number: u64) -> Alert {
        let Finding { check, account, subject, message } = &self.finding;
        let (kind, severity, title, text) = if is_over {
            let minutes = (timestamp(at) - self.since) / 60_000;
            let text = format!("It is over, after {minutes} min. It was: {message}");
            (format!("{}.recovered", check.name()), Severity::Info, format!("{} is well again", self.what()), text)
        } else {
            (self.event(), check.severity(), format!("{} is not well", self.what()), format!("{message}."))
        };
        Alert {
            key: format!("{kind}/{}/{number}", timestamp(at)),
            kind,
            severity,
            account: account.clone(),
            worker: (*check == Check::Worker).then(|| subject.clone()),
            title,
            text,
            at,
        }
    }

    /// What it is about, at the beginning of a sentence.
    fn what(&self) -> String {
        match self.finding.check {
            Check::Canary => "Answering requests".to_owned(),
            Check::Store => "The store".to_owned(),
            Check::Disk => "The disk".to_owned(),
            Check::Certificate => format!("The certificate of {}", self.finding.subject),
            Check::Ledger => "The ledger of usage".to_owned(),
            Check::Runtime if self.finding.subject.is_empty() => "What runs Workers".to_owned(),
            Check::Runtime => format!("The process {}", self.finding.subject),
            Check::Worker => format!("The Worker {}", self.finding.subject),
            Check::Node => format!("The node {}", self.finding.subject),
            Check::Outbox => format!("Delivery to {}", self.finding.subject),
        }
    }
}

fn timestamp(at: OffsetDateTime) -> Timestamp {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests;
