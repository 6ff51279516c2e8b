//! Of which events of a Worker more is gathered than counts: those that somebody watches, keeps, or hands to another Worker.
//!
//! To gather an event costs about what it takes to handle a small one. So only so many are in a tenth of a second, as many as leave
//! the rest of them undisturbed; those that are kept say how many they stand for. Failures have room of their own, as they are what
//! people look for: what is beyond the budget is gathered without being told of, and told if it fails.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::HeaderMap;
use skep_observe::{Gather, Trace, TraceContext, Tracing, Wanted};
use skep_store::Observability;

/// The time that a budget is for.
const WINDOW: Duration = Duration::from_millis(100);
/// Of how many events in a window one may fail and be gathered beyond the budget.
const FAILURES: u32 = 4;

const WATCHED: u64 = 1;
const CONSUMED: u64 = 2;
const ONLY_CUSTOM: u64 = 4;
const TRACED: u64 = 8;
/// Where the share that is kept begins, in 2^-32.
const KEPT: u32 = 32;

/// What becomes of a Worker's events.
pub(super) struct Interest {
    /// Who there is, and the share that is kept. 0: nobody.
    what: AtomicU64,
    /// The share that is traced, in 2^-32.
    traced: AtomicU32,
    budget: Budget,
    failures: Budget,
    /// Events that might have been kept since the last one that was.
    skipped: AtomicU32,
    /// Events that found no room, and were not told of.
    pub(super) missed: AtomicU64,
    /// Those of them that failed.
    pub(super) missed_failures: AtomicU64,
    /// Events in a window.
    most: u32,
    /// Whether somebody wants traces.
    traces: bool,
    begun: Instant,
}

/// How many events there were in which window.
#[derive(Default)]
struct Budget(AtomicU64);

