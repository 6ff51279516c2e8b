//! How long events took: a histogram with fixed bounds, which costs one atomic add for each event.

use std::ops::{AddAssign, Sub};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Buckets: one up to each of [`Latency::BOUNDS`], and one for what took longer.
const BUCKETS: usize = Latency::BOUNDS.len() + 1;
/// For each number of binary digits, the first bucket that such a duration in microseconds may be in. It is that one or the next.
const FIRST: [u8; 65] = first_buckets();

/// How many events took how long, from their beginnings to their ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Events for each bucket, not those of the buckets before it.
    pub counts: [u64; BUCKETS],
    /// Events that ended well as far as their Worker's code is concerned, and whose answer had a status of 500 or more.
    pub server_errors: u64,
}

/// [`Latency`] that many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    counts: [AtomicU64; BUCKETS],
    server_errors: AtomicU64,
}

impl Latency {
    /// Up to how many microseconds each bucket reaches, the end included. There is one bound at most between a power of two and the next.
    pub const BOUNDS: [u64; 17] = [
        250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
        5_000_000, 10_000_000, 30_000_000, 60_000_000,
    ];

    /// All events.
    pub fn events(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The duration in milliseconds that a share of the events did not exceed, such as 0.99: within the bucket that it falls into, events are taken
    /// to be spread evenly, as Prometheus' `histogram_quantile` does. What took longer than the last bound counts as that bound. Nothing without events.
    /// <https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile>
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let events = self.events();
        if events == 0 {
            return None;
        }
        let (wanted, mut below) = (share * events as f64, 0_u64);
        let mut begins = 0;
        for (count, ends) in self.counts.iter().zip(Self::BOUNDS) {
            if *count > 0 && (below + count) as f64 >= wanted {
                let within = (wanted - below as f64) / *count as f64;
                return Some((begins as f64 + (ends - begins) as f64 * within.max(0.0)) / 1000.0);
            }
            (below, begins) = (below + count, ends);
        }
        Some(begins as f64 / 1000.0)
    }

    fn with(mut self, other: Self, both: impl Fn(u64, u64) -> u64) -> Self {
        for (count, other) in self.counts.iter_mut().zip(other.counts) {
            *count = both(*count, other);
        }
        self.server_errors = both(self.server_errors, other.server_errors);
        self
    }
}

impl AddAssign for Latency {
    fn add_assign(&mut self, other: Self) {
        *self = self.with(other, u64::saturating_add);
    }
}

impl Sub for Latency {
    type Output = Self;

    /// What has come since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }
}

impl Latencies {
    /// An event took this many microseconds.
    pub(crate) fn add(&self, wall_us: u64, server_error: bool) {
        self.counts[bucket(wall_us)].fetch_add(1, Ordering::Relaxed);
        if server_error {
            self.server_errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Latency {
        Latency {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed)),
            server_errors: self.server_errors.load(Ordering::Relaxed),
        }
    }
}

/// The bucket of a duration: two look-ups and a comparison.
fn bucket(wall_us: u64) -> usize {
    let first = usize::from(FIRST[(u64::BITS - wall_us.leading_zeros()) as usize]);
    let is_beyond = Latency::BOUNDS.get(first).is_some_and(|bound| wall_us > *bound);
    first + usize::from(is_beyond)
}

const fn first_buckets() -> [u8; 65] {
    let mut first = [0; 65];
    let mut digits = 1;
    while digits < first.len() {
        // The least number of so many digits.
        let least = 1_u64 << (digits - 1);
        let mut bucket = 0_u8;
        while (bucket as usize) < Latency::BOUNDS.len() && Latency::BOUNDS[bucket as usize] < least {
            bucket += 1;
        }
        first[digits] = bucket;
        digits += 1;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::{Latencies, Latency, bucket};

    #[test]
    fn a_duration_is_in_the_first_bucket_that_reaches_it() {
        let slow = |wall: u64| Latency::BOUNDS.iter().take_while(|bound| wall > **bound).count();
        let around = |bound: u64| [bound - 1, bound, bound + 1];
        let edges = Latency::BOUNDS.into_iter().chain((0..63).map(|digits| 1 << digits)).flat_map(around);
        for wall in edges.chain([u64::MAX]) {
            assert_eq!(bucket(wall), slow(wall), "{wall} µs");
        }
    }

    #[test]
    fn percentiles_are_between_the_bounds_of_their_bucket() {
        let latencies = Latencies::default();
        assert_eq!(latencies.read().percentile(0.5), None);
        (0..98).for_each(|_| latencies.add(3_000, false));
        latencies.add(40_000, true);
        latencies.add(90_000_000, false);
        let latency = latencies.read();
        assert_eq!((latency.events(), latency.server_errors), (100, 1));
        // 50 of the 98 events between 2.5 and 5 ms.
        assert_eq!(latency.percentile(0.5), Some(2.5 + 2.5 * 50.0 / 98.0));
        assert_eq!(latency.percentile(0.99), Some(50.0));
        assert_eq!(latency.percentile(1.0), Some(60_000.0));
        assert!((latency - latency).is_empty());
    }
}
