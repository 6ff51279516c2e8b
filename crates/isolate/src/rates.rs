//! Rate limits: how often a key was used in the current period. For those who implement [`Services`](crate::Services).
//! <https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/>

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use skep_web::services::RateLimit;

/// Keys that are counted at once. Beyond that, those whose period is over are forgotten; if there is none, a new key is let through.
const MOST_KEYS: usize = 1_000_000;

/// Counts of all keys, in memory.
pub struct Rates {
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

impl Default for Rates {
    fn default() -> Self {
        Self { begun: Instant::now(), hashers: Default::default(), counts: Mutex::default() }
    }
}

impl Rates {
    /// Counts one more use of a key of an account. Gives whether it is within the limit.
    pub fn use_once(&self, account: &str, rate: &RateLimit, key: &str) -> bool {
        self.use_at(self.begun.elapsed().as_secs(), account, rate, key)
    }

    fn use_at(&self, now: u64, account: &str, rate: &RateLimit, key: &str) -> bool {
        let length = u64::from(rate.period.max(1));
        let period = now / length;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST_KEYS {
            counts.retain(|_, count| count.over > now);
            if counts.len() >= MOST_KEYS {
                return true;
            }
        }
        let named = (account, &*rate.namespace, key);
        let place = (self.hashers.0.hash_one(named), self.hashers.1.hash_one(named));
        let count = counts.entry(place).or_insert(Count { period, over: 0, used: 0 });
        if count.period != period {
            *count = Count { period, over: 0, used: 0 };
        }
        count.over = (period + 1) * length;
        count.used = count.used.saturating_add(1);
        count.used <= rate.limit
    }

    /// Forgets keys whose period is over. For calling now and then.
    pub fn sweep(&self) {
        let now = self.begun.elapsed().as_secs();
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, count| count.over > now);
    }
}

#[cfg(test)]
mod tests {
    use super::Rates;
    use skep_web::services::RateLimit;

    #[test]
    fn a_key_is_counted_in_its_period() {
        let rates = Rates::default();
        let rate = RateLimit { namespace: "1".to_owned(), limit: 2, period: 10 };
        assert!(rates.use_at(0, "one", &rate, "k") && rates.use_at(9, "one", &rate, "k"));
        assert!(!rates.use_at(9, "one", &rate, "k"));
        assert!(rates.use_at(9, "one", &rate, "another") && rates.use_at(9, "other", &rate, "k"));
        assert!(rates.use_at(10, "one", &rate, "k"));
    }
}
