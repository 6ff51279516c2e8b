//! The advisor: what the same traffic would cost elsewhere, and from which traffic on a virtual machine is the cheaper one.
//!
//! It compares prices of running code, and no more: what each price list leaves out is said in its file in `crates/meter/plans`. Of a
//! virtual machine it knows the price and the cores; that its memory and traffic are enough, and that somebody looks after it, is not
//! in the price. Traffic is taken to be even over the day: peaks need more cores than this says.

mod break_even;
mod sentence;

use std::time::Duration;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::{Kind, LineKind, Month, Plan, Then, Totals, money};
use break_even::break_even;

/// The kinds that traffic is counted in, whatever a plan bills: requests from outside, cron triggers, batches of messages.
const REQUESTS: [Kind; 3] = [Kind::Fetch, Kind::Scheduled, Kind::Queue];
/// The events that run code. A static asset does not.
const RUN: [Kind; 5] = [Kind::Fetch, Kind::Service, Kind::Scheduled, Kind::Queue, Kind::Tail];
/// How much of a virtual machine's CPU time may be used, in percent: the rest is for peaks, the system, and TLS.
const BUSY_PERCENT: u64 = 60;
const DAY: u64 = 86_400;
const MICROSECONDS: u64 = 1_000_000;

/// What was used in a month so far.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The usage.
    pub usage: &'a Totals,
    /// The month.
    pub month: Month,
    /// How much of the month the usage is of. Parts of seconds do not count, and neither does what is longer than the month.
    pub covered: Duration,
}

/// A virtual machine that could serve the same traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    /// What it costs a month.
    pub price_per_month: Decimal,
    /// In which currency, as ISO 4217 names it. Plans in another one are not compared.
    pub currency: String,
    /// How many cores it has.
    pub cores: u32,
}

/// What the same traffic costs on some plans and on a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The month.
    pub month: Month,
    /// How many seconds of it the usage is of.
    pub covered_seconds: u64,
    /// Requests a day on the average: fetches, cron triggers, batches of messages.
    pub requests_per_day: u64,
    /// The currency of all amounts, as ISO 4217 names it.
    pub currency: String,
    /// The virtual machine.
    pub vm: VmOffer,
    /// The plans: the account's own first, then the others as they were given.
    pub offers: Vec<Offer>,
    /// Plans that are not compared, since their prices are in another currency.
    pub left_out: Vec<String>,
}

/// What the traffic costs on one plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// The plan's name.
    pub plan: String,
    /// The plan's title.
    pub title: String,
    /// Whether it is the account's own.
    pub is_own: bool,
    /// Whether it costs nothing, since the machines are one's own.
    pub is_free: bool,
    /// What it costs.
    #[serde(flatten)]
    pub cost: Cost,
    /// How many requests a day like those so far the plan serves before it refuses some. Nothing if it refuses none.
    pub most_requests_per_day: Option<u64>,
    /// When the virtual machine is cheaper. Nothing if there was no request yet, so that nobody knows what one uses.
    pub break_even: Option<BreakEven>,
}

/// What traffic costs on a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cost", rename_all = "snake_case")]
pub enum Cost {
    /// It is served.
    Possible {
        /// What was used so far.
        #[serde(serialize_with = "money::serialize")]
        so_far: Decimal,
        /// The whole month, if it goes on like this.
        #[serde(serialize_with = "money::serialize")]
        this_month: Decimal,
    },
    /// The plan refuses a part of it.
    NotPossible {
        /// Why.
        limit: LimitKind,
        /// What the plan permits.
        permitted: u64,
        /// What was used, on the average, rounded up.
        used: u64,
    },
}

/// A limit of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Requests a day.
    RequestsPerDay,
    /// Milliseconds of CPU time a day.
    CpuMsPerDay,
    /// Bytes that go to the internet in a day.
    BytesOutPerDay,
    /// Milliseconds of CPU time of each event. It is told by the average: single ones may be refused where this is kept.
    CpuMsPerRequest,
}

