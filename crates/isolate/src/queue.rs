//! The events that wait for an isolate's thread, and how long that takes: what those look at who choose an isolate for an event.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use skep_exchange::Reply;
use skep_exchange::rpc::Ending;
use tokio::sync::mpsc;

use crate::line::Line;
use crate::thread::Command;
use crate::watchdog::Clock;

/// A round that lasts longer keeps those waiting who could be served elsewhere.
const STUCK: Duration = Duration::from_millis(10);
/// The weight of the past in what a round is expected to take: 7 parts in 8.
const PAST: u64 = 7;

/// Events of an isolate that say little of those that come after them.
const LEARNING: u64 = 100;

/// Nanoseconds of the monotonic clock, never 0. Not an `Instant`: several are taken for each event, and to
/// subtract them is dear.
pub(crate) fn now() -> u64 {
    Clock::MONOTONIC.now().max(1)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How busy an isolate's thread is. A round is what the thread does from when it wakes until it has nothing left to do. What is expected of
/// rounds is CPU time: that a machine is busy with other things says nothing about a Worker.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// When the round began, 0 between rounds.
    round: AtomicU64,
    /// What a round is expected to take, in nanoseconds.
    typical: AtomicU64,
    /// What an event is expected to take in the round that begins it, in nanoseconds.
    cost: AtomicU64,
    /// All rounds together since somebody asked, in nanoseconds.
    busy: AtomicU64,
    /// Events that will be sent by those who were called out of the line.
    reserved: AtomicU32,
    /// When an event last began.
    used: AtomicU64,
    /// How many have begun.
    events: AtomicU64,
}

impl Load {
    pub(crate) fn begin_round(&self) {
        self.round.store(now(), Ordering::SeqCst);
    }

    /// The round is over, in which this many events began. It took this much CPU time, in nanoseconds.
    pub(crate) fn end_round(&self, events: u32, took: u64) {
        // The first events compile what they run: as long as they become quicker, only the last one counts.
        let learns = self.events.load(Ordering::Relaxed) < LEARNING;
        let mix = |value: &AtomicU64, new: u64| {
            let old = value.load(Ordering::Relaxed);
            let mixed = if old == 0 || (learns && new < old) { new } else { (old * PAST + new) / (PAST + 1) };
            value.store(mixed.max(1), Ordering::Relaxed);
        };
        mix(&self.typical, took);
        if events > 0 {
            mix(&self.cost, took / u64::from(events));
            self.touch();
            self.events.fetch_add(u64::from(events), Ordering::Relaxed);
        }
        self.busy.fetch_add(took, Ordering::Relaxed);
        self.round.store(0, Ordering::SeqCst);
    }

    /// How long the thread has been in its round; nothing between rounds.
    pub(crate) fn in_round(&self, now: u64) -> Option<Duration> {
        let begin = self.round.load(Ordering::SeqCst);
        (begin != 0).then(|| Duration::from_nanos(now.saturating_sub(begin)))
    }

    /// How long an event waits that comes behind this many others: nothing if nobody knows, because the thread has been in its
    /// round for longer than that should take.
    fn expected_wait(&self, waiting: usize, now: u64) -> Option<Duration> {
        let waiting = waiting as u64 + u64::from(self.reserved.load(Ordering::SeqCst));
        let before = waiting.saturating_mul(self.cost.load(Ordering::Relaxed));
        let rest = match self.in_round(now) {
            None => 0,
            Some(age) => {
                let (age, typical) = (nanoseconds(age), self.typical.load(Ordering::Relaxed));
                if age > typical.max(nanoseconds(STUCK)) {
                    return None;
                }
                typical.saturating_sub(age)
            }
        };
        Some(Duration::from_nanos(before.saturating_add(rest)))
    }

    /// What an event is expected to take in the round that begins it.
    pub(crate) fn cost(&self) -> Duration {
        Duration::from_nanos(self.cost.load(Ordering::Relaxed))
    }

