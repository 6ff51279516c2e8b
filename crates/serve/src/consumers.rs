//! Events that go to other Workers: those that a Worker names in `tail_consumers` get its events in their tail handlers.
//! <https://developers.cloudflare.com/workers/observability/logs/tail-workers/>
//!
//! Each consumer has a bounded queue, and one batch of events under way. Events of tail handlers go to nobody: two that consume each
//! other would never end.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skep_observe::{Told, Trigger};
use skep_pool::{Directory, Worker};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::Tell;
use crate::runtimes::Runtimes;

/// Events that are handed over together.
const TOGETHER: usize = 100;
/// Bytes of events that wait for one consumer.
const MOST_WAITING: usize = 4 << 20;
/// How often it is told at most that a consumer does not get its events.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How long events wait for others.
const GATHER: Duration = Duration::from_millis(100);

/// Where events wait for their consumers.
pub(crate) struct Consumers {
    directory: Arc<Directory>,
    runtimes: Arc<Runtimes>,
    runtime: Handle,
    queues: Mutex<HashMap<Uuid, Queue>>,
    /// Consumers that did not get their events, when that was told, and how many there were since.
    lost: Mutex<HashMap<Uuid, (Instant, u64)>>,
    tell: Tell,
}

/// Events for one consumer, which there is as long as somebody hands them over.
#[derive(Default)]
struct Queue {
    /// Each with the name of its Worker.
    events: VecDeque<(String, String)>,
    bytes: usize,
    dropped: u64,
}

impl Consumers {
    /// Must be called where there is a runtime.
    pub(crate) fn new(directory: Arc<Directory>, runtimes: Arc<Runtimes>, tell: Tell) -> Arc<Self> {
        Arc::new(Self {
            directory,
            runtimes,
            runtime: Handle::current(),
            queues: Mutex::default(),
            lost: Mutex::default(),
            tell,
        })
    }

    /// Takes an event for whoever consumes it. Does not block.
    pub(crate) fn take(self: &Arc<Self>, told: &Told<'_>) {
        if matches!(told.record.trigger, Trigger::Tail { .. }) {
            return;
        }
        let Some(worker) = self.directory.named(told.account, &told.source.worker) else { return };
        for name in worker.consumers() {
            // One that is not there yet, or not any more, gets nothing.
            let Some(consumer) = self.directory.named(told.account, name) else { continue };
            self.put(consumer.id, told.with_secrets(), worker.name.to_string());
        }
    }

    fn put(self: &Arc<Self>, consumer: Uuid, event: String, worker: String) {
        let mut queues = self.queues();
        let idle = !queues.contains_key(&consumer);
        let queue = queues.entry(consumer).or_default();
        if queue.bytes + event.len() > MOST_WAITING {
            queue.dropped += 1;
        } else {
            queue.bytes += event.len();
            queue.events.push_back((event, worker));
        }
        if idle {
            self.runtime.spawn(Arc::clone(self).hand_over(consumer));
        }
    }

    /// Hands events to a consumer until there are none.
    async fn hand_over(self: Arc<Self>, consumer: Uuid) {
        loop {
            tokio::time::sleep(GATHER).await;
            let (batch, dropped) = {
                let mut queues = self.queues();
                let Some(queue) = queues.get_mut(&consumer).filter(|queue| !queue.events.is_empty()) else {
                    queues.remove(&consumer);
                    return;
                };
                let count = queue.events.len().min(TOGETHER);
                let batch: Vec<_> = queue.events.drain(..count).collect();
                queue.bytes -= batch.iter().map(|(event, _)| event.len()).sum::<usize>();
                (batch, std::mem::take(&mut queue.dropped))
            };
            let Some(worker) = self.directory.worker(consumer) else { continue };
            let (events, of): (Vec<String>, Vec<String>) = batch.into_iter().unzip();
            let events = format!("[{}]", events.join(","));
            // What its handler throws is in its own log.
            if let Err(error) = self.runtimes.tail(&worker, &events, &of).await {
                self.lost(&worker, of.len() as u64, &error.to_string());
            }
            if dropped > 0 {
                self.lost(&worker, dropped, "its tail handler is too slow");
            }
        }
    }

    /// Tells whoever runs the platform of events that a consumer does not get, once in a while.
    fn lost(&self, consumer: &Worker, events: u64, why: &str) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.retain(|_, (told, count)| *count > 0 || told.elapsed() < TELL_AGAIN);
        let known = lost.get(&consumer.id).copied();
        let count = known.map_or(0, |(_, count)| count) + events;
        let (told, left) = match known {
            Some((told, _)) if told.elapsed() < TELL_AGAIN => (told, count),
            _ => {
                (self.tell)(&format!("{count} events did not reach the tail handler of {}: {why}", consumer.name));
                (Instant::now(), 0)
            }
        };
        lost.insert(consumer.id, (told, left));
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Uuid, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
