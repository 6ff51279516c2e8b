//! The CPU meter of one isolate: charges the thread's CPU time to the events whose code ran.
//!
//! The time is cut where the code of another event goes on: where the host calls a handler, and where `turns.js` says so. Each piece is one
//! event's. Reading the thread's clock takes a system call, so that pieces that are
//! shorter than a tenth of a millisecond share what the clock says by the time that each took. What is nobody's, such as the event loop's own
//! work, is shared equally by the events of the turn. The sum is exact.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use deno_core::{OpState, v8};
use skep_web::{EventId, Events, Turns};
use skep_worker::{Limit, Limits};

use crate::helpers::Helpers;
use crate::limits::{Verdict, exceeded_cpu};
use crate::queue;
use crate::watchdog::Watch;

/// Pieces that took less than this together, in nanoseconds, are not measured one by one.
const SHORT: u64 = 100_000;

pub(crate) struct Meter {
    watch: Arc<Watch>,
    helpers: Arc<Helpers>,
    limits: Limits,
    turns: SharedTurns,
    /// CPU time up to which everything is charged.
    mark: Cell<u64>,
    /// While the modules are loaded: CPU time at which that began.
    starting: Cell<Option<u64>>,
    /// CPU time of code that belongs to no event.
    unowned: Cell<Duration>,
    pieces: RefCell<Pieces>,
}

/// What `turns.js` shares: the number of the event whose code runs, 0 for nobody's, and whether there are several events, so that it
/// matters whose.
#[derive(Clone)]
pub(crate) struct SharedTurns {
    places: NonNull<[Cell<u32>; 2]>,
    /// Keeps the places.
    _store: v8::SharedRef<v8::BackingStore>,
}

impl SharedTurns {
    /// From the buffer of a `Uint32Array`. Nothing if it is too short.
    pub(crate) fn new(store: v8::SharedRef<v8::BackingStore>) -> Option<Self> {
        let places = store.data()?.cast::<[Cell<u32>; 2]>();
        (store.byte_length() >= size_of::<[u32; 2]>() && places.is_aligned()).then_some(Self { places, _store: store })
    }

    fn running(&self) -> &Cell<u32> {
        &self.places()[0]
    }

    fn several(&self) -> &Cell<u32> {
        &self.places()[1]
    }

    fn places(&self) -> &[Cell<u32>; 2] {
        // SAFETY: they are aligned and as long, as `new` has seen, and live as long as `_store`. JavaScript and this run on one thread, as
        // neither V8's handles nor this can leave it.
        unsafe { self.places.as_ref() }
    }
}

/// Whose code ran since the mark.
struct Pieces {
    /// Events and how long their code ran in nanoseconds, 0 for nobody's.
    done: Vec<(u32, u64)>,
    total: u64,
    /// When the piece that runs began, by [`queue::now`].
    last: u64,
    /// CPU time since the host called a handler last, as far as it is charged.
    stretch: Duration,
    /// The most CPU time of that in this poll.
    longest: Duration,
}

