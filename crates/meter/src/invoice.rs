//! Invoices: what an account used in a month, what that costs, and which Workers and days it comes from.
//!
//! The same usage makes the same invoice, byte by byte. Amounts of Workers and of days are shares of each line's amount in proportion to
//! what they used of it before anything was included, in whole cents; they add up to the total (largest remainder; of equal remainders,
//! the first name or day is rounded up).

mod csv;
mod html;
mod share;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, UtcOffset};

use crate::{Line, Month, Plan, Totals, Usage, money};
use share::shares;

/// What an invoice is made of.
#[derive(Clone, Copy, Debug)]
pub struct Billing<'a> {
    /// The account's id.
    pub account_id: &'a str,
    /// The account's name.
    pub account_name: &'a str,
    /// The month.
    pub period: Month,
    /// The plan that the account has in it.
    pub plan: &'a Plan,
    /// When the invoice is made.
    pub issued: OffsetDateTime,
    /// Whether nothing more can come of the month. From its end on, the invoice is final then.
    pub is_closed: bool,
    /// What each Worker used in the month. Together they are what is billed.
    pub by_worker: &'a BTreeMap<String, Totals>,
    /// The same usage by days in UTC.
    pub by_day: &'a BTreeMap<Date, Totals>,
}

/// An invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Invoice {
    /// Its number, which an account and a month always have: "2026-07-" and twelve hexadecimal digits.
    pub number: String,
    /// The account's id.
    pub account_id: String,
    /// The account's name.
    pub account_name: String,
    /// The month.
    pub period: Month,
    /// The plan's name.
    pub plan: String,
    /// The plan's title.
    pub plan_title: String,
    /// The currency of all amounts, as ISO 4217 names it.
    pub currency: String,
    /// When it was made, in UTC.
    #[serde(serialize_with = "rfc3339")]
    pub issued: OffsetDateTime,
    /// Whether anything can still change.
    pub state: InvoiceState,
    /// What is paid.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    #[serde(serialize_with = "money::serialize")]
    pub total: Decimal,
    /// Which Workers it comes from, by name. Their amounts add up to the total, if there is a Worker.
    pub by_worker: Vec<WorkerShare>,
    /// Which days it comes from. Their amounts add up to the total, if there is a day.
    pub by_day: Vec<DayShare>,
}

/// Whether an invoice can still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InvoiceState {
    /// The month is not over, or not all of it is written down yet.
    Open,
    /// It is, and does not change any more.
    Final,
}

/// What comes from one Worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerShare {
    /// Its name.
    pub worker: String,
    /// What it used, all kinds of events together.
    pub usage: Usage,
    /// Its share of the total.
    #[serde(serialize_with = "money::serialize")]
    pub amount: Decimal,
}

/// What comes from one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayShare {
    /// The day in UTC.
    #[serde(serialize_with = "money::serialize_display")]
    pub day: Date,
    /// What was used, all kinds of events together.
    pub usage: Usage,
    /// Its share of the total.
    #[serde(serialize_with = "money::serialize")]
    pub amount: Decimal,
}

impl Invoice {
    /// The invoice for this.
    pub fn new(billing: &Billing<'_>) -> Self {
        let Billing { account_id, account_name, period, plan, issued, is_closed, by_worker, by_day } = *billing;
        let mut usage = Totals::default();
        by_worker.values().for_each(|totals| usage.add_all(totals));
        let charge = plan.charge(&usage);
        let amounts = shares(plan, &charge.lines, &by_worker.values().collect::<Vec<_>>());
        let workers = by_worker.iter().zip(amounts).map(|((worker, totals), amount)| WorkerShare {
            worker: worker.clone(),
            usage: totals.total(),
            amount,
        });
        let amounts = shares(plan, &charge.lines, &by_day.values().collect::<Vec<_>>());
        let days = by_day.iter().zip(amounts).map(|((day, totals), amount)| DayShare {
            day: *day,
            usage: totals.total(),
            amount,
        });
        Self {
            number: number(account_id, period),
            account_id: account_id.to_owned(),
            account_name: account_name.to_owned(),
            period,
            plan: plan.name.clone(),
            plan_title: plan.title.clone(),
            currency: plan.currency.clone(),
            issued: issued.to_offset(UtcOffset::UTC).truncate_to_second(),
            state: if is_closed && period.is_over(issued) { InvoiceState::Final } else { InvoiceState::Open },
            by_worker: workers.collect(),
            by_day: days.collect(),
            total: charge.total,
            lines: charge.lines,
        }
    }

    /// All of it as JSON; money and quantities are strings.
    ///
    /// # Errors
    /// When `issued` is in a year that RFC 3339 cannot write.
    pub fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    /// A table for spreadsheets: CSV as in RFC 4180, one row for each line, Worker and day, and one for the total.
    ///
    /// A text that a spreadsheet would take for a formula begins with an apostrophe.
    /// <https://owasp.org/www-community/attacks/CSV_Injection>
    pub fn to_csv(&self) -> String {
        csv::table(self)
    }

    /// A page to read and to print: one file, with nothing from elsewhere and no script.
    pub fn to_html(&self) -> String {
        html::page(self)
    }
}

impl InvoiceState {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Final => "final",
        }
    }
}

/// What each Worker's usage of a month costs, as an invoice has it.
pub(crate) fn shares_of(plan: &Plan, by_worker: &BTreeMap<String, Totals>) -> BTreeMap<String, Decimal> {
    let mut sum = Totals::default();
    by_worker.values().for_each(|totals| sum.add_all(totals));
    let amounts = shares(plan, &plan.charge(&sum).lines, &by_worker.values().collect::<Vec<_>>());
    by_worker.keys().cloned().zip(amounts).collect()
}

/// The account's id is hashed: it may be long, and it does not have to be on paper twice.
fn number(account_id: &str, period: Month) -> String {
    let hash = blake3::hash(account_id.as_bytes()).to_hex();
    format!("{period}-{}", &hash[..12])
}

fn rfc3339<S: serde::Serializer>(moment: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&moment.format(&Rfc3339).map_err(serde::ser::Error::custom)?)
}

#[cfg(test)]
mod tests;
