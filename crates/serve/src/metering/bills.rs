//! What the control plane asks of usage and bills.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use skep_control::{Bills, Invoiced, Owner, Reading, Stands};
use skep_meter::{
    Billing, Comparison, Entry, Invoice, Ledger, Minute, Month, Observed, Plan, Question, Report, Reporter, Totals,
    Verification, Vm, compare,
};
use skep_store::{FinalInvoice, Timestamp};
use time::{Date, OffsetDateTime};

use crate::metering::Metering;

/// The least time that usage is taken to be of when it is compared.
const LEAST: Duration = Duration::from_secs(24 * 3600);

/// What the control plane is told of it.
pub(crate) struct OfLedger(pub(crate) Arc<Metering>);

/// A month's usage of an account.
#[derive(Default)]
struct Used {
    by_worker: BTreeMap<String, Totals>,
    by_day: BTreeMap<Date, Totals>,
}

impl Used {
    fn all(&self) -> Totals {
        let mut sum = Totals::default();
        self.by_worker.values().for_each(|totals| sum.add_all(totals));
        sum
    }
}

/// The first and the last day of a month.
fn days(month: Month) -> (Date, Date) {
    let first = month.begins().date();
    (first, first.replace_day(month.days()).unwrap_or(first))
}

fn milliseconds(time: OffsetDateTime) -> Timestamp {
    time.unix_timestamp().saturating_mul(1000)
}

fn said(error: &dyn std::fmt::Display) -> String {
    error.to_string()
}

impl Used {
    fn add(&mut self, minute: Minute, entry: &Entry) {
        self.by_worker.entry(entry.worker.clone()).or_default().add(entry);
        self.by_day.entry(minute.day()).or_default().add(entry);
    }
}

impl Metering {
    /// What accounts used in a month: all of them, or one.
    async fn used(&self, only: Option<&str>, month: Month) -> Result<HashMap<String, Used>, String> {
        let (only, (first, last)) = (only.map(str::to_owned), days(month));
        self.with_ledger(move |ledger| {
            let mut used: HashMap<String, Used> = HashMap::new();
            ledger.read(first, last, |minute, entry| {
                if only.as_ref().is_none_or(|only| *only == entry.account) {
                    used.entry(entry.account.clone()).or_default().add(minute, entry);
                }
            })?;
            Ok(used)
        })
        .await
    }

    async fn used_by(&self, account: &str, month: Month) -> Result<Used, String> {
        Ok(self.used(Some(account), month).await?.remove(account).unwrap_or_default())
    }

    /// The plan that an account had at the end of a month.
    async fn plan_in(&self, account: &str, month: Month) -> Result<&Plan, String> {
        let agreement =
            self.store.agreement(account, milliseconds(month.ends())).await.map_err(|error| said(&error))?;
        Ok(self.plan(agreement.and_then(|agreement| agreement.plan).as_deref()))
    }

    /// An account's invoice. One of a month that is over is made once, and stays as it is.
    async fn invoice(&self, owner: &Owner, month: Month) -> Result<FinalInvoice, String> {
        let named = month.to_string();
        if let Some(made) = self.store.invoice(&owner.id, &named).await.map_err(|error| said(&error))? {
            return Ok(made);
        }
        // Before it is read what was used.
        let is_closed = self.close(month).await;
        let used = self.used_by(&owner.id, month).await?;
        self.make_invoice(owner, month, &used, is_closed).await
    }

    async fn make_invoice(
        &self,
        owner: &Owner,
        month: Month,
        used: &Used,
        is_closed: bool,
    ) -> Result<FinalInvoice, String> {
        let (issued, plan) = ((self.clock)(), self.plan_in(&owner.id, month).await?);
        let invoice = Invoice::new(&Billing {
            account_id: &owner.id,
            account_name: &owner.name,
            period: month,
            plan,
            issued,
            is_closed,
            by_worker: &used.by_worker,
            by_day: &used.by_day,
        });
        let made = FinalInvoice {
            document: invoice.to_json().map_err(|error| said(&error))?,
            csv: invoice.to_csv(),
            html: invoice.to_html(),
        };
        if !is_closed {
            return Ok(made);
        }
        self.store.keep_invoice(&owner.id, &month.to_string(), made).await.map_err(|error| said(&error))
    }

    /// Makes the invoices of the month before one, of every account. Gives whether they are made: not before that month is closed.
    pub(super) async fn invoice_month_before(&self, month: Month) -> Result<bool, String> {
        let before = Month::at(month.begins() - time::Duration::DAY);
        let begin = milliseconds(month.begins());
        let mut missing = Vec::new();
        for account in self.store.accounts().await.map_err(|error| said(&error))? {
            // Who was not there had no month.
            let is_made = self.store.invoice(&account.id, &before.to_string()).await.map_err(|error| said(&error))?;
            if account.created_on < begin && is_made.is_none() {
                missing.push(Owner { id: account.id, name: account.name, since: account.created_on });
            }
        }
        if missing.is_empty() {
            return Ok(true);
        }
        if !self.close(before).await {
            return Ok(false);
        }
        let (all, nothing) = (self.used(None, before).await?, Used::default());
        for owner in missing {
            self.make_invoice(&owner, before, all.get(&owner.id).unwrap_or(&nothing), true).await?;
        }
        Ok(true)
    }
}

impl Bills for OfLedger {
    fn plans(&self) -> &[Plan] {
        &self.0.plans
    }

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

    fn stands(&self, account: &str) -> Stands {
        let state = self.0.state();
        let (plan, terms) = state.accounts.of(account);
        let plan = self.0.plan(plan);
        let terms = terms.cloned().unwrap_or_default();
        let standing = state.books.standing(account, plan, &terms, self.0.now());
        Stands { plan: plan.clone(), terms, standing }
    }

    fn agreed<'b>(&'b self, account: &'b str) -> Reading<'b, ()> {
        Box::pin(async move { self.0.agreed(account).await.map_err(|error| said(&error)) })
    }

    fn invoice<'b>(&'b self, owner: &'b Owner, month: Month) -> Reading<'b, Invoiced> {
        Box::pin(async move {
            let FinalInvoice { document, csv, html } = self.0.invoice(owner, month).await?;
            Ok(Invoiced { document, csv, html })
        })
    }

    fn compare<'b>(&'b self, owner: &'b Owner, month: Month, vm: Vm) -> Reading<'b, Comparison> {
        Box::pin(async move {
            let (begin, end) = (month.begins(), month.ends());
            // An account that was made in the middle of a month has used nothing before.
            let made = OffsetDateTime::from_unix_timestamp(owner.since / 1000).unwrap_or(begin);
            let covered = (self.0.clock)().min(end) - begin.max(made);
            // The pace of some minutes is none: what was used is taken for what a day has.
            let covered = Duration::try_from(covered).unwrap_or_default().max(LEAST);
            let usage = self.0.used_by(&owner.id, month).await?.all();
            let own = self.0.plan_in(&owner.id, month).await?;
            Ok(compare(&Observed { usage: &usage, month, covered }, &self.0.plans, &vm, own))
        })
    }
}
