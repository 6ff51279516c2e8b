//! What usage costs on a plan.
//!
//! How it is rounded: quantities are never rounded (a million and a half of requests is one and a half times the price of a million; only what
//! has more than 28 decimal places ends there), a line's amount is worked out exactly and then rounded once, to the cent, half a cent up. The total is the sum of the lines as they are
//! shown, so that whoever adds them up comes to the same.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::{Entry, Kind, Plan, Usage, money};

/// Where bodies go to the internet. What Workers say to each other does not leave the platform.
const SENT: [Kind; 2] = [Kind::Fetch, Kind::Asset];
/// How many units a price of a million is for.
const MILLION: u32 = 1_000_000;

/// What was used in some time, by what for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Totals(BTreeMap<Kind, Usage>);

/// What usage costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Charge {
    /// What makes it up: one line for each thing that the plan has a price of.
    pub lines: Vec<Line>,
    /// The sum of their amounts.
    #[serde(serialize_with = "money::serialize")]
    pub total: Decimal,
}

/// One thing that is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The thing.
    pub what: LineKind,
    /// How much of it was used, in `unit`.
    #[serde(serialize_with = "money::serialize_plain")]
    pub quantity: Decimal,
    /// How much costs nothing, in `unit`.
    #[serde(serialize_with = "money::serialize_plain")]
    pub included: Decimal,
    /// How much is paid: what was used beyond what is included.
    #[serde(serialize_with = "money::serialize_plain")]
    pub billed: Decimal,
    /// What is counted, such as "GB-s".
    pub unit: String,
    /// The price of `per` units.
    #[serde(serialize_with = "money::serialize")]
    pub unit_price: Decimal,
    /// How many units `unit_price` is for: 1, or a million.
    pub per: u32,
    /// `billed` × `unit_price` / `per`, rounded to the cent.
    #[serde(serialize_with = "money::serialize")]
    pub amount: Decimal,
}

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LineKind {
    /// The month, before anything is used.
    Base,
    /// Requests.
    Requests,
    /// CPU time.
    Cpu,
    /// Memory while events last.
    Duration,
    /// Processors while events last.
    Processors,
    /// Bodies that went to the internet.
    Egress,
}

// === impl Totals ===

impl Totals {
    /// Adds what an entry says. Its account, Worker, version and outcome do not matter here: who failed has used the same.
    pub fn add(&mut self, entry: &Entry) {
        self.add_usage(entry.kind, entry.usage);
    }

    /// Adds what was used for one kind of event.
    pub fn add_usage(&mut self, kind: Kind, usage: Usage) {
        *self.0.entry(kind).or_default() += usage;
    }

    /// Adds all of another.
    pub fn add_all(&mut self, other: &Self) {
        for (kind, usage) in other.iter() {
            self.add_usage(kind, usage);
        }
    }

    /// What was used for some kinds of events together.
    pub fn sum(&self, kinds: impl IntoIterator<Item = Kind>) -> Usage {
        let mut sum = Usage::default();
        for kind in kinds {
            sum += self.0.get(&kind).copied().unwrap_or_default();
        }
        sum
    }

    /// What was used for everything together.
    pub fn total(&self) -> Usage {
        self.sum(Kind::ALL)
    }

    /// Each kind that something was used for, in the order of [`Kind::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Kind, Usage)> {
        self.0.iter().map(|(kind, usage)| (*kind, *usage))
    }

    /// Bytes of bodies that went to the internet.
    pub fn bytes_sent(&self) -> u64 {
        self.sum(SENT).bytes_out
    }

    /// The same usage, each number times `times` / `of`, rounded down. `of` is at least 1.
    pub(crate) fn scaled(&self, times: u64, of: u64) -> Self {
        let scale = |count: u64| {
            let scaled = u128::from(count) * u128::from(times) / u128::from(of.max(1));
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        Self(self.iter().map(|(kind, usage)| (kind, scale_each(usage, scale))).collect())
    }
}

