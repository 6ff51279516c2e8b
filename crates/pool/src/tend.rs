//! What becomes of versions that nobody asks for, and what is done when memory is short.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::keep_alive::Window;
use crate::pool::{Loaded, Pool};
use crate::supply::{Capacity, ISOLATE, Starts, Waited};

/// How long a version stays loaded that is not deployed any more, or never was: it may be asked for at an address of its own.
const REPLACED: Duration = Duration::from_secs(10);
/// How long an isolate stays that is not a version's only one.
const ANOTHER: Duration = Duration::from_secs(10);
/// A version that was asked for within this time is in use: it makes no room.
const IN_USE: Duration = Duration::from_secs(1);

/// What a pool has and does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Versions that are loaded.
    pub versions: usize,
    /// Their isolates.
    pub isolates: usize,
    /// Isolates that wait for a version.
    pub spares: usize,
    /// Events in line for an isolate.
    pub waiting: usize,
    /// Time that isolates were busy, since the pool began.
    pub busy: Duration,
    /// Events that have been in line.
    pub line: Waited,
    /// What was started.
    pub starts: Starts,
}

impl Pool {
    /// How many isolates there may be.
    pub fn capacity(&self) -> &Capacity {
        self.isolates.capacity()
    }

    /// What the pool has and does.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage {
            isolates: self.isolates.len(),
            spares: self.isolates.spares(),
            starts: self.isolates.starts(),
            busy: self.isolates.busy(),
            line: self.isolates.line(),
            ..Usage::default()
        };
        for loaded in self.versions.pin().values() {
            usage.versions += 1;
            if let Some(slot) = &loaded.slot {
                usage.waiting += slot.usage().waiting;
            }
        }
        usage
    }

    /// Lets go of what is not worth its memory, and has isolates started for visits that are to be expected. `memory` is what the process
    /// has, in bytes. For calling every few seconds. What is being handled is finished. Gives whether isolates have ended since the last call.
    pub fn tend(&self, memory: u64) -> bool {
        let now = self.now();
        self.versions.pin().retain(|version, loaded| self.keep(*version, loaded, now));
        self.caches.pin().retain(|worker, _| self.directory.worker(*worker).is_some());
        self.visits.pin().retain(|worker, _| self.directory.worker(*worker).is_some());
        self.rates().sweep();
        let limit = self.isolates.capacity().memory;
        if memory > limit {
            self.isolates.drop_spares();
            let most = usize::try_from((memory - limit).div_ceil(ISOLATE)).unwrap_or(usize::MAX);
            self.evict(most, None, None);
        }
        self.isolates.fewer()
    }

    /// Whether a version stays loaded. Its isolates come and go here.
    fn keep(&self, version: Uuid, loaded: &Arc<Loaded>, now: u64) -> bool {
        let idle = idle(loaded, now);
        if let Some(slot) = &loaded.slot {
            self.isolates.add_busy(slot.take_busy());
        }
        let worker = self.directory.worker(loaded.worker);
        let is_live = worker.is_some_and(|worker| worker.deployment().iter().any(|share| share.version_id == version));
        if !is_live {
            return idle < REPLACED;
        }
        let window = self.window(loaded.worker);
        let Some(slot) = &loaded.slot else { return idle < window.end };
        let first = if window.holds(idle) { Duration::MAX } else { ANOTHER };
        let isolates = slot.shrink(first, ANOTHER);
        if isolates == 0 && window.start > Duration::ZERO && window.holds(idle) {
            let slot = Arc::clone(slot);
            // Who comes in vain is told by the next visit.
            self.environment.runtime.spawn(async move { drop(slot.isolate().await) });
        }
        let stays = idle < window.end.max(ANOTHER);
        if !stays {
            self.with_visits(loaded.worker, |visits| visits.last = Some(loaded.used.load(Ordering::Relaxed)));
        }
        stays
    }

    fn window(&self, worker: Uuid) -> Window {
        let all = self.visits.pin();
        let window = all.get(&worker).map(|visits| visits.lock().unwrap_or_else(PoisonError::into_inner).idle.window());
        match window {
            Some(window) if window != Window::UNKNOWN => window,
            _ => Window { start: Duration::ZERO, end: self.isolates.capacity().keep_alive },
        }
    }

    /// Makes room for the first isolate of a version: another one goes that is worth less. Of the same account, if that has too many.
    pub(crate) fn make_room(&self, version: Uuid, account: &Arc<str>) {
        let of_account = self.isolates.is_full(account).then_some(account);
        self.evict(1, Some(version), of_account);
    }

    /// Lets go of the isolates of versions that are the furthest in their windows, until this many have gone.
    fn evict(&self, most: usize, except: Option<Uuid>, account: Option<&Arc<str>>) {
        let now = self.now();
        let versions = self.versions.pin();
        let mut candidates: Vec<(f64, &Arc<Loaded>)> = versions
            .iter()
            .filter(|(version, loaded)| {
                Some(**version) != except && account.is_none_or(|account| *account == loaded.account)
            })
            .filter(|(_, loaded)| idle(loaded, now) > IN_USE)
            .map(|(_, loaded)| {
                let part = idle(loaded, now).as_secs_f64() / self.window(loaded.worker).end.as_secs_f64().max(1.0);
                (part, loaded)
            })
            .collect();
        candidates.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let mut gone = 0;
        for (_, loaded) in candidates {
            let Some(slot) = &loaded.slot else { continue };
            let before = slot.usage().isolates;
            gone += before - slot.shrink(IN_USE, IN_USE).min(before);
            if gone >= most {
                return;
            }
        }
    }
}

fn idle(loaded: &Loaded, now: u64) -> Duration {
    Duration::from_millis(now.saturating_sub(loaded.used.load(Ordering::Relaxed)))
}
