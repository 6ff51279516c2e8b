//! What failed and is kept, and what people decide of it: it is sent again, or let go of.

use time::OffsetDateTime;

use super::log::Record;
use super::queue::{Entry, Failure, Queue};
use super::{Inner, Outbox, OutboxError, moment, now};
use crate::Item;

/// An item that will not be delivered, and is kept until somebody decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its idempotency key.
    pub id: String,
    /// The item.
    pub item: Item,
    /// Why, as a sentence without its end.
    pub reason: String,
    /// Since when that is known.
    pub at: OffsetDateTime,
}

/// Which of what failed is meant: all of it, if nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// What failed at this destination.
    pub destination: Option<String>,
    /// What has one of these idempotency keys.
    pub ids: Option<Vec<String>>,
}

/// What is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// What had failed.
    pub failed: Vec<Failed>,
    /// Items that waited for the next try, which is now.
    pub waiting: usize,
}

// === impl Which ===

impl Which {
    /// What failed at a destination.
    pub fn of(destination: impl Into<String>) -> Self {
        Self { destination: Some(destination.into()), ids: None }
    }

    fn has_destination(&self, destination: &str) -> bool {
        self.destination.as_ref().is_none_or(|meant| meant == destination)
    }

    fn has(&self, id: &str) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.iter().any(|meant| meant == id))
    }
}

// === impl Failed ===

impl Failed {
    fn of((entry, failure): &(Entry, Failure)) -> Self {
        Self {
            id: entry.id.clone(),
            item: Item::clone(&entry.item),
            reason: failure.reason.clone(),
            at: moment(failure.at),
        }
    }
}

// === impl Outbox ===

impl Outbox {
    /// What failed and is kept: by destination, and the oldest failure first.
    pub fn failed(&self, which: &Which) -> Vec<Failed> {
        let inner = self.lock();
        let queues = inner.state.queues.iter().filter(|(destination, _)| which.has_destination(destination));
        let all = queues.flat_map(|(_, queue)| &queue.failed);
        all.filter(|(entry, _)| which.has(&entry.id)).map(Failed::of).collect()
    }

    /// Sends what failed again, after what waits there and with the same keys: when what was wrong is mended. What waits for the next try is tried
    /// at once, unless only some items are meant.
    ///
    /// # Errors
    /// When one of the ids is not known, or it cannot be written down: nothing changed then.
    pub fn retry(&self, which: &Which) -> Result<Retried, OutboxError> {
        let (at, mut inner) = (now(), self.lock());
        let is_late = |destination: &str, queue: &Queue| {
            which.ids.is_none() && which.has_destination(destination) && queue.late.is_some()
        };
        let late = inner.state.queues.iter().filter(|(destination, queue)| is_late(destination, queue));
        let waiting = late.map(|(_, queue)| queue.waiting.len()).sum();
        let again = |destination, number| Record::Again { destination, number, at };
        let failed = self.decide(&mut inner, which, again)?;
        for (_, queue) in inner.state.queues.iter().filter(|(destination, queue)| is_late(destination, queue)) {
            queue.hurry.notify_waiters();
        }
        Ok(Retried { failed, waiting })
    }

    /// Lets go of what failed. Gives what that was.
    ///
    /// # Errors
    /// As [`Self::retry`].
    pub fn forget(&self, which: &Which) -> Result<Vec<Failed>, OutboxError> {
        self.decide(&mut self.lock(), which, |destination, number| Record::Dropped { destination, number })
    }

    /// Writes down what becomes of each item, all at once.
    fn decide(
        &self,
        inner: &mut Inner,
        which: &Which,
        record: impl Fn(String, u64) -> Record,
    ) -> Result<Vec<Failed>, OutboxError> {
        let queues = inner.state.queues.iter().filter(|(destination, _)| which.has_destination(destination));
        let meant = |queue: &Queue| {
            let failed = queue.failed.iter().filter(|(entry, _)| which.has(&entry.id));
            failed.map(|failed| (failed.0.number, Failed::of(failed))).collect::<Vec<_>>()
        };
        let found: Vec<(u64, Failed)> = queues.flat_map(|(_, queue)| meant(queue)).collect();
        let is_there = |id: &&String| found.iter().any(|(_, failed)| failed.id == **id);
        if let Some(unknown) = which.ids.iter().flatten().find(|id| !is_there(id)) {
            return Err(OutboxError::Unknown(unknown.clone()));
        }
        let records = found.iter().map(|(number, failed)| record(failed.item.destination.clone(), *number)).collect();
        self.write(inner, records)?;
        let failed: Vec<Failed> = found.into_iter().map(|(_, failed)| failed).collect();
        for failed in &failed {
            inner.state.queue(&failed.item.destination).news.notify_one();
        }
        Ok(failed)
    }
}
