//! What the processes that run Workers have used is written down here, priced, and held against what may be used.

mod accounts;
mod bills;
mod health;
mod plans;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skep_deliver::{Alert, Severity};
use skep_link::wire::Gate;
use skep_meter::{Batch, Books, Ledger, LedgerError, Measure, MeasureKind, Minute, Month, Plan, Standing, Verdict};
use skep_store::{Actor, Store};
use time::OffsetDateTime;
use tokio::task::JoinHandle;

use crate::delivery::Delivery;
use crate::metering::accounts::Accounts;
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
    plans: Vec<Plan>,
    /// The plan of accounts that have none.
    default: String,
    state: Mutex<State>,
    /// When it was told last that it cannot be written down. Nothing while it can.
    failing: Mutex<Option<Instant>>,
    counts: health::Counts,
}

#[derive(Default)]
struct State {
    books: Books,
    accounts: Accounts,
    /// Verdicts that processes were told, by account.
    standing: HashMap<String, Standing>,
    /// The highest percentage that was warned of, by account, kind of limit, Worker, and [`of`].
    warned: HashMap<(String, MeasureKind, Option<String>, String), u8>,
}

/// A limit that is near, or reached.
struct Warning {
    account: String,
    worker: Option<String>,
    percent: u8,
    text: String,
    /// What it is the same as.
    key: String,
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
    ) -> Result<Arc<Self>, ServeError> {
        let plans = plans::read(settings.plans.as_deref(), &settings.plan)?;
        let folder = settings.data_dir.join(FOLDER);
        let opened = tokio::task::spawn_blocking(move || -> Result<_, LedgerError> {
            let ledger = Ledger::open(&folder)?;
            let mut books = Books::default();
            let today = OffsetDateTime::now_utc().date();
            // The day before is another month's on the first.
            let first = today.replace_day(1).unwrap_or(today).previous_day().unwrap_or(today);
            ledger.read(first, today, |minute, entry| books.add(minute, entry))?;
            Ok((ledger, books))
        });
        let (ledger, books) = opened.await.map_err(std::io::Error::other)??;
        let metering = Arc::new(Self {
            ledger: Arc::new(ledger),
            store,
            runtimes,
            delivery: Arc::clone(delivery),
            tell: Arc::clone(tell),
            plans,
            default: settings.plan.clone(),
            state: Mutex::new(State { books, ..State::default() }),
            failing: Mutex::default(),
            counts: health::Counts::new(settings.data_dir.join(FOLDER)),
        });
        metering.read_agreements().await?;
        Ok(metering)
    }

    /// The ledger.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what a process has used. It is on the disk when this is done. If it fails, the process comes with the same again.
    pub(crate) async fn take(self: &Arc<Self>, batch: Batch) -> Result<(), String> {
        let now = OffsetDateTime::now_utc();
        let batch = Arc::new(batch);
        let written = {
            let batch = Arc::clone(&batch);
            self.with_ledger(move |ledger| ledger.append(now, &batch)).await
        };
        self.note(written.as_ref().err());
        if !written? {
            return Ok(());
        }
        self.counts.taken();
        let accounts: BTreeSet<&str> = batch.entries.iter().map(|entry| &*entry.account).collect();
        let mut state = self.state();
        let minute = Minute::of(now);
        batch.entries.iter().for_each(|entry| state.books.add(minute, entry));
        let warnings = accounts.into_iter().flat_map(|account| self.judge(&mut state, account, now)).collect();
        drop(state);
        drop(self.warn(warnings));
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
        let mut warnings = Vec::new();
        for measure in &standing.measures {
            let reached = plan.warn.iter().copied().filter(|percent| u64::from(*percent) <= measure.percent).max();
            let key = (account.to_owned(), measure.what, measure.worker.clone(), of(measure));
            if let Some(percent) = reached
                && state.warned.get(&key).is_none_or(|warned| *warned < percent)
            {
                // Days and months that are over are no matter.
                let is_same = |other: &(String, MeasureKind, Option<String>, String)| {
                    (&other.0, other.1, &other.2) == (&key.0, key.1, &key.2)
                };
                state.warned.retain(|other, _| !is_same(other) || other.3 == key.3);
                state.warned.insert(key, percent);
                warnings.push(Warning::new(account, percent, measure));
            }
        }
        match standing.account.is_none() && standing.workers.is_empty() {
            true => state.standing.remove(account),
            false => state.standing.insert(account.to_owned(), standing),
        };
        warnings
    }

    /// Tells who owns an account, and who runs the platform, that a limit is near. What is given is done when that is on the disk.
    fn warn(self: &Arc<Self>, warnings: Vec<Warning>) -> Option<JoinHandle<()>> {
        if warnings.is_empty() {
            return None;
        }
        let metering = Arc::clone(self);
        Some(tokio::spawn(async move {
            for warning in warnings {
                metering.delivery.alert(warning.alert()).await;
                let Warning { account, worker, percent, text, .. } = warning;
                (metering.tell)(&format!("Account {account}: {text}"));
                let target = worker.as_deref().unwrap_or(&account);
                let detail = serde_json::json!({ "percent": percent, "message": text });
                let actor = Actor::platform(&*account, "meter");
                if let Err(error) = metering.store.note(&actor, "usage.warning", target, &detail).await {
                    (metering.tell)(&format!("The audit log cannot be written: {error}"));
                }
            }
        }))
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
            let month = Month::at(OffsetDateTime::now_utc());
            if invoiced != Some(month) {
                match self.invoice_month_before(month).await {
                    Ok(()) => invoiced = Some(month),
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
            let now = OffsetDateTime::now_utc();
            let warnings = accounts.iter().flat_map(|account| self.judge(&mut state, account, now)).collect();
            drop(state);
            drop(self.warn(warnings));
        }
    }
}

/// Which limit of which day or month: one that is changed is another one.
fn of(measure: &Measure) -> String {
    format!("{}/{}", measure.period, measure.allowed)
}

impl Warning {
    fn new(account: &str, percent: u8, measure: &Measure) -> Self {
        let worker = measure.worker.clone();
        let whose = worker.as_deref().unwrap_or_default();
        let key = format!("usage.limit/{account}/{whose}/{:?}/{}/{percent}", measure.what, of(measure));
        Self { account: account.to_owned(), worker, percent, text: measure.warning(), key }
    }

    fn alert(&self) -> Alert {
        Alert {
            kind: "usage.limit".to_owned(),
            severity: if self.percent >= 100 { Severity::Critical } else { Severity::Warning },
            account: Some(self.account.clone()),
            worker: self.worker.clone(),
            title: format!("{} % of a limit is used", self.percent),
            text: self.text.clone(),
            at: OffsetDateTime::now_utc(),
            key: self.key.clone(),
        }
    }
}
