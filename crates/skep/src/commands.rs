//! One file for each command.

pub(crate) mod dev;
pub(crate) mod init;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod types;

use std::error::Error;

use skep_worker::CompatibilityDate;

/// What a command answers.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// Today, in UTC, as a compatibility date.
fn today() -> CompatibilityDate {
    let date = time::OffsetDateTime::now_utc().date();
    let text = format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day());
    text.parse().unwrap_or(CompatibilityDate::FIRST)
}
