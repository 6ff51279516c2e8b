//! The CPU meter of one isolate: charges the thread's CPU time to the events whose code ran.
//!
//! The time of a handler's first turn goes to its event. Later turns run the continuations of many events: a long one is
//! sampled by the watchdog's interrupts and charged to the event whose code runs then; what is left of it, and short
//! turns, are shared equally by the open events. All of them belong to the same Worker, so only the shares of concurrent
//! requests are approximate, never the sum.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use deno_core::OpState;
use skep_web::{EventId, Events};
use skep_worker::{Limit, Limits};

use crate::helpers::Helpers;
use crate::limits::{Verdict, exceeded_cpu};
use crate::watchdog::Watch;

pub(crate) struct Meter {
    watch: Arc<Watch>,
    helpers: Arc<Helpers>,
    limits: Limits,
    /// CPU time up to which everything is charged.
    mark: Cell<u64>,
    /// While the modules are loaded: CPU time at which that began.
    starting: Cell<Option<u64>>,
    /// CPU time of code that belongs to no event.
    unowned: Cell<Duration>,
}

impl Meter {
    pub(crate) fn new(watch: Arc<Watch>, limits: Limits, helpers: Arc<Helpers>) -> Rc<Self> {
        let mark = watch.now();
        Rc::new(Self {
            watch,
            helpers,
            limits,
            mark: Cell::new(mark),
            starting: Cell::new(None),
            unowned: Cell::new(Duration::ZERO),
        })
    }

    /// Start-up begins: it has a budget of its own.
    pub(crate) fn begin_startup(&self) {
        let now = self.watch.now();
        self.mark.set(now);
        self.starting.set(Some(now));
        self.begin(now, self.limits.startup_cpu);
    }

    /// Start-up goes on, after the thread has waited for something.
    pub(crate) fn resume_startup(&self) {
        let now = self.watch.now();
        let used = Duration::from_nanos(now - self.starting.get().unwrap_or(now));
        self.begin(now, self.limits.startup_cpu.saturating_sub(used));
    }

    /// Start-up is over. Gives the CPU time it took.
    pub(crate) fn end_startup(&self) -> Duration {
        self.watch.end_turn();
        let now = self.watch.now();
        self.mark.set(now);
        self.starting.take().map_or(Duration::ZERO, |start| Duration::from_nanos(now - start))
    }

    /// The turns of this poll begin.
    pub(crate) fn begin_turns(&self) {
        let now = self.watch.now();
        self.mark.set(now);
        self.begin(now, self.limits.cpu);
    }

    /// A new event's first turn is over: the time since the last mark is its own.
    pub(crate) fn charge_to(&self, state: &mut OpState, event: EventId) {
        let spent = self.since_mark();
        let events = state.borrow_mut::<Events>();
        events.charge(event, spent);
        events.record_ended();
    }

    /// The turns of this poll are over: the time since the last mark is everybody's. Gives a verdict when a limit is used up.
    pub(crate) fn end_turns(&self, state: &mut OpState) -> Option<Verdict> {
        let spent = self.since_mark();
        let events = state.borrow_mut::<Events>();
        events.charge_all(spent + Duration::from_nanos(self.helpers.take()));
        events.record_ended();
        self.watch.end_turn();
        // Turns that are too short for the watchdog add up.
        let (event, used) = events.over_cpu()?;
        Some(Verdict { exceeded: exceeded_cpu(Limit::Cpu, self.limits.cpu, used), event: Some(event) })
    }

    /// The watchdog's interrupt: charges the time since the last mark to the event whose code runs. Gives a verdict when
    /// a limit is used up.
    pub(crate) fn sample(&self, state: &mut OpState, event: Option<EventId>) -> Option<Verdict> {
        let spent = self.since_mark();
        let now = self.mark.get();
        if let Some(start) = self.starting.get() {
            let used = Duration::from_nanos(now - start);
            return self.decide(now, Limit::StartupCpu, self.limits.startup_cpu, used, None);
        }
        let charged = event.and_then(|event| Some((event, state.borrow_mut::<Events>().charge(event, spent)?)));
        match charged {
            Some((event, used)) => self.decide(now, Limit::Cpu, self.limits.cpu, used, Some(event)),
            None => {
                self.unowned.set(self.unowned.get() + spent);
                self.decide(now, Limit::Cpu, self.limits.cpu, self.unowned.get(), None)
            }
        }
    }

    fn decide(
        &self,
        now: u64,
        limit: Limit,
        allowed: Duration,
        used: Duration,
        event: Option<EventId>,
    ) -> Option<Verdict> {
        if used >= allowed {
            return Some(Verdict { exceeded: exceeded_cpu(limit, allowed, used), event });
        }
        self.watch.extend(now + nanoseconds(allowed - used));
        None
    }

    fn begin(&self, now: u64, budget: Duration) {
        self.watch.begin_turn(now, now.saturating_add(nanoseconds(budget)));
    }

    fn since_mark(&self) -> Duration {
        let now = self.watch.now();
        Duration::from_nanos(now.saturating_sub(self.mark.replace(now)))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
