//! `skep open`: a Worker's address.

use std::process::{Command, Stdio};

use clap::Args;
use serde_json::json;

use crate::commands::connection::Connection;
use crate::commands::project::Selection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// Print a Worker's address; on a terminal, open it in the browser
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let worker = arguments.selection.worker()?;
    let url = block_on(async {
        let api = arguments.connection.api().await?;
        let address = api.worker_address(&worker).await?;
        if let Some(url) = address.url.filter(|_| address.enabled) {
            return Ok(url);
        }
        let host = api.custom_domains().await?.into_iter().find(|domain| domain.service == worker);
        let scheme = if api.url().as_str().starts_with("https") { "https" } else { "http" };
        let url = host.map(|domain| format!("{scheme}://{}", domain.hostname));
        Ok(url.ok_or_else(|| {
            format!("{worker} has no address of its own: \"workers_dev\" is off, and it has no custom domain")
        })?)
    })?;
    if arguments.connection.json {
        output::document(&json!({ "worker": worker, "url": url }));
        return Ok(());
    }
    output::line(&url);
    if output::is_watched() {
        let mut browser = Command::new("xdg-open");
        browser.arg(&url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A machine without a browser has the address on its screen.
        let _ = browser.spawn();
    }
    Ok(())
}
