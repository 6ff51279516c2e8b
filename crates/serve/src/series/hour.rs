//! What a Worker did in the last hour, step by step. Steps in which it did nothing take no room.

use std::collections::VecDeque;
use std::ops::AddAssign;

use skep_control::{Doing, Moment};
use skep_meter::{Entry, Latency};
use skep_store::Timestamp;

use crate::series::totals::is_failure;

/// One step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// Which one, counted from 1970 on.
    pub(super) at: u64,
    pub(super) requests: u64,
    pub(super) errors: u64,
    cpu_us: u64,
    cold_starts: u64,
    bytes_out: u64,
    latency: Latency,
}

/// The steps, the latest last.
#[derive(Debug, Default)]
pub(super) struct Hour(VecDeque<Step>);

impl Hour {
    /// Adds to a step. If the clock was set back meanwhile, to the latest. Gives whether the step is new.
    pub(super) fn add(&mut self, at: u64, entry: &Entry, latency: &Latency) -> bool {
        let is_new = self.0.back().is_none_or(|last| last.at < at);
        if is_new {
            self.0.push_back(Step { at, ..Step::default() });
        }
        if let Some(step) = self.0.back_mut() {
            let errors = if is_failure(entry.outcome) { entry.usage.requests } else { latency.server_errors };
            *step += Step {
                at,
                requests: entry.usage.requests,
                errors,
                cpu_us: entry.usage.cpu_us,
                cold_starts: entry.usage.cold_starts,
                bytes_out: entry.usage.bytes_out,
                latency: *latency,
            };
        }
        is_new
    }

    /// Lets go of what was before a step. Gives how many steps are left.
    pub(super) fn forget_before(&mut self, first: u64) -> usize {
        while self.0.front().is_some_and(|step| step.at < first) {
            self.0.pop_front();
        }
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The steps from one on.
    pub(super) fn since(&self, first: u64) -> impl Iterator<Item = &Step> {
        self.0.range(self.0.partition_point(|step| step.at < first)..)
    }
}

impl AddAssign for Step {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.cpu_us += other.cpu_us;
        self.cold_starts += other.cold_starts;
        self.bytes_out += other.bytes_out;
        self.latency += other.latency;
    }
}

impl Step {
    pub(super) fn is_empty(&self) -> bool {
        self.requests == 0 && self.cold_starts == 0
    }

    /// As the API shows it. `at` is in milliseconds since 1970.
    pub(super) fn moment(&self, at: Timestamp) -> Moment {
        Moment {
            at,
            requests: self.requests,
            errors: self.errors,
            cpu_us: self.cpu_us,
            cold_starts: self.cold_starts,
            bytes_out: self.bytes_out,
            p50_ms: self.latency.percentile(0.5),
            p90_ms: self.latency.percentile(0.9),
            p99_ms: self.latency.percentile(0.99),
        }
    }

    /// As the API shows a Worker.
    pub(super) fn doing(&self, worker: &str) -> Doing {
        Doing {
            worker: worker.to_owned(),
            requests: self.requests,
            errors: self.errors,
            cpu_us: self.cpu_us,
            cold_starts: self.cold_starts,
            p50_ms: self.latency.percentile(0.5),
            p99_ms: self.latency.percentile(0.99),
        }
    }
}
