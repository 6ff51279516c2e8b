//! Plans: what usage costs, what of it is included, and where it ends.
//!
//! A plan is a TOML file. Money is written as a string such as "0.30": a TOML float is binary, and most prices have no exact binary form.
//! A key that nobody reads is refused. The plans of `crates/meter/plans` are part of the program; see [`Plan::shipped`].

mod read;
mod section;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use rust_decimal::Decimal;
use serde::Serialize;
use time::Date;

use crate::{Kind, Usage, money};

/// The plan of who says nothing else: everything is free and counted.
pub const SELF_HOSTED: &str = "self-hosted";
/// The plans that are part of the program: name and text.
const SHIPPED: [(&str, &str); 5] = [
    (SELF_HOSTED, include_str!("../plans/self-hosted.toml")),
    ("workers-free", include_str!("../plans/workers-free.toml")),
    ("workers-paid", include_str!("../plans/workers-paid.toml")),
    ("lambda", include_str!("../plans/lambda.toml")),
    ("cloud-functions", include_str!("../plans/cloud-functions.toml")),
];

/// What usage costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Its name for machines: lowercase letters, digits, hyphens.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// The currency of every price in it, as ISO 4217 names it.
    pub currency: String,
    /// The address of the price list that it follows.
    pub source: Option<String>,
    /// When that price list was like this.
    #[serde(serialize_with = "money::serialize_optional")]
    pub as_of: Option<Date>,
    /// What a month costs before anything is used.
    #[serde(serialize_with = "money::serialize")]
    pub base: Decimal,
    /// Which events are requests and have a duration, as far as money and limits are concerned. CPU time is billed for all of them.
    pub billed: BTreeSet<Kind>,
    /// What requests cost.
    pub requests: RequestPrice,
    /// What CPU time costs; nothing without it.
    pub cpu: Option<CpuPrice>,
    /// What it costs that events last; nothing without it.
    pub duration: Option<DurationPrice>,
    /// What it costs to send bodies of responses to the internet; nothing without it.
    pub egress: Option<EgressPrice>,
    /// Where a day ends before it is over.
    pub limits: Option<Limits>,
    /// The most that a month may cost.
    pub cap: Option<Cap>,
    /// At which percentages of a limit or of the cap people are warned: each 1 to 100, ascending.
    pub warn: Vec<u8>,
}

/// What requests cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestPrice {
    /// How many cost nothing each month.
    pub included: u64,
    /// The price of a million more.
    #[serde(serialize_with = "money::serialize")]
    pub price_per_million: Decimal,
}

/// What CPU time costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CpuPrice {
    /// How many milliseconds cost nothing each month.
    pub included_ms: u64,
    /// The price of a million milliseconds more.
    #[serde(serialize_with = "money::serialize")]
    pub price_per_million_ms: Decimal,
}

/// What it costs that events last, whether they compute or wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DurationPrice {
    /// The memory that each event is taken to have, in MB; 1,024 of them are a GB.
    pub memory_mb: u32,
    /// How the duration of each event is rounded up.
    pub round: Round,
    /// How many GB-seconds cost nothing each month.
    pub included_gb_seconds: u64,
    /// The price of a GB-second more.
    #[serde(serialize_with = "money::serialize")]
    pub price_per_gb_second: Decimal,
    /// What processors cost for the same time; nothing without it.
    #[serde(flatten)]
    pub vcpu: Option<VcpuPrice>,
}

/// How the duration of each event is rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Round {
    /// To whole milliseconds.
    #[serde(rename = "1ms")]
    Millisecond,
    /// To multiples of 100 ms.
    #[serde(rename = "100ms")]
    HundredMilliseconds,
}

impl Round {
    /// The rounded duration of these events in milliseconds.
    pub fn wall_ms(self, usage: &Usage) -> u64 {
        match self {
            Self::Millisecond => usage.wall_ms,
            Self::HundredMilliseconds => usage.wall_100ms.saturating_mul(100),
        }
    }
}

