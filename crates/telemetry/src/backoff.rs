//! Pauses between tries: each twice as long as the one before, and none exactly as long as another's.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp-throttling>

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use crate::Retry;

/// The part of a pause by which it is longer at most, so that what failed together is not tried together.
const SPREAD: f64 = 0.5;
/// The longest pause that a collector may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// How long to wait after the failures so far.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// Failures without a success between them.
    failures: u32,
}

impl Backoff {
    /// Counts one more failure. Gives how long to wait: as long as the collector asked for, if that is longer.
    pub(crate) fn failed(&mut self, retry: &Retry, asked: Option<Duration>) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let pause = retry.first_pause.saturating_mul(factor).min(retry.last_pause).mul_f64(1.0 + SPREAD * chance());
        pause.max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }

    /// Forgets the failures.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// A number from 0 to 1 that nobody else has now.
fn chance() -> f64 {
    f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn retry() -> Retry {
        Retry { first_pause: SECOND, last_pause: 10 * SECOND, ..Retry::default() }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        for seconds in [1, 2, 4, 8, 10, 10] {
            let (pause, expected) = (backoff.failed(&retry(), None), SECOND * seconds);
            assert!(pause >= expected && pause <= expected.mul_f64(1.0 + SPREAD), "{pause:?} for {expected:?}");
        }
        backoff.succeeded();
        assert!(backoff.failed(&retry(), None) < 2 * SECOND);
    }

    #[test]
    fn a_collector_may_ask_for_a_longer_pause_within_reason() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.failed(&retry(), Some(30 * SECOND)), 30 * SECOND);
        assert_eq!(backoff.failed(&retry(), Some(48 * 3600 * SECOND)), LONGEST_ASKED);
        assert!(backoff.failed(&retry(), Some(SECOND)) >= 4 * SECOND);
    }

    #[test]
    fn failures_without_end_do_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX - 1 };
        for _ in 0..3 {
            assert!(backoff.failed(&retry(), None) >= 10 * SECOND);
        }
    }
}
