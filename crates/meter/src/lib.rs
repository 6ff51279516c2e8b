//! What Workers used and what that costs.
//!
//! [`Tally`] counts what a version uses while it runs, [`Ledger`] keeps it, a [`Plan`] prices it, and what comes of that is an [`Invoice`], or a
//! [`Comparison`] with other platforms. Nothing here knows the network, and nothing but the ledger knows a disk.

#![forbid(unsafe_code)]

mod advisor;
mod books;
mod invoice;
mod latency;
mod ledger;
mod money;
mod month;
mod plan;
mod price;
mod report;
mod tally;
mod terms;
mod usage;

pub use advisor::{BreakEven, Comparison, Cost, LimitKind, Observed, Offer, Vm, VmOffer, compare};
pub use books::{Books, Measure, MeasureKind, Standing, Verdict};
pub use invoice::{Billing, DayShare, Invoice, InvoiceState, WorkerShare};
pub use latency::Latency;
pub use ledger::{Damage, Ledger, LedgerError, Minute, Verification, verify};
pub use month::{Month, MonthError};
pub use plan::{
    Cap, CpuPrice, DurationPrice, EgressPrice, Limits, Plan, PlanError, RequestPrice, Round, SELF_HOSTED, Then,
    VcpuPrice,
};
pub use price::{Charge, Line, LineKind, Totals};
pub use report::{By, Question, Report, Reporter, Row};
pub use tally::{Event, Meter, Tally};
pub use terms::{Beyond, SpendCap, Terms, TermsError, WorkerTerms};
pub use usage::{Batch, Counted, Entry, Kind, Usage};
