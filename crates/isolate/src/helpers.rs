//! The CPU time of an isolate's helpers: the threads on which its cryptography runs. It counts like the isolate's own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::watchdog::Clock;

/// The helper threads of one isolate.
#[derive(Default)]
pub(crate) struct Helpers {
    running: AtomicUsize,
    clocks: Mutex<Clocks>,
}

#[derive(Default)]
struct Clocks {
    running: Vec<Clock>,
    /// CPU time of threads that have ended, in nanoseconds.
    ended: u64,
    /// CPU time that was taken account of, in nanoseconds.
    counted: u64,
}

impl Helpers {
    /// CPU time since the last call, in nanoseconds.
    pub(crate) fn take(&self) -> u64 {
        if self.running.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        let used = clocks.ended + clocks.running.iter().map(|clock| clock.now()).sum::<u64>();
        used.saturating_sub(std::mem::replace(&mut clocks.counted, used))
    }
}

/// What a new helper thread calls.
pub(crate) fn enter(helpers: &Arc<Helpers>) -> impl Fn() + Send + Sync + 'static {
    let helpers = Arc::clone(helpers);
    move || {
        helpers.clocks.lock().unwrap_or_else(PoisonError::into_inner).running.push(Clock::of_this_thread());
        helpers.running.fetch_add(1, Ordering::AcqRel);
    }
}

/// What a helper thread calls when it ends.
pub(crate) fn leave(helpers: &Arc<Helpers>) -> impl Fn() + Send + Sync + 'static {
    let helpers = Arc::clone(helpers);
    move || {
        let mut clocks = helpers.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        let own = Clock::of_this_thread();
        clocks.ended += own.now();
        clocks.running.retain(|clock| *clock != own);
    }
}