fn scale_each(usage: Usage, scale: impl Fn(u64) -> u64) -> Usage {
    Usage {
        requests: scale(usage.requests),
        cpu_us: scale(usage.cpu_us),
        wall_us: scale(usage.wall_us),
        wall_ms: scale(usage.wall_ms),
        wall_100ms: scale(usage.wall_100ms),
        bytes_in: scale(usage.bytes_in),
        bytes_out: scale(usage.bytes_out),
        subrequests: scale(usage.subrequests),
        cold_starts: scale(usage.cold_starts),
    }
}

// === impl Line ===

impl Line {
    fn new(what: LineKind, quantity: Decimal, unit: &str, included: Decimal, unit_price: Decimal, per: u32) -> Self {
        let billed = (quantity - included).max(Decimal::ZERO);
        let unit = unit.to_owned();
        let mut line = Self { what, quantity, included, billed, unit, unit_price, per, amount: Decimal::ZERO };
        line.amount = money::to_cents(billed * line.price());
        line
    }

    /// The price of one unit, which may be far below a cent.
    pub(crate) fn price(&self) -> Decimal {
        self.unit_price / Decimal::from(self.per)
    }
}

// === impl LineKind ===

impl LineKind {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Requests => "requests",
            Self::Cpu => "cpu",
            Self::Duration => "duration",
            Self::Processors => "processors",
            Self::Egress => "egress",
        }
    }

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Base => "Base price",
            Self::Requests => "Requests",
            Self::Cpu => "CPU time",
            Self::Duration => "Duration, memory",
            Self::Processors => "Duration, processors",
            Self::Egress => "Egress",
        }
    }
}

// === impl Plan ===

impl Plan {
    /// What a month costs in which this was used.
    pub fn charge(&self, usage: &Totals) -> Charge {
        let lines = self.lines(usage);
        let total = lines.iter().map(|line| line.amount).sum();
        Charge { lines, total }
    }

    fn lines(&self, usage: &Totals) -> Vec<Line> {
        use LineKind::{Base, Cpu, Duration, Egress, Processors, Requests};

        let used = |what| Decimal::from(self.used(what, usage));
        let mut lines = Vec::new();
        if !self.base.is_zero() {
            lines.push(Line::new(Base, Decimal::ONE, "month", Decimal::ZERO, self.base, 1));
        }
        let price = &self.requests;
        let included = price.included.into();
        lines.push(Line::new(Requests, used(Requests), "requests", included, price.price_per_million, MILLION));
        if let Some(price) = &self.cpu {
            let ms = used(Cpu) / Decimal::ONE_THOUSAND;
            lines.push(Line::new(Cpu, ms, "CPU ms", price.included_ms.into(), price.price_per_million_ms, MILLION));
        }
        if let Some(price) = &self.duration {
            // Divided first: what counters can hold, times memory, would be more than a decimal can.
            let seconds = used(Duration) / Decimal::ONE_THOUSAND;
            let memory = Decimal::from(price.memory_mb) / Decimal::from(1024);
            let included = price.included_gb_seconds.into();
            lines.push(Line::new(Duration, seconds * memory, "GB-s", included, price.price_per_gb_second, 1));
            if let Some(vcpu) = &price.vcpu {
                let unit = format!("{}-s", vcpu.unit);
                let included = vcpu.included_seconds.into();
                lines.push(Line::new(Processors, seconds * vcpu.share, &unit, included, vcpu.price_per_second, 1));
            }
        }
        if let Some(price) = &self.egress {
            let gb = used(Egress) / Decimal::from(price.gb_bytes);
            lines.push(Line::new(Egress, gb, "GB", price.included_gb.into(), price.price_per_gb, 1));
        }
        lines
    }

    /// How much of this was used: requests, microseconds of CPU time, rounded milliseconds, or bytes. Of the base price, 0.
    pub(crate) fn used(&self, what: LineKind, usage: &Totals) -> u64 {
        let billed = || usage.sum(self.billed.iter().copied());
        match what {
            LineKind::Base => 0,
            LineKind::Requests => billed().requests,
            // All of it: Cloudflare bills the CPU time of calls between Workers and of tail Workers, whose requests are free.
            LineKind::Cpu => usage.total().cpu_us,
            LineKind::Duration | LineKind::Processors => {
                self.duration.as_ref().map_or(0, |duration| duration.round.wall_ms(&billed()))
            }
            LineKind::Egress => usage.bytes_sent(),
        }
    }
}

#[cfg(test)]
mod tests;