impl Meter {
    pub(crate) fn new(watch: Arc<Watch>, limits: Limits, helpers: Arc<Helpers>, turns: SharedTurns) -> Rc<Self> {
        let mark = watch.now();
        Rc::new(Self {
            watch,
            helpers,
            limits,
            turns,
            mark: Cell::new(mark),
            starting: Cell::new(None),
            unowned: Cell::new(Duration::ZERO),
            pieces: RefCell::new(Pieces::new()),
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
        self.pieces.borrow_mut().last = queue::now();
        self.turns.running().set(0);
        self.mark.set(now);
        self.begin(now, self.limits.cpu);
        now
    }

    /// What is ready goes on: of `events` that are being handled.
    pub(crate) fn go_on(&self, events: usize) {
        self.turns.several().set((events > 1).into());
    }

    /// The host is about to call an event's handler: what it did for that since the last mark is the event's.
    pub(crate) fn begin_call(&self, event: EventId) {
        self.turns.running().set(event.0);
    }

    /// The call is over, and so is all that went on at once.
    pub(crate) fn end_call(&self, state: &mut OpState) {
        let mut pieces = self.pieces.borrow_mut();
        pieces.cut(self.turns.running().replace(0));
        if pieces.total >= SHORT {
            let spent = self.since_mark();
            let events = state.borrow_mut::<Events>();
            pieces.charge(events, spent);
            pieces.end_stretch();
            events.record_ended();
        }
    }

    /// The turns of this poll are over. Gives a verdict when a limit is used up.
    pub(crate) fn end_turns(&self, state: &mut OpState) -> Option<Verdict> {
        let mut pieces = self.pieces.borrow_mut();
        pieces.cut(self.turns.running().replace(0));
        let spent = self.since_mark();
        let events = state.borrow_mut::<Events>();
        pieces.charge(events, spent);
        pieces.end_stretch();
        events.charge_all(Duration::from_nanos(self.helpers.take()));
        events.record_ended();
        self.watch.end_turn(std::mem::take(&mut pieces.longest));
        // Turns that are too short for the watchdog add up.
        let (event, used) = events.over_cpu()?;
        Some(Verdict { exceeded: exceeded_cpu(Limit::Cpu, self.limits.cpu, used), event: Some(event) })
    }

    /// The watchdog's interrupt, while code of this event runs. Gives a verdict when a limit is used up.
    pub(crate) fn interrupt(&self, state: &mut OpState, event: Option<EventId>) -> Option<Verdict> {
        let spent = self.since_mark();
        let now = self.mark.get();
        if let Some(start) = self.starting.get() {
            let used = Duration::from_nanos(now - start);
            return self.decide(now, Limit::StartupCpu, self.limits.startup_cpu, used, None);
        }
        let mut pieces = self.pieces.borrow_mut();
        // V8 knows better whose code runs: not all that goes on with an event's code says so.
        let running = event.map_or(self.turns.running().get(), |event| event.0);
        self.turns.running().set(running);
        pieces.cut(running);
        let events = state.borrow_mut::<Events>();
        let nobodys = pieces.charge(events, spent);
        match events.charge(EventId(running), Duration::ZERO) {
            Some(used) => self.decide(now, Limit::Cpu, self.limits.cpu, used, Some(EventId(running))),
            None => {
                self.unowned.set(self.unowned.get() + nobodys);
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

impl Turns for Meter {
    fn pass_to(&self, state: &mut OpState, event: u32) {
        let mut pieces = self.pieces.borrow_mut();
        pieces.cut(self.turns.running().replace(event));
        if pieces.total >= SHORT {
            let spent = self.since_mark();
            pieces.charge(state.borrow_mut(), spent);
        }
    }
}

impl Pieces {
    fn new() -> Self {
        let zero = Duration::ZERO;
        Self { done: Vec::new(), total: 0, last: queue::now(), stretch: zero, longest: zero }
    }

    /// The piece that runs is over: it was this event's.
    fn cut(&mut self, event: u32) {
        let now = queue::now();
        let took = now.saturating_sub(std::mem::replace(&mut self.last, now));
        self.total += took;
        match self.done.last_mut() {
            Some((last, time)) if *last == event => *time += took,
            _ => self.done.push((event, took)),
        }
    }

    /// Shares out CPU time by the time that each piece took. Gives what was nobody's, which all events of the turn are charged.
    fn charge(&mut self, events: &mut Events, spent: Duration) -> Duration {
        self.stretch += spent;
        let mut left = nanoseconds(spent);
        let share = left as f64 / std::mem::take(&mut self.total).max(1) as f64;
        for (event, took) in self.done.drain(..) {
            let its = ((took as f64 * share) as u64).min(left);
            if events.charge(EventId(event), Duration::from_nanos(its)).is_some() {
                left -= its;
            }
        }
        let left = Duration::from_nanos(left);
        events.charge_all(left);
        left
    }

    /// What follows does not wait for what ran until now.
    fn end_stretch(&mut self) {
        self.longest = self.longest.max(std::mem::take(&mut self.stretch));
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
