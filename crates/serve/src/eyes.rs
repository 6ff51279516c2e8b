//! What the platform sees of the Workers that its processes run: live tails get events, promotions what was counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use skep_link::wire;
use skep_observe::Tails;
use uuid::Uuid;

use crate::runtimes::Runtimes;

/// How long the counts of a version are added up after they were asked for.
const KEPT: Duration = Duration::from_secs(60);

/// Everything that is seen.
pub(crate) struct Eyes {
    pub(crate) tails: Tails,
    runtimes: Arc<Runtimes>,
    counts: Mutex<HashMap<Uuid, Sum>>,
}

/// What a version has answered, in all processes there were since it was first asked for.
struct Sum {
    total: wire::Counts,
    /// What each process said last: each counts from nothing.
    last: HashMap<u64, wire::Counts>,
    asked: Instant,
}

impl Eyes {
    pub(crate) fn new(tails: Tails, runtimes: Arc<Runtimes>) -> Self {
        Self { tails, runtimes, counts: Mutex::default() }
    }

    /// What a version has answered since this was first asked: requests, those of them that failed, and the last error that was not
    /// caught.
    pub(crate) async fn counts(&self, version: Uuid) -> wire::Counts {
        let told = self.runtimes.ask_all::<Vec<wire::Counts>>("counts", &vec![version]).await;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|_, sum| sum.asked.elapsed() < KEPT);
        let sum = counts.entry(version).or_insert_with(|| Sum {
            total: wire::Counts::default(),
            last: HashMap::new(),
            asked: Instant::now(),
        });
        sum.asked = Instant::now();
        for (process, told) in told {
            sum.add(process, told.into_iter().next().unwrap_or_default());
        }
        sum.total.clone()
    }
}

impl Sum {
    fn add(&mut self, process: u64, now: wire::Counts) {
        let before = self.last.insert(process, now.clone()).unwrap_or_default();
        // It may have forgotten the version, and begun anew.
        let more = |now: u64, before: u64| if now < before { now } else { now - before };
        self.total.requests += more(now.requests, before.requests);
        self.total.errors += more(now.errors, before.errors);
        self.total.last_error = now.last_error.or(self.total.last_error.take());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Instant;

    use skep_link::wire::Counts;

    use super::Sum;

    #[test]
    fn each_process_counts_from_nothing() {
        let mut sum = Sum { total: Counts::default(), last: HashMap::new(), asked: Instant::now() };
        let counts = |requests, errors| Counts { requests, errors, last_error: None };
        sum.add(1, Counts { last_error: Some("E".to_owned()), ..counts(10, 1) });
        sum.add(1, counts(15, 1));
        sum.add(2, counts(3, 2));
        // The version was not asked for in a while.
        sum.add(2, counts(1, 0));
        assert_eq!(sum.total, Counts { requests: 19, errors: 3, last_error: Some("E".to_owned()) });
    }
}
