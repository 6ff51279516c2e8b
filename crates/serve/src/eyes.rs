//! What the platform sees of the Workers it runs: live tails get every event, promotions count those that fail.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use skep_observe::{Channel, EventRecord, Exception, LogLine, Observer, Source, Tails, Trigger};
use skep_pool::Worker;
use skep_worker::Outcome;
use uuid::Uuid;

/// Everything that is seen.
pub(crate) struct Eyes {
    tails: Tails,
    /// Of versions that are loaded or being promoted.
    counts: Mutex<HashMap<Uuid, Weak<Counts>>>,
}

/// What a version has answered since the process began.
#[derive(Default)]
pub(crate) struct Counts {
    requests: AtomicU64,
    errors: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Counts {
    /// Requests that were answered, and those of them that failed: with an error that was not caught, at a limit, or with a
    /// status from 500 on.
    pub(crate) fn read(&self) -> (u64, u64) {
        // Errors first: there are never more of them than requests.
        let errors = self.errors.load(Ordering::Acquire);
        (self.requests.load(Ordering::Acquire), errors)
    }

    /// The last error that was not caught.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Eyes {
    pub(crate) fn new(tails: Tails) -> Arc<Self> {
        Arc::new(Self { tails, counts: Mutex::default() })
    }

    pub(crate) fn tails(&self) -> &Tails {
        &self.tails
    }

    /// What counts a version's requests. It counts as long as somebody holds it.
    pub(crate) fn counts(&self, version: Uuid) -> Arc<Counts> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = counts.get(&version).and_then(Weak::upgrade) {
            return counts;
        }
        counts.retain(|_, counts| counts.strong_count() > 0);
        let made = Arc::default();
        counts.insert(version, Arc::downgrade(&made));
        made
    }

    /// Who sees what a version of a Worker does.
    pub(crate) fn observer(&self, worker: &Worker, version: Uuid) -> Arc<dyn Observer> {
        Arc::new(Watch { channel: self.tails.channel(&worker.account_id, &worker.name), counts: self.counts(version) })
    }
}

/// Sees what one version does.
struct Watch {
    channel: Arc<Channel>,
    counts: Arc<Counts>,
}

impl Observer for Watch {
    fn wants_details(&self) -> bool {
        self.channel.is_watched()
    }

    fn log(&self, _: &Source, _: LogLine) {}

    fn exception(&self, _: &Source, exception: Exception) {
        let text = format!("{}: {}", exception.name, exception.message);
        *self.counts.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    fn finished(&self, source: &Source, record: EventRecord) {
        let server_error = matches!(record.trigger, Trigger::Fetch { status: Some(500..), .. });
        let failed = server_error || !matches!(record.outcome, Outcome::Ok | Outcome::Canceled);
        self.counts.requests.fetch_add(1, Ordering::AcqRel);
        if failed {
            self.counts.errors.fetch_add(1, Ordering::AcqRel);
        }
        if record.details.is_some() && self.channel.is_watched() {
            self.channel.send(source, record);
        }
    }
}
