//! What the processes that run Workers have used is written down here, priced, and held against what may be used.

mod accounts;
mod bills;
mod closing;
mod health;
mod plans;
mod warnings;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skep_link::wire::Gate;
use skep_meter::{Batch, Books, Ledger, LedgerError, Minute, Month, Plan, Standing, Verdict};
use skep_store::Store;
use time::OffsetDateTime;
use tokio::sync::RwLock;

use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::metering::accounts::Accounts;
use crate::metering::warnings::{Told, Warning};
use crate::runtimes::Runtimes;
use crate::settings::Settings;
use crate::{ServeError, Tell};

pub(crate) use bills::OfLedger;
pub(crate) use health::Health;
pub use plans::PlansError;

/// The ledger's folder, in the data directory.
const FOLDER: &str = "usage";
/// Damages that are told at the start; `skep usage verify` shows all.
const MOST_TOLD: usize = 10;
/// How often it is looked whether the ledger's journal is to be closed, and a month is over.
const TEND: Duration = Duration::from_secs(60);
/// How often it is looked whether who has reached a limit may go on.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is told that usage cannot be written down, as long as that is so.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Writes down what was used, and says who may use more.
pub(crate) struct Metering {
    ledger: Arc<Ledger>,
    store: Store,
    runtimes: Arc<Runtimes>,
    delivery: Arc<Delivery>,
    tell: Tell,
    clock: Clock,
    plans: Vec<Plan>,
    /// The plan of accounts that have none.
    default: String,
    state: Mutex<State>,
    /// When it was told last that it cannot be written down. Nothing while it can.
    failing: Mutex<Option<Instant>>,
    /// When it could not be written down the last time, by the clock.
    failed: Mutex<Option<OffsetDateTime>>,
    /// Months that are closed.
    closed: Mutex<BTreeSet<Month>>,
    /// Shared by those who write something down, held by who closes a month.
    writing: RwLock<()>,
    counts: health::Counts,
}

#[derive(Default)]
struct State {
    books: Books,
    accounts: Accounts,
    /// Verdicts that processes were told, by account.
    standing: HashMap<String, Standing>,
    told: Told,
}

impl Metering {
    /// Opens the ledger of a data directory, and reads from it what accounts have used.
    ///
    /// # Errors
    /// When it cannot be read, or a plan is none.
    pub(crate) async fn open(
        settings: &Settings,
        store: Store,
        runtimes: Arc<Runtimes>,
        delivery: &Arc<Delivery>,
        tell: &Tell,
        clock: Clock,
    ) -> Result<Arc<Self>, ServeError> {
        let plans = plans::read(settings.plans.as_deref(), &settings.plan)?;
        let folder = settings.data_dir.join(FOLDER);
        let months = store.invoiced_months().await?;
        let closed: BTreeSet<Month> = months.iter().filter_map(|month| month.parse().ok()).collect();
        let now = clock();
        let opened = tokio::task::spawn_blocking(move || -> Result<_, LedgerError> {
            let ledger = Ledger::open(&folder)?;
            let (mut books, mut last) = (Books::default(), HashMap::new());
            // The month before as well, for a clock that is set back, and the one after it for one that was.
            let this = Month::at(now);
            let first = Month::at(this.begins() - time::Duration::DAY).begins();
            ledger.read(first.date(), Month::at(this.ends()).ends().date(), |minute, entry| {
                books.add(minute, entry);
                see_last(&mut last, minute, &entry.account);
            })?;
            Ok((ledger, books, last))
        });
        let (ledger, books, last) = opened.await.map_err(std::io::Error::other)??;
        let metering = Arc::new(Self {
            ledger: Arc::new(ledger),
            store,
            runtimes,
            delivery: Arc::clone(delivery),
            tell: Arc::clone(tell),
            clock,
            plans,
            default: settings.plan.clone(),
            state: Mutex::new(State { books, ..State::default() }),
            failing: Mutex::default(),
            failed: Mutex::default(),
            closed: Mutex::new(closed),
            writing: RwLock::default(),
            counts: health::Counts::new(settings.data_dir.join(FOLDER)),
        });
        metering.read_agreements(last).await?;
        Ok(metering)
    }

