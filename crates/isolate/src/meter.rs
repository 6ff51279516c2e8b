//! The CPU meter of one isolate: charges the thread's CPU time to the events whose code ran.
//!
//! The time of a handler's first turn goes to its event, and so does everything while there is one event only. Later turns run the
//! continuations of many events: their time is carried on until the watchdog's next interrupt, which comes every two milliseconds of such
//! time, and charged to the event whose code runs then. An event that runs twice as long is met twice as often: over some requests each is
//! charged what it cost. What nobody samples is shared equally by the open events. All of them belong to the same Worker, so only the shares of
//! concurrent requests are approximate, never the sum.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deno_core::OpState;
use skep_web::{EventId, Events};
use skep_worker::{Limit, Limits};

use crate::helpers::Helpers;
use crate::limits::{Verdict, exceeded_cpu};
use crate::watchdog::Watch;

/// CPU time that is carried on at most: what no sample has charged by then is shared.
const MOST_CARRIED: Duration = Duration::from_millis(10);
/// CPU time after which an interrupt comes late: JavaScript that runs is interrupted sooner.
const LATE: Duration = Duration::from_micros(100);
/// Turns that took less than this together are not measured one by one.
const SHORT: Duration = Duration::from_micros(100);

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
    /// First turns since the mark that were too short for a look at the CPU clock.
    short: RefCell<ShortTurns>,
    /// CPU time of turns that ran code of several events, until a sample says whose.
    carried: Cell<Duration>,
}

/// Turns whose CPU time is read from the clock together, as reading it takes a system call, and shared out by the time
/// that each took.
struct ShortTurns {
    turns: Vec<(EventId, Duration)>,
    total: Duration,
    /// When the last one ended.
    last: Instant,
    /// The most CPU time between two looks at the clock in this poll.
    longest: Duration,
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
            short: RefCell::new(ShortTurns {
                turns: Vec::new(),
                total: Duration::ZERO,
                last: Instant::now(),
                longest: Duration::ZERO,
            }),
            carried: Cell::new(Duration::ZERO),
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
        let now = self.watch.now();
        self.mark.set(now);
        let spent = self.starting.take().map_or(Duration::ZERO, |start| Duration::from_nanos(now - start));
        self.watch.end_turn(spent);
        spent
    }

    /// Does what takes long and is no turn: everybody else goes first meanwhile.
    pub(crate) fn behind_others(&self, work: impl FnOnce()) {
        self.watch.behind_others(work);
    }

    /// The turns of this poll begin. Gives the thread's CPU time in nanoseconds.
    pub(crate) fn begin_turns(&self) -> u64 {
        let now = self.watch.now();
        self.short.borrow_mut().last = Instant::now();
        self.mark.set(now);
        self.begin(now, self.limits.cpu);
        now
    }

    /// A new event's first turn is over: the time since the last mark is its own.
    pub(crate) fn charge_to(&self, state: &mut OpState, event: EventId) {
        let mut short = self.short.borrow_mut();
        let now = Instant::now();
        let took = now - std::mem::replace(&mut short.last, now);
        short.turns.push((event, took));
        short.total += took;
        if short.total >= SHORT {
            let spent = self.since_mark();
            let events = state.borrow_mut::<Events>();
            let all = short.total;
            short.charge(events, spent, all);
            events.record_ended();
        }
    }

    /// The turns of this poll are over: what is no event's own is everybody's. Gives a verdict when a limit is used up.
    pub(crate) fn end_turns(&self, state: &mut OpState) -> Option<Verdict> {
        let mut short = self.short.borrow_mut();
        let spent = self.since_mark();
        let events = state.borrow_mut::<Events>();
        let all = short.total + short.last.elapsed();
        let rest = short.charge(events, spent, all);
        let carried = self.carried.get() + rest;
        let is_shared = events.in_turn() > 1;
        let helped = Duration::from_nanos(self.helpers.take());
        if is_shared && carried < MOST_CARRIED {
            self.carried.set(carried);
            events.charge_all(helped);
        } else {
            self.carried.set(Duration::ZERO);
            events.charge_all(carried + helped);
        }
        events.record_ended();
        self.watch.set_shared(is_shared);
        self.watch.end_turn(std::mem::take(&mut short.longest));
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
        let mut short = self.short.borrow_mut();
        let events = state.borrow_mut::<Events>();
        let all = short.total + short.last.elapsed();
        let spent = short.charge(events, spent, all);
        short.last = Instant::now();
        let carried = self.carried.get();
        // Nobody's code ran when it was asked: whoever comes next would be charged as often as it begins, and not as long as it runs.
        if events.in_turn() > 1 && carried + spent < MOST_CARRIED && self.watch.since_asked(now) > LATE {
            self.carried.set(carried + spent);
            self.watch.ask_again();
            return None;
        }
        let charged = event.and_then(|event| Some((event, events.charge(event, spent + carried)?)));
        if charged.is_some() {
            self.carried.set(Duration::ZERO);
        }
        match charged {
            Some((event, used)) => self.decide(now, Limit::Cpu, self.limits.cpu, used, Some(event)),
            None => {
                self.unowned.set(self.unowned.get() + spent);
                self.decide(now, Limit::Cpu, self.limits.cpu, self.unowned.get(), None)
            }
        }
    }

    /// The thread's CPU time, in nanoseconds, up to which everything is charged.
    pub(crate) fn mark(&self) -> u64 {
        self.mark.get()
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

impl ShortTurns {
    /// Shares out CPU time by the time that each turn took of `all`. Gives what is left.
    fn charge(&mut self, events: &mut Events, spent: Duration, all: Duration) -> Duration {
        self.longest = self.longest.max(spent);
        let mut left = spent;
        for (event, took) in self.turns.drain(..) {
            let share = spent.mul_f64(took.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE)).min(left);
            left -= share;
            events.charge(event, share);
        }
        self.total = Duration::ZERO;
        left
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