/// When the virtual machine is cheaper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "vm_is_cheaper", rename_all = "snake_case")]
pub enum BreakEven {
    /// At no traffic that the plan serves.
    Never,
    /// At any traffic: the plan's base price alone is higher.
    Always,
    /// Above this traffic.
    Above {
        /// The most whole requests a day, like those so far, that the plan serves for no more than the virtual machine's price.
        requests_per_day: u64,
        /// Whether the machine's cores can carry them.
        vm_is_enough: bool,
    },
}

/// What the traffic costs on the virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VmOffer {
    /// What it costs a month, used or not.
    #[serde(serialize_with = "money::serialize")]
    pub price_per_month: Decimal,
    /// How many cores it has.
    pub cores: u32,
    /// How many cores the traffic needs, each 60 % busy: at least 1.
    pub cores_needed: u64,
    /// How many requests a day like those so far its cores carry. Nothing if they used no CPU time.
    pub most_requests_per_day: Option<u64>,
    /// Whether its cores are enough for the traffic.
    pub is_enough: bool,
}

/// What was used, in the terms of this comparison.
struct Traffic<'a> {
    usage: &'a Totals,
    month: Month,
    /// Seconds.
    covered: u64,
    requests: u64,
    cpu_us: u64,
}

/// Compares what was used in a month with other plans and a virtual machine. `own` is the account's plan; it is left out of `plans`.
pub fn compare<'a>(
    observed: &Observed<'_>,
    plans: impl IntoIterator<Item = &'a Plan>,
    vm: &Vm,
    own: &'a Plan,
) -> Comparison {
    let traffic = Traffic::new(observed);
    let others = plans.into_iter().filter(|plan| plan.name != own.name);
    let (compared, left_out): (Vec<&Plan>, Vec<&Plan>) =
        std::iter::once(own).chain(others).partition(|plan| plan.currency == vm.currency || plan.is_free());
    Comparison {
        month: traffic.month,
        covered_seconds: traffic.covered,
        requests_per_day: traffic.per_day(traffic.requests),
        currency: vm.currency.clone(),
        vm: traffic.vm(vm),
        offers: compared.into_iter().map(|plan| traffic.offer(plan, vm, plan.name == own.name)).collect(),
        left_out: left_out.into_iter().map(|plan| plan.name.clone()).collect(),
    }
}

// === impl Comparison ===

impl Comparison {
    /// The essence in plain English, for people: one to three sentences.
    pub fn sentence(&self) -> String {
        sentence::sentence(self)
    }
}

// === impl Offer ===

impl Offer {
    /// What the month costs if it goes on like this; nothing if the plan refuses a part of it.
    pub fn this_month(&self) -> Option<Decimal> {
        match self.cost {
            Cost::Possible { this_month, .. } => Some(this_month),
            Cost::NotPossible { .. } => None,
        }
    }
}

// === impl Traffic ===

impl<'a> Traffic<'a> {
    fn new(observed: &Observed<'a>) -> Self {
        let Observed { usage, month, covered } = *observed;
        let covered = covered.as_secs().min(month.seconds());
        Self { usage, month, covered, requests: usage.sum(REQUESTS).requests, cpu_us: usage.total().cpu_us }
    }

    /// So much a day, if it was `used` so far; half a one is rounded up.
    fn per_day(&self, used: u64) -> u64 {
        let covered = u128::from(self.covered.max(1));
        narrow((u128::from(used) * u128::from(DAY) + covered / 2) / covered)
    }

    fn offer(&self, plan: &Plan, vm: &Vm, is_own: bool) -> Offer {
        let most = self.most_requests(plan);
        Offer {
            plan: plan.name.clone(),
            title: plan.title.clone(),
            is_own,
            is_free: plan.is_free(),
            cost: self.cost(plan),
            most_requests_per_day: most,
            break_even: (self.requests > 0).then(|| self.break_even(plan, vm, most)),
        }
    }

