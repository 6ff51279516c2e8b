//! What a Worker has done since the start.

use skep_meter::{Entry, Latency};
use skep_worker::Outcome;

/// How an answer with a status of 500 or more is called among outcomes, where nothing else was wrong.
pub(crate) const SERVER_ERROR: &str = "serverError";

/// Sums. Every one of them only ever grows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    /// Events that failed, by their outcome.
    pub(crate) failed: [u64; Outcome::ALL.len()],
    pub(crate) latency: Latency,
    /// From beginnings to ends, in microseconds.
    pub(crate) wall_us: u64,
    pub(crate) cpu_us: u64,
    pub(crate) cold_starts: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) subrequests: u64,
}

impl Totals {
    pub(super) fn add(&mut self, entry: &Entry, latency: &Latency) {
        let usage = &entry.usage;
        self.requests += usage.requests;
        if is_failure(entry.outcome) {
            self.failed[entry.outcome as usize] += usage.requests;
        }
        self.latency += *latency;
        self.wall_us += usage.wall_us;
        self.cpu_us += usage.cpu_us;
        self.cold_starts += usage.cold_starts;
        self.bytes_in += usage.bytes_in;
        self.bytes_out += usage.bytes_out;
        self.subrequests += usage.subrequests;
    }
}

/// Whether a Worker is to blame. A client that went away is no failure.
pub(super) fn is_failure(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Ok | Outcome::Canceled)
}
