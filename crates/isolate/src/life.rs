//! Whether an isolate still takes events, for all who hold a handle to it.
//!
//! Usually its own thread says so. The watchdog does when that thread is lost: some of V8's built-in functions cannot be
//! interrupted (`Array.prototype.fill` on a sparse array of two thousand million elements), and who waits must not wait
//! for them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use skep_worker::LimitExceeded;
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Life {
    over: AtomicBool,
    left: AtomicBool,
    lost: OnceLock<LimitExceeded>,
    bell: Notify,
}

impl Life {
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// No event is taken any more.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// The isolate's thread is about to end: every event that it had is over.
    pub(crate) fn leave(&self) {
        self.end();
        self.left.store(true, Ordering::Release);
        self.bell.notify_waiters();
    }

    /// Waits until the isolate's thread has ended, or is lost.
    pub(crate) async fn ended(&self) {
        loop {
            let rings = self.bell.notified();
            if self.left.load(Ordering::Acquire) || self.lost.get().is_some() {
                return;
            }
            rings.await;
        }
    }

    /// The isolate's thread does not stop for this limit: nothing that was given to it will be answered.
    pub(crate) fn lose(&self, exceeded: LimitExceeded) {
        self.end();
        // The first one counts.
        let _ = self.lost.set(exceeded);
        self.bell.notify_waiters();
    }

    /// Waits until the isolate's thread is lost.
    pub(crate) async fn lost(&self) -> LimitExceeded {
        loop {
            let rings = self.bell.notified();
            if let Some(exceeded) = self.lost.get() {
                return *exceeded;
            }
            rings.await;
        }
    }
}