/// What processors cost while events last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VcpuPrice {
    /// How much processor each event is taken to have, in `unit`.
    #[serde(rename = "vcpu", serialize_with = "money::serialize_plain")]
    pub share: Decimal,
    /// What processors are measured in: "vCPU", or "GHz".
    #[serde(rename = "vcpu_unit")]
    pub unit: String,
    /// How many seconds of one `unit` cost nothing each month.
    #[serde(rename = "included_vcpu_seconds")]
    pub included_seconds: u64,
    /// The price of a second of one `unit` more.
    #[serde(rename = "price_per_vcpu_second", serialize_with = "money::serialize")]
    pub price_per_second: Decimal,
}

/// What it costs to send bodies of responses to the internet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EgressPrice {
    /// How many GB cost nothing each month.
    pub included_gb: u64,
    /// How many bytes a GB has: 10^9, or 2^30 where the provider counts so.
    pub gb_bytes: u64,
    /// The price of a GB more.
    #[serde(serialize_with = "money::serialize")]
    pub price_per_gb: Decimal,
}

/// Where a day ends before it is over. Days begin at midnight UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Requests of the kinds that are billed.
    pub requests_per_day: Option<u64>,
    /// CPU time of all events in milliseconds.
    pub cpu_ms_per_day: Option<u64>,
    /// Bytes of bodies that went to the internet.
    pub bytes_out_per_day: Option<u64>,
    /// CPU time of each event in milliseconds. Usage says only what events used together: a comparison looks at the average.
    pub cpu_ms_per_request: Option<u64>,
    /// What happens beyond.
    #[serde(flatten)]
    pub then: Then,
}

/// The most that a month may cost. A [`crate::Charge`] is never cut: what was used before somebody could stop it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cap {
    /// The amount.
    #[serde(serialize_with = "money::serialize")]
    pub per_month: Decimal,
    /// What happens beyond.
    #[serde(flatten)]
    pub then: Then,
}

/// What happens beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "then", rename_all = "lowercase")]
pub enum Then {
    /// Requests are refused.
    Refuse,
    /// They are served, and billed as the others: the limit only warns.
    Bill,
    /// So many are served each second.
    Throttle {
        /// Requests in a second: at least 1.
        #[serde(rename = "throttle_per_second")]
        per_second: u32,
    },
}

/// Why a text is no plan. It says where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {}{message}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
pub struct PlanError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key with its tables, as in `requests.included`; nothing if this is not TOML.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Plan {
    /// Reads a plan. `file_name` is for messages.
    ///
    /// # Errors
    /// When this is not TOML, a key is unknown or missing, or a value is not as expected.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, PlanError> {
        section::plan(file_name, text)
    }

    /// The plans that are part of the program, the default first.
    pub fn shipped() -> &'static [Self] {
        static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
            let read = |(name, text)| Plan::parse(&format!("{name}.toml"), text).expect("a test reads what is shipped");
            SHIPPED.into_iter().map(read).collect()
        });
        &PLANS
    }

    /// The plan of this name that is part of the program.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::shipped().iter().find(|plan| plan.name == name)
    }

    /// Whether it can cost nothing and refuses nothing, as on one's own machines.
    pub fn is_free(&self) -> bool {
        let vcpu = self.duration.as_ref().and_then(|duration| duration.vcpu.as_ref());
        let prices = [
            Some(self.base),
            Some(self.requests.price_per_million),
            self.cpu.as_ref().map(|cpu| cpu.price_per_million_ms),
            self.duration.as_ref().map(|duration| duration.price_per_gb_second),
            vcpu.map(|vcpu| vcpu.price_per_second),
            self.egress.as_ref().map(|egress| egress.price_per_gb),
        ];
        self.limits.is_none() && prices.into_iter().flatten().all(|price| price.is_zero())
    }
}

#[cfg(test)]
mod tests;
