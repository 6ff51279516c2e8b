//! The books: what each account used today and this month, in memory, and what follows from that: who is near a limit, and who is beyond one.
//!
//! They are made from the ledger when the platform starts. What is in them is added up by the minutes of the ledger, so that neither a clock that
//! jumps nor a restart at midnight moves usage from one day to another.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::{Date, Duration, OffsetDateTime, Time};

use crate::invoice::shares_of;
use crate::{Entry, LineKind, Minute, Month, Plan, Terms, Then, Totals, money};

/// Days and months that are kept: the one before, as entries may come late, and one that a wrong clock has made.
const KEPT: usize = 3;

type ByWorker = BTreeMap<String, Totals>;

/// What accounts used.
#[derive(Debug, Default)]
pub struct Books(HashMap<String, Account>);

#[derive(Debug, Default)]
struct Account {
    months: BTreeMap<Month, ByWorker>,
    days: BTreeMap<Date, ByWorker>,
}

/// What a limit is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasureKind {
    /// Requests in a day.
    RequestsPerDay,
    /// Milliseconds of CPU time in a day.
    CpuMsPerDay,
    /// Bytes that go to the internet in a day.
    BytesOutPerDay,
    /// What a month costs.
    Spend,
}

/// How far something is from its limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measure {
    /// What.
    pub what: MeasureKind,
    /// Of which Worker. Nothing: of the account.
    pub worker: Option<String>,
    /// In which day or month.
    pub period: String,
    /// What is used.
    #[serde(serialize_with = "money::serialize_plain")]
    pub used: Decimal,
    /// What may be.
    #[serde(serialize_with = "money::serialize_plain")]
    pub allowed: Decimal,
    /// The percentage of it that is used, whole ones.
    pub percent: u64,
    /// What happens beyond.
    #[serde(flatten)]
    pub then: Then,
    /// The currency, of what a month costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

/// What is to be done with requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Requests that are served each second. 0: none.
    pub per_second: u32,
    /// Why, for who is refused.
    pub reason: String,
    /// Until when, in seconds since 1970, if nobody changes anything.
    pub until: i64,
}

/// Where an account stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Each limit that there is.
    pub measures: Vec<Measure>,
    /// What is to be done with all requests of the account. Nothing: they are served.
    pub account: Option<Verdict>,
    /// What is to be done with requests of single Workers.
    pub workers: BTreeMap<String, Verdict>,
}

impl Books {
    /// Adds an entry of the ledger.
    pub fn add(&mut self, minute: Minute, entry: &Entry) {
        let account = match self.0.get_mut(&entry.account) {
            Some(account) => account,
            None => self.0.entry(entry.account.clone()).or_default(),
        };
        let day = minute.day();
        add(account.days.entry(day).or_default(), entry);
        add(account.months.entry(Month::of(day)).or_default(), entry);
        // Those that are long ago go.
        while account.days.len() > KEPT {
            account.days.pop_first();
        }
        while account.months.len() > KEPT {
            account.months.pop_first();
        }
    }

    /// Where an account stands at a moment, on a plan and with terms of its own.
    pub fn standing(&self, account: &str, plan: &Plan, terms: &Terms, now: OffsetDateTime) -> Standing {
        let none = ByWorker::new();
        let (day, month) = (now.date(), Month::at(now));
        let own = self.0.get(account);
        let today = own.and_then(|own| own.days.get(&day)).unwrap_or(&none);
        let this_month = own.and_then(|own| own.months.get(&month)).unwrap_or(&none);
        let mut reader = Reader { plan, now, standing: Standing::default() };
        reader.account(today, this_month, terms);
        reader.workers(today, this_month, terms);
        reader.standing
    }
}

fn add(by_worker: &mut ByWorker, entry: &Entry) {
    match by_worker.get_mut(&entry.worker) {
        Some(totals) => totals.add(entry),
        None => by_worker.entry(entry.worker.clone()).or_default().add(entry),
    }
}

fn all(by_worker: &ByWorker) -> Totals {
    let mut sum = Totals::default();
    by_worker.values().for_each(|totals| sum.add_all(totals));
    sum
}

/// Compares what was used with what may be.
struct Reader<'p> {
    plan: &'p Plan,
    now: OffsetDateTime,
    standing: Standing,
}

