//! What keeps this side below the authority's limits: failures are remembered, and orders are counted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::certificate::chance;
use crate::settings::Limits;

/// The part of a pause by which it is longer at most, so that what failed together is not tried together.
const SPREAD: f64 = 0.1;

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A sentence without its end.
    pub(crate) reason: String,
    /// How long the authority wants to be left alone.
    pub(crate) wait: Option<Duration>,
    /// Whether that is about all hosts.
    pub(crate) everyone: bool,
}

impl Failure {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), wait: None, everyone: false }
    }
}

/// What is remembered of a host's failed orders, in memory and in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// Failures without a success between them.
    pub(crate) failures: u32,
    /// Before this there is no other try. Milliseconds since 1970.
    retry_at: u64,
    /// Why the last one failed.
    reason: String,
}

impl Remembered {
    pub(crate) fn retry_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.retry_at)
    }
}

/// The failures of all hosts.
#[derive(Debug)]
pub(crate) struct Failures {
    hosts: Mutex<HashMap<String, Remembered>>,
    limits: Limits,
}

impl Failures {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { hosts: Mutex::default(), limits }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a host.
    pub(crate) fn of(&self, host: &str) -> Option<Remembered> {
        self.lock().get(host).cloned()
    }

    /// When a host may be tried again, if that is not now.
    pub(crate) fn waits(&self, host: &str, now: SystemTime) -> Option<SystemTime> {
        self.lock().get(host).map(Remembered::retry_at).filter(|retry_at| *retry_at > now)
    }

    /// Remembers one more failure.
    pub(crate) fn add(&self, host: &str, failure: &Failure, now: SystemTime) -> Remembered {
        let failures = self.of(host).map_or(0, |remembered| remembered.failures).saturating_add(1);
        let doubled = self.limits.first_pause.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        let pause = doubled.min(self.limits.last_pause).mul_f64(1.0 + SPREAD * chance());
        self.remember(host, failures, &failure.reason, now + pause.max(failure.wait.unwrap_or_default()))
    }

    /// Remembers that a host has to wait for reasons that are not its own.
    pub(crate) fn postpone(&self, host: &str, reason: &str, until: SystemTime) -> Remembered {
        let failures = self.of(host).map_or(0, |remembered| remembered.failures);
        self.remember(host, failures, reason, until)
    }

    fn remember(&self, host: &str, failures: u32, reason: &str, retry_at: SystemTime) -> Remembered {
        let retry_at = retry_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let remembered =
            Remembered { failures, retry_at: u64::try_from(retry_at).unwrap_or(u64::MAX), reason: reason.to_owned() };
        self.put(host, remembered.clone());
        remembered
    }

    /// Takes over what was remembered before the process began.
    pub(crate) fn put(&self, host: &str, remembered: Remembered) {
        let mut hosts = self.lock();
        if hosts.len() >= self.limits.hosts && !hosts.contains_key(host) {
            // The one that is forgiven first.
            let first = hosts.iter().min_by_key(|(_, remembered)| remembered.retry_at).map(|(host, _)| host.clone());
            first.map(|first| hosts.remove(&first));
        }
        hosts.insert(host.to_owned(), remembered);
    }

    /// Forgets a host's failures. Gives whether there were any.
    pub(crate) fn clear(&self, host: &str) -> bool {
        self.lock().remove(host).is_some()
    }
}

/// How many orders there were lately.
#[derive(Debug)]
pub(crate) struct Pace {
    begun: VecDeque<SystemTime>,
    held_until: SystemTime,
    limits: Limits,
}

impl Pace {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { begun: VecDeque::new(), held_until: UNIX_EPOCH, limits }
    }

    /// Counts one more order.
    ///
    /// # Errors
    /// When there may be none now: when there may be one.
    pub(crate) fn take(&mut self, now: SystemTime) -> Result<(), SystemTime> {
        if self.held_until > now {
            return Err(self.held_until);
        }
        while self.begun.front().is_some_and(|begun| *begun + self.limits.window <= now) {
            self.begun.pop_front();
        }
        match self.begun.front() {
            Some(first) if self.begun.len() >= self.limits.orders_in_window => Err(*first + self.limits.window),
            _ => {
                self.begun.push_back(now);
                Ok(())
            }
        }
    }

    /// No order until a moment: the authority wants to be left alone.
    pub(crate) fn hold(&mut self, until: SystemTime) {
        self.held_until = self.held_until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits { first_pause: SECOND, last_pause: 10 * SECOND, hosts: 2, ..Limits::default() }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let failures = Failures::new(limits());
        let now = UNIX_EPOCH + 1000 * SECOND;
        for seconds in [1, 2, 4, 8, 10, 10] {
            let pause = failures.add("a", &Failure::new("why"), now).retry_at().duration_since(now).unwrap();
            let expected = SECOND * seconds;
            assert!(pause >= expected && pause <= expected.mul_f64(1.0 + SPREAD), "{pause:?} for {expected:?}");
        }
        assert!(failures.waits("a", now + 9 * SECOND).is_some());
        assert!(failures.waits("a", now + 12 * SECOND).is_none());
        assert!(failures.clear("a"));
        assert_eq!(failures.of("a"), None);
    }

    #[test]
    fn the_authority_may_ask_for_a_longer_pause() {
        let failures = Failures::new(limits());
        let failure = Failure { wait: Some(3600 * SECOND), ..Failure::new("too many") };
        assert_eq!(failures.add("a", &failure, UNIX_EPOCH).retry_at(), UNIX_EPOCH + 3600 * SECOND);
    }

    #[test]
    fn memory_is_bounded() {
        let failures = Failures::new(limits());
        failures.postpone("a", "why", UNIX_EPOCH + 2 * SECOND);
        failures.postpone("b", "why", UNIX_EPOCH + SECOND);
        failures.postpone("c", "why", UNIX_EPOCH + 3 * SECOND);
        assert!(failures.of("a").is_some() && failures.of("b").is_none() && failures.of("c").is_some());
    }

    #[test]
    fn orders_are_counted_in_a_window() {
        let mut pace = Pace::new(Limits { orders_in_window: 2, window: 10 * SECOND, ..limits() });
        let at = |seconds: u32| UNIX_EPOCH + seconds * SECOND;
        assert_eq!(pace.take(at(0)), Ok(()));
        assert_eq!(pace.take(at(5)), Ok(()));
        assert_eq!(pace.take(at(6)), Err(at(10)));
        assert_eq!(pace.take(at(10)), Ok(()));
        assert_eq!(pace.take(at(11)), Err(at(15)));
        pace.hold(at(60));
        assert_eq!(pace.take(at(20)), Err(at(60)));
        assert_eq!(pace.take(at(60)), Ok(()));
    }
}
