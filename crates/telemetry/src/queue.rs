//! Spans that wait to be sent: bounded in number and in bytes, and nobody waits to put one in. The oldest go when there is no room.
//!
//! Each span that was put in has a number. Those that wait are the latest ones, without a gap, as they leave at the front only: sent or dropped.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::{Span, Stats};

/// The most bytes of spans in one batch, about: collectors take some megabytes.
const BATCH_BYTES: usize = 4 << 20;

/// How much there is room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) spans: usize,
    pub(crate) bytes: usize,
    pub(crate) batch: usize,
}

/// Spans that wait.
pub(crate) struct Queue {
    state: Mutex<State>,
    room: Room,
    /// Told to the one who sends, when there may be something to do.
    news: Notify,
    /// Told to those who flush, when something has left.
    left: Notify,
}

#[derive(Default)]
struct State {
    /// With the bytes of each.
    spans: VecDeque<(usize, Span)>,
    bytes: usize,
    /// How many were ever put in: the number of the next one.
    next: u64,
    /// What is being sent.
    sending: Option<Sending>,
    /// Who flushes waits until all before this number have left.
    wanted: u64,
    /// Whether a pause between tries is to be cut short.
    hurry: bool,
    stats: Stats,
}

/// A batch that is being sent.
#[derive(Clone, Copy)]
struct Sending {
    /// The number of its first span.
    first: u64,
    spans: usize,
}

impl Queue {
    pub(crate) fn new(room: Room) -> Self {
        Self { state: Mutex::default(), room, news: Notify::new(), left: Notify::new() }
    }

    /// Puts spans in. Does not wait.
    pub(crate) fn push(&self, spans: impl IntoIterator<Item = Span>) {
        // Whatever the iterator does, it does not do it while others wait for the lock; and what is dropped is freed after it.
        let spans: Vec<(usize, Span)> = spans.into_iter().map(|span| (span.weight(), span)).collect();
        let mut dropped = Vec::new();
        let mut state = self.lock();
        let (was_empty, was_ready) = (state.spans.is_empty(), state.is_ready(&self.room));
        for (bytes, span) in spans {
            if bytes > self.room.bytes {
                state.stats.dropped += 1;
                dropped.push((bytes, span));
                continue;
            }
            state.next += 1;
            state.bytes += bytes;
            state.spans.push_back((bytes, span));
            while state.spans.len() > self.room.spans || state.bytes > self.room.bytes {
                let Some((bytes, span)) = state.spans.pop_front() else { break };
                state.bytes -= bytes;
                state.stats.dropped += 1;
                dropped.push((bytes, span));
            }
        }
        let news = was_empty && !state.spans.is_empty() || !was_ready && state.is_ready(&self.room);
        drop(state);
        if news {
            self.news.notify_one();
        }
        if !dropped.is_empty() {
            self.left.notify_waiters();
        }
    }

    /// Waits until there is a batch: a full one, or one whose first span has waited for so long, or one that somebody flushes.
    pub(crate) async fn filled(&self, interval: Duration) {
        self.until(|state, _| !state.spans.is_empty()).await;
        // When time is over, what is there is the batch.
        let _ = tokio::time::timeout(interval, self.until(State::is_ready)).await;
    }

    /// Whether there is a batch that need not wait.
    pub(crate) fn is_ready(&self) -> bool {
        self.lock().is_ready(&self.room)
    }

    /// Takes a batch, if there is anything. It is being sent until [`Self::settle`].
    pub(crate) fn take(&self) -> Vec<Span> {
        let mut state = self.lock();
        let first = state.first();
        let mut batch = Vec::new();
        let mut taken = 0;
        while batch.len() < self.room.batch
            && let Some((bytes, span)) =
                state.spans.pop_front_if(|(bytes, _)| taken == 0 || taken + *bytes <= BATCH_BYTES)
        {
            taken += bytes;
            batch.push(span);
        }
        state.bytes -= taken;
        state.sending = (!batch.is_empty()).then_some(Sending { first, spans: batch.len() });
        batch
    }

    /// The batch has left: it is counted where it belongs.
    pub(crate) fn settle(&self, count: impl FnOnce(&mut Stats)) {
        let mut state = self.lock();
        state.sending = None;
        count(&mut state.stats);
        drop(state);
        self.left.notify_waiters();
    }

    /// A try begins: whoever was in a hurry before gets it.
    pub(crate) fn trying(&self) {
        self.lock().hurry = false;
    }

    /// Waits until somebody is in a hurry.
    pub(crate) async fn hurried(&self) {
        self.until(|state, _| state.hurry).await;
    }

    /// Sends all that is there now, and waits until it has left.
    pub(crate) async fn flush(&self) {
        let wanted = {
            let mut state = self.lock();
            state.wanted = state.next;
            state.hurry = true;
            state.wanted
        };
        self.news.notify_one();
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // From here on nothing is missed, whoever is faster.
            left.as_mut().enable();
            if self.lock().oldest() >= wanted {
                return;
            }
            left.await;
        }
    }

    /// How many spans have not left.
    pub(crate) fn waiting(&self) -> usize {
        let state = self.lock();
        state.spans.len() + state.sending.map_or(0, |sending| sending.spans)
    }

    pub(crate) fn stats(&self) -> Stats {
        self.lock().stats
    }

    /// Waits until something is so. For the one who sends only: news are told to one.
    async fn until(&self, is_so: impl Fn(&State, &Room) -> bool) {
        while !is_so(&self.lock(), &self.room) {
            self.news.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The number of the first span that waits.
    fn first(&self) -> u64 {
        self.next - self.spans.len() as u64
    }

    /// The number of the first span that has not left.
    fn oldest(&self) -> u64 {
        self.sending.map_or(self.first(), |sending| sending.first)
    }

    fn is_ready(&self, room: &Room) -> bool {
        self.spans.len() >= room.batch || self.bytes >= BATCH_BYTES || self.first() < self.wanted
    }
}
