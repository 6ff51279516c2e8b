//! Accounts and Workers whose requests are refused, or held back, because what they may use is used up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use skep_exchange::Failure;

/// Requests that a gate lets through at once after a pause, in seconds of its rate.
const BURST: u64 = 1;
const SECOND: u64 = 1_000_000_000;

/// What happens to requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Requests that are served each second. 0: none.
    pub per_second: u32,
    /// Why, for who is refused.
    pub reason: String,
    /// Until when, in seconds since 1970, if nobody changes anything.
    pub until: i64,
}

/// A gate, and when the next request may pass it: a leaky bucket as the generic cell rate algorithm has it (ITU-T I.371, annex A).
#[derive(Debug)]
struct Closed {
    gate: Gate,
    begun: Instant,
    next: AtomicU64,
}

type Named = (Arc<str>, Option<Arc<str>>);

/// The gates that there are: mostly none.
#[derive(Debug, Default)]
pub struct Gates {
    /// Whether there is any: all that most requests look at.
    any: AtomicBool,
    all: ArcSwapOption<HashMap<Named, Arc<Closed>>>,
    refused: AtomicU64,
}

impl Gates {
    /// Sets the gate of an account, or of one of its Workers. Nothing: requests are served.
    pub fn set(&self, account: &str, worker: Option<&str>, gate: Option<Gate>) {
        let key: Named = (account.into(), worker.map(Into::into));
        let closed = gate.map(|gate| Arc::new(Closed { gate, begun: Instant::now(), next: AtomicU64::new(0) }));
        // It stays so: a gate that was there comes back.
        if closed.is_some() {
            self.any.store(true, Ordering::Release);
        }
        self.all.rcu(|gates| {
            let mut gates = gates.as_deref().cloned().unwrap_or_default();
            match &closed {
                Some(closed) => gates.insert(key.clone(), Arc::clone(closed)),
                None => gates.remove(&key),
            };
            Some(gates).filter(|gates| !gates.is_empty()).map(Arc::new)
        });
    }

    /// Lets a request through.
    ///
    /// # Errors
    /// What its client gets instead.
    pub(crate) fn pass(&self, account: &Arc<str>, worker: &Arc<str>) -> Result<(), Failure> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let gates = self.all.load();
        let Some(gates) = gates.as_deref() else { return Ok(()) };
        for key in [(Arc::clone(account), None), (Arc::clone(account), Some(Arc::clone(worker)))] {
            if let Some(closed) = gates.get(&key) {
                closed.pass().inspect_err(|_| {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                })?;
            }
        }
        Ok(())
    }

    /// Requests that were refused since the process began.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Closed {
    fn pass(&self) -> Result<(), Failure> {
        let Gate { per_second, reason, until } = &self.gate;
        if *per_second == 0 {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let wait = until.saturating_sub_unsigned(now);
            return Err(Failure::over_quota(reason, u32::try_from(wait.max(1)).unwrap_or(u32::MAX)));
        }
        let each = SECOND / u64::from(*per_second);
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let allow = |next: u64| (next <= now + BURST * SECOND).then(|| next.max(now) + each);
        match self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, allow) {
            Ok(_) => Ok(()),
            Err(next) => {
                let wait = Duration::from_nanos(next.saturating_sub(now + BURST * SECOND)).as_secs() + 1;
                Err(Failure::over_quota(reason, u32::try_from(wait).unwrap_or(u32::MAX)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use skep_worker::ErrorCode;

    use super::{Gate, Gates};

    fn gate(per_second: u32) -> Option<Gate> {
        Some(Gate { per_second, reason: "used up".to_owned(), until: i64::MAX })
    }

    #[test]
    fn a_gate_is_for_whom_it_is_set() {
        let gates = Gates::default();
        let (account, other): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        assert_eq!(gates.pass(&account, &one), Ok(()));
        gates.set("a", Some("one"), gate(0));
        let refused = gates.pass(&account, &one).expect_err("refused");
        assert_eq!((refused.code, refused.message.as_str()), (ErrorCode::OverQuota, "used up"));
        assert!(refused.retry_after.is_some_and(|seconds| seconds >= 1));
        assert_eq!((gates.pass(&account, &two), gates.pass(&other, &one)), (Ok(()), Ok(())));
        gates.set("a", None, gate(0));
        assert!(gates.pass(&account, &two).is_err());
        gates.set("a", None, None);
        gates.set("a", Some("one"), None);
        assert!(gates.pass(&account, &one).is_ok() && gates.all.load().is_none());
    }

    #[test]
    fn a_rate_is_kept() {
        let gates = Gates::default();
        let (account, one): (Arc<str>, Arc<str>) = ("a".into(), "one".into());
        gates.set("a", None, gate(1000));
        let begun = std::time::Instant::now();
        let passed = (0..20_000).filter(|_| gates.pass(&account, &one).is_ok()).count();
        // What one second has, and what came while this ran.
        let most = 1000.0 * (1.0 + begun.elapsed().as_secs_f64()) + 2.0;
        assert!((1000..=most as usize).contains(&passed), "{passed} of at most {most}");
    }
}