    /// How long ago an event last began.
    pub(crate) fn idle(&self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.used.load(Ordering::Relaxed)))
    }

    /// How many events have begun.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// An event begins, or may.
    pub(crate) fn touch(&self) {
        self.used.store(now(), Ordering::Relaxed);
    }

    /// Time that the thread was in rounds since this was asked last.
    pub(crate) fn take_busy(&self) -> Duration {
        Duration::from_nanos(self.busy.swap(0, Ordering::Relaxed))
    }

    pub(crate) fn reserve(&self) {
        self.reserved.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn unreserve(&self) {
        self.reserved.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The events that wait for one isolate's thread.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// How busy the thread is.
    pub(crate) load: Arc<Load>,
    /// Where events wait that could be served elsewhere. Nothing if there is no elsewhere.
    pub(crate) line: Option<Arc<Line>>,
}

struct Waiting {
    receiver: mpsc::Receiver<Command>,
    /// What was looked through, and must be handled here.
    kept: VecDeque<Command>,
}

impl Queue {
    pub(crate) fn new(receiver: mpsc::Receiver<Command>, load: Arc<Load>, line: Option<Arc<Line>>) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::new(Waiting { receiver, kept: VecDeque::new() }), load, line })
    }

    /// The next command, for the isolate's own thread. Ready with nothing when nobody can send any more.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Command>> {
        let mut waiting = self.lock();
        match waiting.kept.pop_front() {
            Some(command) => Poll::Ready(Some(command)),
            None => waiting.receiver.poll_recv(context),
        }
    }

    /// Whether the thread could begin an event now, and nobody has sent one.
    pub(crate) fn is_free(&self) -> bool {
        let waiting = self.lock();
        waiting.kept.is_empty() && waiting.receiver.is_empty() && self.load.reserved.load(Ordering::SeqCst) == 0
    }

    /// Gives those back who wait for a thread that is stuck, if they can be served elsewhere: for the watchdog.
    pub(crate) fn relieve(&self) {
        if self.line.is_none() || self.load.in_round(now()).is_none_or(|age| age < STUCK) {
            return;
        }
        // The thread itself holds the lock for moments only, and then it is not stuck.
        let Ok(mut waiting) = self.waiting.try_lock() else { return };
        while let Ok(command) = waiting.receiver.try_recv() {
            if let Some(command) = refuse(command) {
                waiting.kept.push_back(command);
            }
        }
    }

    /// Takes no more commands, and gives back those that nobody has looked at.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.receiver.close();
        while let Ok(command) = waiting.receiver.try_recv() {
            drop(refuse(command));
        }
        // Dropping a waiter says the same.
        waiting.kept.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives an event back that another isolate can handle. Gives the command if there is no such event in it.
fn refuse(command: Command) -> Option<Command> {
    match command {
        Command::Fetch { request, waiter, .. } => drop(waiter.send(Reply::NotStarted(request))),
        Command::Rpc { opening, waiter, .. } => drop(waiter.send(Ending::NotStarted(opening))),
        Command::Run { .. } | Command::Cancel(_) => return Some(command),
    }
    None
}

/// How long an event would wait for a thread, with this many before it; nothing if nobody knows.
pub(crate) fn expected_wait(load: &Load, waiting: usize) -> Option<Duration> {
    load.expected_wait(waiting, now())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Load, now};

    fn load(typical_ms: u64, cost_ms: u64) -> Load {
        let load = Load::default();
        load.typical.store(typical_ms * 1_000_000, std::sync::atomic::Ordering::Relaxed);
        load.cost.store(cost_ms * 1_000_000, std::sync::atomic::Ordering::Relaxed);
        load
    }

    #[test]
    fn a_wait_is_what_is_before_and_the_rest_of_the_round() {
        let load = load(20, 20);
        assert_eq!(load.expected_wait(0, now()), Some(Duration::ZERO));
        assert_eq!(load.expected_wait(2, now()), Some(Duration::from_millis(40)));
        load.reserve();
        assert_eq!(load.expected_wait(2, now()), Some(Duration::from_millis(60)));
        load.unreserve();
        load.begin_round();
        let begun = load.round.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(load.expected_wait(1, begun + 5_000_000), Some(Duration::from_millis(35)));
        assert_eq!(load.expected_wait(0, begun + 20_000_001), None);
    }

    #[test]
    fn a_thread_that_was_quick_is_stuck_after_a_while_only() {
        let load = load(0, 0);
        load.begin_round();
        let begun = load.round.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(load.expected_wait(0, begun + 9_000_000), Some(Duration::ZERO));
        assert_eq!(load.expected_wait(0, begun + 11_000_000), None);
    }

    #[test]
    fn what_the_first_events_compile_is_not_what_an_event_costs() {
        let load = Load::default();
        for took in [8_000_000, 900_000, 90_000] {
            load.end_round(1, took);
        }
        assert_eq!(load.cost(), Duration::from_micros(90));
        // One that takes longer is a part of what is to be expected, at any time.
        load.end_round(1, 890_000);
        assert_eq!(load.cost(), Duration::from_micros(190));
        load.end_round(200, 200 * 190_000);
        load.end_round(1, 110_000);
        assert_eq!(load.cost(), Duration::from_micros(180));
    }

    #[test]
    fn rounds_teach_what_events_cost() {
        let load = Load::default();
        load.begin_round();
        load.end_round(0, 5);
        assert_eq!(load.cost(), Duration::ZERO);
        load.begin_round();
        load.end_round(4, 400);
        assert_eq!((load.cost(), load.take_busy()), (Duration::from_nanos(100), Duration::from_nanos(405)));
        assert!(load.in_round(now()).is_none());
    }
}
