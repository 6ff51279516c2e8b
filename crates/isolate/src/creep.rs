//! Memory that creeps: an isolate that has served for a while and holds more and more is replaced before it runs into its limit. Its open
//! events are finished where they are, new ones get another isolate.

use std::time::{Duration, Instant};

use crate::life::Life;
use crate::limits::Guard;
use crate::queue::Queue;
use crate::runtime::Runtime;

/// The part of the limit from which an isolate is replaced.
const PART: (usize, usize) = (4, 5);
/// What an isolate has served before it is replaced, so that a Worker which needs so much from the beginning is not started again and again:
/// so many events, or for so long.
const EVENTS: u64 = 1000;
const AGE: Duration = Duration::from_secs(60);
/// How long it is waited after a look that found mostly garbage: a full collection takes time.
const PAUSE: Duration = Duration::from_secs(10);

/// Looks at an isolate's memory.
pub(crate) struct Creep {
    started: Instant,
    looked: Option<Instant>,
}

impl Creep {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), looked: None }
    }

    /// Looks, if there is reason to, and says that the isolate takes no more events if most of its memory is in use.
    pub(crate) fn look(&mut self, runtime: &mut Runtime, queue: &Queue, life: &Life) {
        if !is_much(runtime.guard()) || life.is_over() {
            return;
        }
        let served = queue.load.events() >= EVENTS || self.started.elapsed() >= AGE;
        if !served || self.looked.is_some_and(|looked| looked.elapsed() < PAUSE) {
            return;
        }
        self.looked = Some(Instant::now());
        runtime.collect_garbage();
        if is_much(runtime.guard()) {
            life.end();
        }
    }
}

fn is_much(guard: &Guard) -> bool {
    guard.memory_in_use() >= guard.memory() / PART.1 * PART.0
}
