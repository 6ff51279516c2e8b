//! Events that go on after their answer: WebSockets, bodies that are streamed, `waitUntil()`.

use std::time::{Duration, SystemTime};

use skep_observe::{GoesOn, Level, LogLine};

use crate::events::{EventId, Events};

/// How long after its answer an event goes on before it is told of.
const TOLD_AFTER: Duration = Duration::from_secs(1);

impl Events {
    /// Tells what events that go on for long after their answer have used by now. For calling once a second or so: what is told is not lost
    /// with the process.
    pub fn tell_of_long(&mut self) {
        for state in self.open.values_mut() {
            if state.waiter.is_some() || state.answered.is_none_or(|answered| answered.elapsed() < TOLD_AFTER) {
                continue;
            }
            let (used, told) = (state.used(self.shared_cpu), state.told.as_deref().copied());
            let (trigger, outcome, is_call) = (&state.trigger, state.outcome, state.depth.0 > 0);
            self.host.observer.goes_on(&GoesOn { trigger, outcome, is_call, used, told });
            state.told = Some(Box::new(used));
        }
    }

    /// Events that were answered longer ago than `waitUntil()` may take.
    pub fn over_wait_until(&self) -> Vec<EventId> {
        let limit = self.host.limits.wait_until;
        self.open
            .iter()
            .filter(|(_, state)| {
                state.waiter.is_none()
                    && !state.streaming
                    && state.answered.is_some_and(|answered| answered.elapsed() > limit)
            })
            .map(|(id, _)| EventId(*id))
            .collect()
    }

    /// Ends an event whose `waitUntil()` promises took too long. Its client has its answer; the log gets a word.
    pub fn end_wait_until(&mut self, event: EventId) {
        let Some(mut state) = self.open.remove(&event.0) else { return };
        let seconds = self.host.limits.wait_until.as_secs();
        let message = format!(
            "waitUntil() tasks did not complete within the allowed time after the response ({seconds} s) and have been cancelled. \
             Do long work in a queue or a scheduled event."
        );
        let line = LogLine { level: Level::Warn, message, arguments: None, timestamp: SystemTime::now() };
        if let Some(details) = state.gathering.details() {
            details.log(&line);
        }
        self.host.observer.log(&self.host.source(event), line);
        self.finish(event, state);
    }
}
