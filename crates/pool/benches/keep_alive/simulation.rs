//! What a policy of keeping isolates costs and spares in a trace. This is `skep_pool`'s `tend`, without threads and without a limit of
//! memory: isolates are looked at every 2 s, an isolate outside of its window goes away 10 s after its last visit, one that is
//! expected is started at the first look in its window, and all are gone at the first look after it. Idle times count from when the last
//! visit began, and all are recorded, also those after which the version was loaded anew. One isolate an application; starting it
//! takes no time.

use std::time::Duration;

use skep_pool::keep_alive::{IdleTimes, Window};

use super::trace::{Application, WEEK};

/// How often isolates are looked at, in seconds.
const LOOK: f64 = 2.0;
/// How long an isolate stays at least, in seconds.
const GRACE: f64 = 10.0;
/// Idle times up to this are not recorded, in seconds.
const PAUSE: f64 = 1.0;

/// How long isolates are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// They go away when nothing is to be done.
    Nothing,
    /// As long as this.
    Fixed(Duration),
    /// From how long the application was idle before.
    Learned,
}

/// What became of all applications.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) invocations: f64,
    /// Invocations that waited for an isolate to start.
    pub(crate) cold: f64,
    /// Seconds in which isolates were there and had nothing to do.
    pub(crate) idle: f64,
    /// For each application with invocations, the part of them that waited.
    pub(crate) parts: Vec<f64>,
}

impl Outcome {
    /// Adds what became of other applications.
    pub(crate) fn add(&mut self, other: Self) {
        self.invocations += other.invocations;
        self.cold += other.cold;
        self.idle += other.idle;
        self.parts.extend(other.parts);
    }

    /// The cold starts of the application that has more of them than three quarters of the others: the paper's measure.
    pub(crate) fn third_quartile(&self) -> f64 {
        let mut parts = self.parts.clone();
        parts.sort_by(f64::total_cmp);
        parts.get(parts.len() * 3 / 4).copied().unwrap_or(0.0)
    }
}

impl Policy {
    /// Adds an application's week to the outcome.
    pub(crate) fn run(self, application: &Application, outcome: &mut Outcome) {
        let mut times = IdleTimes::default();
        let mut cold = 0.0;
        let mut busy_until = 0.0_f64;
        for (place, visit) in application.visits.iter().enumerate() {
            let is_first = place == 0;
            let next = application.visits.get(place + 1);
            let until = next.map_or(WEEK, |next| next.at);
            cold += f64::from(u8::from(is_first));
            busy_until = busy_until.max(visit.at) + application.execution * visit.invocations;
            let gap = Gap { from: visit.at, until, busy_until };
            let (is_there, idle) = gap.spent(|| self.window(&times), self == Self::Nothing);
            outcome.idle += idle;
            if next.is_some() {
                cold += f64::from(u8::from(!is_there));
                if self == Self::Learned && until - visit.at > PAUSE {
                    times.record(Duration::from_secs_f64(until - visit.at));
                }
            }
        }
        let invocations = application.invocations();
        if invocations > 0.0 {
            outcome.invocations += invocations;
            outcome.cold += cold;
            outcome.parts.push(cold / invocations);
        }
    }

    fn window(self, times: &IdleTimes) -> Window {
        match self {
            Self::Nothing => Window { start: Duration::ZERO, end: Duration::ZERO },
            Self::Fixed(end) => Window { start: Duration::ZERO, end },
            Self::Learned => times.window(),
        }
    }
}

/// The time between two visits, in seconds since the trace began.
struct Gap {
    from: f64,
    until: f64,
    /// When the isolate has done what it has to do.
    busy_until: f64,
}

impl Gap {
    /// Whether there is an isolate at the end, and the seconds in which there was one without work.
    fn spent(&self, window: impl FnOnce() -> Window, ends_at_once: bool) -> (bool, f64) {
        if ends_at_once {
            return (self.until < self.busy_until, 0.0);
        }
        if self.until - self.from <= GRACE {
            return (true, self.idle(self.from, self.until));
        }
        let window = window();
        let (start, end) = (window.start.as_secs_f64(), window.end.as_secs_f64().max(GRACE));
        let end = self.look_after(end);
        if start <= GRACE {
            return (self.until <= end, self.idle(self.from, end));
        }
        let (gone, back) = (self.look_after(GRACE), self.look_after(start).min(end));
        let is_there = self.until <= gone || (back < self.until && self.until <= end);
        (is_there, self.idle(self.from, gone) + self.idle(back, end))
    }

    /// The first look at isolates when it was idle for so long.
    fn look_after(&self, idle: f64) -> f64 {
        ((self.from + idle) / LOOK).ceil() * LOOK
    }

    /// The seconds between these times that are in the gap, and in which there is nothing to do.
    fn idle(&self, from: f64, to: f64) -> f64 {
        (to.min(self.until) - from.max(self.busy_until)).max(0.0)
    }
}
