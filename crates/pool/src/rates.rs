//! Rate limits: how often a key was used in the current period.
//! <https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/>

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use skep_isolate::RateLimit;

/// Keys that are counted at once. Beyond that, those whose period is over are forgotten; if there is none, a new key is let through.
const MOST_KEYS: usize = 1_000_000;

/// Counts of all keys.
pub(crate) struct Rates {
    begun: Instant,
    hashers: (RandomState, RandomState),
    counts: Mutex<HashMap<Key, Count>>,
}

/// A key of an account's namespace: 128 bits of a keyed hash, however long it is.
type Key = (u64, u64);

struct Count {
    /// The period's number since the beginning.
    period: u64,
    /// When it is over, in seconds from the beginning.
    over: u64,
    used: u32,
}

impl Rates {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), hashers: Default::default(), counts: Mutex::default() }
    }

    /// Counts one more use. Gives whether it is within the limit.
    pub(crate) fn use_once(&self, account: &Arc<str>, rate: &RateLimit, key: &str) -> bool {
        self.use_at(self.begun.elapsed().as_secs(), account, rate, key)
    }

    fn use_at(&self, now: u64, account: &Arc<str>, rate: &RateLimit, key: &str) -> bool {
        let length = u64::from(rate.period.max(1));
        let period = now / length;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST_KEYS {
            counts.retain(|_, count| count.over > now);
            if counts.len() >= MOST_KEYS {
                return true;
            }
        }
        let named = (&**account, &*rate.namespace, key);
        let place = (self.hashers.0.hash_one(named), self.hashers.1.hash_one(named));
        let count = counts.entry(place).or_insert(Count { period, over: 0, used: 0 });
        if count.period != period {
            *count = Count { period, over: 0, used: 0 };
        }
        count.over = (period + 1) * length;
        count.used = count.used.saturating_add(1);
        count.used <= rate.limit
    }

    /// Forgets keys whose period is over.
    pub(crate) fn sweep(&self) {
        let now = self.begun.elapsed().as_secs();
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, count| count.over > now);
    }
}

#[cfg(test)]
mod tests {
    use super::Rates;
    use skep_isolate::RateLimit;
    use std::sync::Arc;

    #[test]
    fn a_key_is_counted_in_its_period() {
        let rates = Rates::new();
        let rate = RateLimit { namespace: "1".to_owned(), limit: 2, period: 10 };
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        assert!(rates.use_at(0, &one, &rate, "k") && rates.use_at(9, &one, &rate, "k"));
        assert!(!rates.use_at(9, &one, &rate, "k"));
        assert!(rates.use_at(9, &one, &rate, "another") && rates.use_at(9, &other, &rate, "k"));
        assert!(rates.use_at(10, &one, &rate, "k"));
    }
}