    fn cost(&self, plan: &Plan) -> Cost {
        for (limit, permitted, used) in self.limits(plan) {
            // A limit of a day is compared without a division: used / covered > permitted / day.
            let (used, of) = match limit {
                LimitKind::CpuMsPerRequest => (used, u128::from(self.usage.sum(RUN).requests.max(1))),
                _ => (used * u128::from(DAY), u128::from(self.covered.max(1))),
            };
            if used > u128::from(permitted) * of {
                return Cost::NotPossible { limit, permitted, used: narrow(used.div_ceil(of)) };
            }
        }
        let so_far = plan.charge(self.usage).total;
        if self.covered == 0 {
            return Cost::Possible { so_far, this_month: so_far };
        }
        let month = self.usage.scaled(self.month.seconds(), self.covered);
        Cost::Possible { so_far, this_month: plan.charge(&month).total }
    }

    /// The limits beyond which a plan refuses: what it permits, and what was used so far.
    fn limits(&self, plan: &Plan) -> Vec<(LimitKind, u64, u128)> {
        let Some(limits) = plan.limits.as_ref().filter(|limits| limits.then == Then::Refuse) else { return Vec::new() };
        let used = |what| u128::from(plan.used(what, self.usage));
        let cpu_ms = used(LineKind::Cpu).div_ceil(1000);
        [
            (LimitKind::RequestsPerDay, limits.requests_per_day, used(LineKind::Requests)),
            (LimitKind::CpuMsPerDay, limits.cpu_ms_per_day, cpu_ms),
            (LimitKind::BytesOutPerDay, limits.bytes_out_per_day, used(LineKind::Egress)),
            (LimitKind::CpuMsPerRequest, limits.cpu_ms_per_request, cpu_ms),
        ]
        .into_iter()
        .filter_map(|(limit, permitted, used)| Some((limit, permitted?, used)))
        .collect()
    }

    /// How many requests a day of this mix a plan serves before it refuses some.
    fn most_requests(&self, plan: &Plan) -> Option<u64> {
        let limits = self.limits(plan).into_iter().filter(|(limit, _, used)| {
            // This one does not depend on how many there are.
            *limit != LimitKind::CpuMsPerRequest && *used > 0
        });
        limits.map(|(_, permitted, used)| narrow(u128::from(permitted) * u128::from(self.requests) / used)).min()
    }

    fn break_even(&self, plan: &Plan, vm: &Vm, most: Option<u64>) -> BreakEven {
        if plan.base > vm.price_per_month {
            return BreakEven::Always;
        }
        let days = Decimal::from(self.month.days());
        let requests = break_even(&plan.charge(self.usage).lines, vm.price_per_month)
            .and_then(|times| times.checked_mul(self.requests.into()))
            .and_then(|requests| u64::try_from((requests / days).floor()).ok());
        match requests {
            Some(requests_per_day) if most.is_none_or(|most| requests_per_day < most) => {
                let vm_is_enough = self.vm_most(vm).is_none_or(|most| requests_per_day <= most);
                BreakEven::Above { requests_per_day, vm_is_enough }
            }
            _ => BreakEven::Never,
        }
    }

    fn vm(&self, vm: &Vm) -> VmOffer {
        let per_core = u128::from(BUSY_PERCENT) * u128::from(MICROSECONDS) * u128::from(self.covered.max(1)) / 100;
        let cores_needed = narrow(u128::from(self.cpu_us).div_ceil(per_core)).max(1);
        VmOffer {
            price_per_month: vm.price_per_month,
            cores: vm.cores,
            cores_needed,
            most_requests_per_day: self.vm_most(vm),
            is_enough: cores_needed <= vm.cores.into(),
        }
    }

    /// How many requests a day of this mix the cores carry.
    fn vm_most(&self, vm: &Vm) -> Option<u64> {
        if self.cpu_us == 0 || self.requests == 0 {
            return None;
        }
        let a_day = u128::from(vm.cores) * u128::from(DAY * MICROSECONDS * BUSY_PERCENT / 100);
        // Cores and requests together are less than 128 bits only for the machines that there are.
        Some(narrow(a_day.saturating_mul(self.requests.into()) / u128::from(self.cpu_us)))
    }
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
