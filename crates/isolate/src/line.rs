//! The line of a version's events that no isolate can begin soon: they are called one by one, in their order, by whichever isolate has
//! nothing to do.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::oneshot;

use crate::slot::Slot;
use crate::{Isolate, StartError};

/// What one who waits is told.
pub(crate) enum Called {
    /// It is his turn.
    Turn(Turn),
    /// There is no isolate, and there will be none.
    Failed(StartError),
}

/// The right to send one event to an isolate. Who does not use it passes it on.
pub(crate) struct Turn {
    isolate: Isolate,
    reserved: bool,
    used: bool,
}

impl Turn {
    /// For an isolate that nobody waits for.
    pub(crate) fn at_once(isolate: Isolate) -> Self {
        Self { isolate, reserved: false, used: false }
    }

    fn reserved(isolate: &Isolate) -> Self {
        isolate.load().reserve();
        Self { isolate: isolate.clone(), reserved: true, used: false }
    }

    /// The isolate that it is for.
    pub(crate) fn isolate(&self) -> &Isolate {
        &self.isolate
    }

    /// Sends an event.
    pub(crate) fn send<T>(mut self, send: impl FnOnce(&Isolate) -> T) -> T {
        self.used = true;
        send(&self.isolate)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.reserved {
            self.isolate.load().unreserve();
            if !self.used
                && let Some(line) = self.isolate.line()
            {
                line.call(&self.isolate);
            }
        }
    }
}

/// Those who wait for a version's isolates.
pub(crate) struct Line {
    most: usize,
    length: AtomicUsize,
    waiting: Mutex<VecDeque<oneshot::Sender<Called>>>,
    /// Whose line it is, for when an isolate ends.
    slot: OnceLock<Weak<Slot>>,
}

impl Line {
    /// A line in which this many may wait.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, length: AtomicUsize::new(0), waiting: Mutex::default(), slot: OnceLock::new() }
    }

    pub(crate) fn belongs_to(&self, slot: Weak<Slot>) {
        // It is set once.
        let _ = self.slot.set(slot);
    }

    /// How many wait, those included who have gone away.
    pub(crate) fn len(&self) -> usize {
        self.length.load(Ordering::SeqCst)
    }

    /// Waits at the end. Nothing if too many wait already.
    pub(crate) fn join(&self) -> Option<oneshot::Receiver<Called>> {
        let mut waiting = self.lock();
        if waiting.len() >= self.most {
            waiting.retain(|waiter| !waiter.is_closed());
        }
        let joined = (waiting.len() < self.most).then(|| {
            let (waiter, called) = oneshot::channel();
            waiting.push_back(waiter);
            called
        });
        self.length.store(waiting.len(), Ordering::SeqCst);
        joined
    }

    /// Calls the first who still waits to an isolate that has nothing to do.
    pub(crate) fn call(&self, isolate: &Isolate) {
        let mut turn = Turn::reserved(isolate);
        loop {
            let first = {
                let mut waiting = self.lock();
                let first = waiting.pop_front();
                self.length.store(waiting.len(), Ordering::SeqCst);
                first
            };
            let Some(first) = first else {
                // Nobody is there to pass it on to.
                turn.used = true;
                return;
            };
            match first.send(Called::Turn(turn)) {
                Ok(()) => return,
                Err(Called::Turn(back)) => turn = back,
                Err(Called::Failed(_)) => return,
            }
        }
    }

    /// Tells all who wait that there will be no isolate.
    pub(crate) fn fail(&self, error: &StartError) {
        let waiting = {
            let mut waiting = self.lock();
            self.length.store(0, Ordering::SeqCst);
            std::mem::take(&mut *waiting)
        };
        for waiter in waiting {
            // Who has gone away need not know.
            drop(waiter.send(Called::Failed(error.clone())));
        }
    }

    /// Whose line it is, as long as that is there.
    pub(crate) fn slot(&self) -> Option<Arc<Slot>> {
        self.slot.get().and_then(Weak::upgrade)
    }

    /// An isolate has ended: those who wait may need another one.
    pub(crate) fn isolate_ended(&self) {
        if self.len() > 0
            && let Some(slot) = self.slot()
        {
            slot.grow();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<oneshot::Sender<Called>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
