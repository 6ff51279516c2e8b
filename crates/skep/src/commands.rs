//! One file for each command.

pub(crate) mod billing;
pub(crate) mod completions;
mod connection;
pub(crate) mod cron;
pub(crate) mod delete;
pub(crate) mod deliveries;
pub(crate) mod deploy;
pub(crate) mod deployments;
pub(crate) mod dev;
pub(crate) mod domains;
pub(crate) mod env;
pub(crate) mod init;
pub(crate) mod invoice;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod master_key;
pub(crate) mod open;
mod project;
pub(crate) mod rollback;
pub(crate) mod routes;
pub(crate) mod runtime;
pub(crate) mod secret;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod types;
pub(crate) mod usage;
pub(crate) mod versions;
pub(crate) mod whoami;

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

/// Runs what a command does until it is done.
fn block_on<T>(future: impl Future<Output = Result<T, Box<dyn Error>>>) -> Result<T, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}