impl Reader<'_> {
    fn account(&mut self, today: &ByWorker, this_month: &ByWorker, terms: &Terms) {
        if let Some(limits) = &self.plan.limits {
            let today = all(today);
            let allowed = [
                (MeasureKind::RequestsPerDay, limits.requests_per_day),
                (MeasureKind::CpuMsPerDay, limits.cpu_ms_per_day),
                (MeasureKind::BytesOutPerDay, limits.bytes_out_per_day),
            ];
            for (what, allowed) in allowed {
                if let Some(allowed) = allowed {
                    self.measure(what, None, self.used(what, &today), allowed.into(), limits.then);
                }
            }
        }
        let own = terms.cap.as_ref().map(|cap| (cap.per_month, cap.then.then(cap.throttle_per_second)));
        let cap = own.or_else(|| self.plan.cap.as_ref().map(|cap| (cap.per_month, cap.then)));
        if let Some((allowed, then)) = cap {
            self.measure(MeasureKind::Spend, None, self.plan.charge(&all(this_month)).total, allowed, then);
        }
    }

    fn workers(&mut self, today: &ByWorker, this_month: &ByWorker, terms: &Terms) {
        if terms.workers.is_empty() {
            return;
        }
        let none = Totals::default();
        let caps = terms.workers.values().any(|worker| worker.cap.is_some());
        let spent = if caps { shares_of(self.plan, this_month) } else { BTreeMap::new() };
        for (name, worker) in &terms.workers {
            let today = today.get(name).unwrap_or(&none);
            let then = worker.then.then(worker.throttle_per_second);
            let allowed = [
                (MeasureKind::RequestsPerDay, worker.requests_per_day),
                (MeasureKind::CpuMsPerDay, worker.cpu_ms_per_day),
            ];
            for (what, allowed) in allowed {
                if let Some(allowed) = allowed {
                    self.measure(what, Some(name), self.used(what, today), allowed.into(), then);
                }
            }
            if let Some(cap) = &worker.cap {
                let used = spent.get(name).copied().unwrap_or_default();
                self.measure(
                    MeasureKind::Spend,
                    Some(name),
                    used,
                    cap.per_month,
                    cap.then.then(cap.throttle_per_second),
                );
            }
        }
    }

    fn used(&self, what: MeasureKind, totals: &Totals) -> Decimal {
        match what {
            MeasureKind::RequestsPerDay => self.plan.used(LineKind::Requests, totals).into(),
            MeasureKind::CpuMsPerDay => (self.plan.used(LineKind::Cpu, totals) / 1000).into(),
            MeasureKind::BytesOutPerDay => totals.bytes_sent().into(),
            MeasureKind::Spend => self.plan.charge(totals).total,
        }
    }

    fn measure(&mut self, what: MeasureKind, worker: Option<&str>, used: Decimal, allowed: Decimal, then: Then) {
        let is_spend = what == MeasureKind::Spend;
        let (day, month) = (self.now.date(), Month::at(self.now));
        let percent = (used * Decimal::ONE_HUNDRED / allowed.max(Decimal::new(1, 2))).floor();
        let measure = Measure {
            what,
            worker: worker.map(str::to_owned),
            period: if is_spend { month.to_string() } else { day.to_string() },
            used,
            allowed,
            percent: u64::try_from(percent).unwrap_or(u64::MAX),
            then,
            currency: is_spend.then(|| self.plan.currency.clone()),
        };
        let per_second = match then {
            Then::Refuse => Some(0),
            Then::Throttle { per_second } => Some(per_second),
            Then::Bill => None,
        };
        if let Some(per_second) = per_second.filter(|_| used >= allowed) {
            let until = if is_spend { month_ends(month) } else { day.saturating_add(Duration::DAY) };
            let until = until.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp();
            let verdict = Verdict { per_second, reason: measure.reason(), until };
            let place = match worker {
                Some(worker) => self.standing.workers.get(worker),
                None => self.standing.account.as_ref(),
            };
            // The one that lets less through.
            if place.is_none_or(|other| verdict.per_second < other.per_second) {
                match worker {
                    Some(worker) => drop(self.standing.workers.insert(worker.to_owned(), verdict)),
                    None => self.standing.account = Some(verdict),
                }
            }
        }
        self.standing.measures.push(measure);
    }
}

/// The first day after a month.
fn month_ends(month: Month) -> Date {
    let first = Date::from_calendar_date(
        month.year(),
        time::Month::try_from(month.number()).unwrap_or(time::Month::January),
        1,
    );
    first.unwrap_or(Date::MAX).saturating_add(Duration::days(month.days().into()))
}

impl Measure {
    /// What is counted, as people say it: "100,000 requests a day".
    fn said(&self, number: Decimal) -> String {
        let grouped = || money::grouped(&money::plain(number));
        match self.what {
            MeasureKind::RequestsPerDay => format!("{} requests a day", grouped()),
            MeasureKind::CpuMsPerDay => format!("{} ms of CPU time a day", grouped()),
            MeasureKind::BytesOutPerDay => format!("{} bytes sent a day", grouped()),
            MeasureKind::Spend => {
                let currency = self.currency.as_deref().unwrap_or("USD");
                format!("{} a month", money::with_currency(&money::grouped(&money::exact(number)), currency))
            }
        }
    }

    /// Why requests are refused, for everybody: nothing of what was used is in it.
    fn reason(&self) -> String {
        let whose = match &self.worker {
            Some(worker) => format!("The Worker {worker}"),
            None => "The account of this address".to_owned(),
        };
        let limit = self.said(self.allowed);
        let (what, back) = match self.what {
            MeasureKind::Spend => ("spend cap", "It goes on when the cap is raised, or next month"),
            _ => ("limit", "It goes on at midnight UTC, or when the limit is raised"),
        };
        format!("{whose} has reached its {what} of {limit}. {back}.")
    }

    /// What its owner is told when a percentage is reached.
    pub fn warning(&self) -> String {
        let whose = match &self.worker {
            Some(worker) => format!("The Worker {worker}"),
            None => "The account".to_owned(),
        };
        let what = if self.what == MeasureKind::Spend { "spend cap" } else { "limit" };
        let beyond = match self.then {
            Then::Refuse => "requests are refused beyond",
            Then::Bill => "beyond, requests are served and billed",
            Then::Throttle { .. } => "requests are held back beyond",
        };
        format!(
            "{whose} has used {} % of its {what} of {} ({}): {beyond}",
            self.percent,
            self.said(self.allowed),
            self.period
        )
    }
}

#[cfg(test)]
mod tests;