impl Budget {
    /// Takes one of `most` in a window.
    fn take(&self, window: u32, most: u32) -> bool {
        let take = |state: u64| {
            let (of, used) = ((state >> 32) as u32, state as u32);
            let used = if of == window { used } else { 0 };
            (used < most).then_some(u64::from(window) << 32 | u64::from(used + 1))
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

impl Interest {
    /// Nobody's, for so many events in a second at most, and for traces if somebody wants them.
    pub(super) fn new(per_second: u32, traces: bool) -> Self {
        let windows = u32::try_from(1000 / WINDOW.as_millis()).unwrap_or(1);
        Self {
            what: AtomicU64::new(0),
            traced: AtomicU32::new(0),
            budget: Budget::default(),
            failures: Budget::default(),
            skipped: AtomicU32::new(0),
            missed: AtomicU64::new(0),
            missed_failures: AtomicU64::new(0),
            most: per_second.div_ceil(windows).max(1),
            traces,
            begun: Instant::now(),
        }
    }

    /// Somebody watches, or nobody does any more.
    pub(super) fn watch(&self, on: bool) {
        self.set(WATCHED, if on { WATCHED } else { 0 });
    }

    /// What the Worker's settings say.
    pub(super) fn observe(&self, observability: &Observability) {
        let share = |share: f32| (f64::from(share) * f64::from(u32::MAX)) as u32;
        let mut what = u64::from(share(observability.logs)) << KEPT;
        self.traced.store(share(observability.traces), Ordering::Relaxed);
        if self.traces && observability.traces > 0.0 {
            what |= TRACED;
        }
        if !observability.consumers.is_empty() {
            what |= CONSUMED;
        }
        if observability.only_custom {
            what |= ONLY_CUSTOM;
        }
        self.set(!WATCHED, what);
    }

    fn set(&self, bits: u64, to: u64) {
        let set = |what: u64| Some(what & !bits | to);
        let _ = self.what.fetch_update(Ordering::Relaxed, Ordering::Relaxed, set);
    }

    /// An event begins, a fetch event with a request that has `headers`.
    pub(super) fn begins(&self, headers: Option<&HeaderMap>) -> Option<Wanted> {
        match self.what.load(Ordering::Relaxed) {
            0 => None,
            what => self.decide(what, headers),
        }
    }

    #[cold]
    fn decide(&self, what: u64, headers: Option<&HeaderMap>) -> Option<Wanted> {
        let share = (what >> KEPT) as u32;
        let kept = share > 0 && random() <= share;
        let others = what & (WATCHED | CONSUMED) != 0;
        let caller = headers.filter(|_| what & TRACED != 0).and_then(skep_observe::caller);
        let traced = what & TRACED != 0 && self.is_traced(caller.as_ref());
        let gathered = (kept || others || traced) && self.budget.take(self.window(), self.most);
        if others && !gathered {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        let interval = match (kept && gathered, share > 0) {
            (true, _) => self.skipped.swap(0, Ordering::Relaxed).saturating_add(1),
            (false, true) => {
                self.skipped.fetch_add(1, Ordering::Relaxed);
                0
            }
            (false, false) => 0,
        };
        let gather = match (gathered, share > 0 || others) {
            (true, _) => Gather::All,
            // Who looks for failures gets them whole.
            (false, true) => Gather::IfFailed,
            (false, false) => Gather::Nothing,
        };
        let trace = (what & TRACED != 0).then(|| match caller {
            caller if traced && gathered => Tracing::Kept(Box::new(Trace::of(caller))),
            caller => Tracing::PassedOn(Box::new(caller.unwrap_or_else(TraceContext::not_sampled))),
        });
        (gather != Gather::Nothing || trace.is_some()).then_some(Wanted { interval, trace, gather })
    }

    /// Who calls decides, if he knows: a trace has all its spans or none.
    /// <https://opentelemetry.io/docs/specs/otel/trace/sdk/#parentbased>
    fn is_traced(&self, caller: Option<&TraceContext>) -> bool {
        caller.map_or_else(|| random() <= self.traced.load(Ordering::Relaxed), |caller| caller.flags.sampled())
    }

    /// An event failed that is gathered only then.
    pub(super) fn failed(&self) -> Option<Wanted> {
        let what = self.what.load(Ordering::Relaxed);
        let others = what & (WATCHED | CONSUMED) != 0;
        let kept = what >> KEPT > 0;
        if !others && !kept {
            return None;
        }
        if !self.failures.take(self.window(), self.most.div_ceil(FAILURES)) {
            if others {
                self.missed_failures.fetch_add(1, Ordering::Relaxed);
            }
            return None;
        }
        // It stands for itself, and was counted among those that were left out.
        if kept {
            let one_less = |skipped: u32| skipped.checked_sub(1);
            let _ = self.skipped.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        }
        if others {
            let one_less = |missed: u64| missed.checked_sub(1);
            let _ = self.missed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        }
        Some(Wanted { interval: kept.into(), ..Wanted::default() })
    }

    /// Whether an event that was gathered, and printed or failed or not, still goes to somebody.
    pub(super) fn takes(&self, kept: bool) -> bool {
        kept || self.what.load(Ordering::Relaxed) & (WATCHED | CONSUMED) != 0
    }

    /// Whether only events are kept that printed something or failed.
    pub(super) fn only_custom(&self) -> bool {
        self.what.load(Ordering::Relaxed) & ONLY_CUSTOM != 0
    }

    fn window(&self) -> u32 {
        // 2^32 windows are 13 years.
        (self.begun.elapsed().as_millis() / WINDOW.as_millis()) as u32
    }
}

/// A number that nobody foresees who does not want to: xorshift, Marsaglia 2003.
fn random() -> u32 {
    thread_local! {
        static STATE: Cell<u32> = Cell::new(uuid::Uuid::new_v4().as_u128() as u32 | 1);
    }
    STATE.with(|state| {
        let mut next = state.get();
        next ^= next << 13;
        next ^= next >> 17;
        next ^= next << 5;
        state.set(next);
        next
    })
}

#[cfg(test)]
mod tests {
    use skep_observe::{Gather, Tracing, Wanted};
    use skep_store::Observability;

    use super::{Budget, Interest};

    fn kept(share: f32) -> Observability {
        Observability { logs: share, ..Observability::default() }
    }

    fn wanted(interval: u32) -> Option<Wanted> {
        Some(Wanted { interval, ..Wanted::default() })
    }

    /// How many of so many events are gathered.
    fn gathered(interest: &Interest, count: usize) -> Vec<Wanted> {
        (0..count).filter_map(|_| interest.begins(None)).filter(|wanted| wanted.gather == Gather::All).collect()
    }

    #[test]
    fn nobody_costs_nothing() {
        let interest = Interest::new(100, true);
        assert_eq!((interest.begins(None), interest.failed()), (None, None));
        interest.watch(true);
        assert_eq!(interest.begins(None), wanted(0));
        interest.watch(false);
        assert_eq!((interest.begins(None), interest.takes(false)), (None, false));
    }

    #[test]
    fn settings_and_viewers_do_not_change_each_other() {
        let interest = Interest::new(1000, true);
        interest.watch(true);
        interest.observe(&kept(1.0));
        assert_eq!(interest.begins(None), wanted(1));
        interest.observe(&Observability { only_custom: true, ..kept(0.0) });
        assert_eq!((interest.begins(None), interest.only_custom()), (wanted(0), true));
        interest.watch(false);
        // Only a bit that needs somebody else.
        assert_eq!(interest.begins(None), None);
    }

    #[test]
    fn what_is_kept_stands_for_what_is_not() {
        let interest = Interest::new(u32::MAX, true);
        interest.observe(&kept(0.1));
        let wanted: Vec<u32> = gathered(&interest, 10_000).iter().map(|wanted| wanted.interval).collect();
        // Ten standard deviations of the binomial distribution.
        assert!((700..1300).contains(&wanted.len()), "{}", wanted.len());
        let told: u32 = wanted.iter().sum();
        assert!(told <= 10_000 && told > 9_000, "{told}");
    }

    #[test]
    fn who_calls_decides_what_is_traced() {
        let interest = Interest::new(u32::MAX, true);
        interest.observe(&Observability { traces: f32::MIN_POSITIVE, ..Observability::default() });
        let with = |flags: &str| {
            let mut headers = http::HeaderMap::new();
            let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            headers.insert("traceparent", parent.parse().expect("a header"));
            interest.begins(Some(&headers)).and_then(|wanted| wanted.trace)
        };
        let Some(Tracing::Kept(traced)) = with("01") else { panic!("it is traced") };
        assert_eq!(traced.context.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let Some(Tracing::PassedOn(context)) = with("00") else { panic!("it is not traced") };
        assert_eq!(context.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
        let begins = || interest.begins(None).expect("something is passed on");
        let wanted = begins();
        assert_eq!(wanted.gather, Gather::Nothing);
        let Some(Tracing::PassedOn(context)) = wanted.trace else { panic!("it is not traced") };
        assert!(!context.flags.sampled());
        interest.observe(&Observability { traces: 1.0, ..Observability::default() });
        let Some(Tracing::Kept(trace)) = begins().trace else { panic!("it is traced") };
        assert_eq!(trace.caller, None);
        interest.observe(&Observability::default());
        assert_eq!(with("01"), None);
    }

    #[test]
    fn a_window_has_room_for_so_many() {
        let budget = Budget::default();
        assert_eq!((0..10).filter(|_| budget.take(7, 4)).count(), 4);
        assert_eq!((0..10).filter(|_| budget.take(8, 4)).count(), 4);
    }

    #[test]
    fn failures_have_room_of_their_own() {
        let interest = Interest::new(10, true);
        interest.observe(&kept(1.0));
        interest.watch(true);
        let begun = gathered(&interest, 1000).len();
        let failed: Vec<Wanted> = (0..1000).filter_map(|_| interest.failed()).collect();
        // A window may have ended meanwhile, or ten: the machine is slow.
        assert!((1..500).contains(&begun), "{begun}");
        assert!((1..500).contains(&failed.len()), "{}", failed.len());
        assert!(failed.iter().all(|wanted| wanted.interval == 1));
        let missed = interest.missed.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(missed, 1000 - begun as u64 - failed.len() as u64);
        let failures = interest.missed_failures.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(failures, 1000 - failed.len() as u64);
    }
}