    /// The ledger.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what a process has used, and counted so long ago. It is on the disk when this is done. If it fails, the process comes with the
    /// same again.
    pub(crate) async fn take(self: &Arc<Self>, batch: Batch, age: Duration) -> Result<(), String> {
        let writing = self.writing.read().await;
        let (at, batch) = (self.billed_at(age), Arc::new(batch));
        let written = {
            let batch = Arc::clone(&batch);
            self.with_ledger(move |ledger| ledger.append(at, &batch)).await
        };
        drop(writing);
        self.note(written.as_ref().err());
        if !written? {
            return Ok(());
        }
        self.counts.taken();
        let accounts: BTreeSet<&str> = batch.entries.iter().map(|entry| &*entry.account).collect();
        let mut state = self.state();
        let (minute, now) = (Minute::of(at), self.now());
        batch.entries.iter().for_each(|entry| state.books.add(minute, entry));
        let warnings = accounts.into_iter().flat_map(|account| self.judge(&mut state, account, now)).collect();
        drop(state);
        self.warn(warnings);
        Ok(())
    }

    /// Looks where an account stands, and tells those who run its Workers if that has changed. Gives what its owner is to be told.
    fn judge(&self, state: &mut State, account: &str, now: OffsetDateTime) -> Vec<Warning> {
        let (plan, terms) = state.accounts.of(account);
        let plan = self.plan(plan);
        let standing = match terms {
            None if plan.limits.is_none() && plan.cap.is_none() => Standing::default(),
            terms => state.books.standing(account, plan, terms.unwrap_or(&accounts::NONE), now),
        };
        let before = state.standing.get(account);
        let gate = |verdict: &Verdict| Gate {
            per_second: verdict.per_second,
            reason: verdict.reason.clone(),
            until: verdict.until,
        };
        if before.and_then(|before| before.account.as_ref()) != standing.account.as_ref() {
            self.runtimes.limit(account, None, standing.account.as_ref().map(gate).as_ref());
        }
        let workers = before.into_iter().flat_map(|before| before.workers.keys()).chain(standing.workers.keys());
        for worker in workers.collect::<BTreeSet<_>>() {
            let (was, is) = (before.and_then(|before| before.workers.get(worker)), standing.workers.get(worker));
            if was != is {
                self.runtimes.limit(account, Some(worker), is.map(gate).as_ref());
            }
        }
        let warnings = self.reached(state, account, &standing, now);
        match standing.account.is_none() && standing.workers.is_empty() {
            true => state.standing.remove(account),
            false => state.standing.insert(account.to_owned(), standing),
        };
        warnings
    }

    /// Tells whoever runs the platform when usage cannot be written down, and when it can again.
    fn note(&self, error: Option<&String>) {
        if error.is_some() {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.clock)());
        }
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

    /// Keeps the ledger in order, and makes invoices of months that are over, for ever.
    pub(crate) async fn tend(self: Arc<Self>) {
        match self.with_ledger(Ledger::verify).await {
            Ok(verification) => {
                self.counts.damaged(verification.damages.len());
                for damage in verification.damages.iter().take(MOST_TOLD) {
                    (self.tell)(&format!("The ledger of usage is damaged: {damage}. Everything else is read"));
                }
            }
            Err(error) => (self.tell)(&format!("The ledger of usage cannot be checked: {error}")),
        }
        let mut ticks = tokio::time::interval(TEND);
        let mut invoiced = None;
        loop {
            ticks.tick().await;
            if let Err(error) = self.with_ledger(Ledger::tend).await {
                self.note(Some(&error));
            }
            let month = Month::at(self.now());
            if invoiced != Some(month) {
                match self.invoice_month_before(month).await {
                    Ok(true) => invoiced = Some(month),
                    Ok(false) => {}
                    Err(error) => (self.tell)(&format!("Invoices cannot be made: {error}")),
                }
            }
        }
    }

    /// Lets those go on whose day or month is over, for ever.
    pub(crate) async fn look(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            ticks.tick().await;
            let mut state = self.state();
            let accounts: Vec<String> = state.standing.keys().cloned().collect();
            let now = self.now();
            let warnings = accounts.iter().flat_map(|account| self.judge(&mut state, account, now)).collect();
            drop(state);
            self.warn(warnings);
        }
    }
}

/// Notes when an account last used something.
fn see_last(last: &mut HashMap<String, Minute>, minute: Minute, account: &str) {
    match last.get_mut(account) {
        Some(known) => *known = (*known).max(minute),
        None => drop(last.insert(account.to_owned(), minute)),
    }
}

#[cfg(test)]
mod tests;
