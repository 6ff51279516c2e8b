//! What the processes that run Workers have used is written down here.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use skep_control::{Bills, Reading};
use skep_meter::{Batch, Ledger, LedgerError, Question, Report, Reporter, Verification};
use time::OffsetDateTime;

use crate::Tell;

/// The ledger's folder, in the data directory.
const FOLDER: &str = "usage";
/// How often it is looked whether the ledger's journal is to be closed.
const TEND: Duration = Duration::from_secs(60);
/// How often it is told that usage cannot be written down, as long as that is so.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Damages that are told at the start; `skep usage verify` shows all.
const MOST_TOLD: usize = 10;

/// Writes down what was used.
pub(crate) struct Metering {
    ledger: Arc<Ledger>,
    tell: Tell,
    /// When it was told last that it cannot be written down. Nothing while it can.
    failing: Mutex<Option<Instant>>,
}

impl Metering {
    /// Opens the ledger of a data directory.
    pub(crate) fn open(data_dir: &Path, tell: Tell) -> Result<Arc<Self>, LedgerError> {
        let ledger = Arc::new(Ledger::open(&data_dir.join(FOLDER))?);
        Ok(Arc::new(Self { ledger, tell, failing: Mutex::default() }))
    }

    /// Writes down what a process has used. It is on the disk when this is done. If it fails, the process comes with the same again.
    pub(crate) async fn take(&self, batch: Batch) -> Result<(), String> {
        let written = self.with_ledger(move |ledger| ledger.append(OffsetDateTime::now_utc(), &batch)).await;
        self.note(written.as_ref().err());
        written.map(drop)
    }

    /// Tells whoever runs the platform when usage cannot be written down, and when it can again.
    fn note(&self, error: Option<&String>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match (error, *failing) {
            (None, None) => {}
            (None, Some(_)) => {
                *failing = None;
                drop(failing);
                (self.tell)("Usage is written down again: nothing was lost");
            }
            (Some(_), Some(told)) if told.elapsed() < TELL_AGAIN => {}
            (Some(error), _) => {
                *failing = Some(Instant::now());
                drop(failing);
                (self.tell)(&format!(
                    "Usage cannot be written down: {error}. Requests go on and are counted in memory; make room on the disk, or what is counted is lost with the process"
                ));
            }
        }
    }

    /// Does something with the ledger that takes as long as reading it.
    async fn with_ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, String> {
        let ledger = Arc::clone(&self.ledger);
        match tokio::task::spawn_blocking(move || work(&ledger)).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("the platform is stopping".to_owned()),
        }
    }

    /// Keeps the ledger in order, for ever.
    pub(crate) async fn tend(self: Arc<Self>) {
        match self.with_ledger(Ledger::verify).await {
            Ok(verification) => {
                for damage in verification.damages.iter().take(MOST_TOLD) {
                    (self.tell)(&format!("The ledger of usage is damaged: {damage}. Everything else is read"));
                }
            }
            Err(error) => (self.tell)(&format!("The ledger of usage cannot be checked: {error}")),
        }
        let mut ticks = tokio::time::interval(TEND);
        loop {
            ticks.tick().await;
            if let Err(error) = self.with_ledger(Ledger::tend).await {
                self.note(Some(&error));
            }
        }
    }
}

/// What the control plane is told of it.
pub(crate) struct OfLedger(pub(crate) Arc<Metering>);

impl Bills for OfLedger {
    fn report(&self, question: Question) -> Reading<'_, Report> {
        Box::pin(self.0.with_ledger(move |ledger| {
            let mut reporter = Reporter::new(question);
            let (from, to) = (reporter.question().from, reporter.question().to);
            ledger.read(from, to, |minute, entry| reporter.add(minute, entry))?;
            Ok(reporter.finish())
        }))
    }

    fn verify(&self) -> Reading<'_, Verification> {
        Box::pin(self.0.with_ledger(Ledger::verify))
    }
}
