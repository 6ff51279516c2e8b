//! `skep delete`: a Worker is gone, with all its versions.

use clap::Args;
use serde_json::json;

use crate::commands::connection::Connection;
use crate::commands::project::Selection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// Delete a Worker with all its versions, secrets, routes and cron triggers
#[derive(Args)]
pub(crate) struct Arguments {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Also if other Workers call it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    block_on(async {
        let worker = arguments.selection.worker()?;
        let api = arguments.connection.api().await?;
        let callers = api.callers(&worker).await?;
        if !callers.is_empty() && !arguments.force {
            let message =
                format!("{worker} is called by {}: take those bindings away first, or add --force", callers.join(", "));
            return Err(message.into());
        }
        // One that does not exist is an error before anybody is asked.
        api.worker_address(&worker).await?;
        output::confirm(&format!("Delete {worker} with all its versions and secrets, for good?"), arguments.yes)?;
        api.delete_worker(&worker, arguments.force).await?;
        match arguments.connection.json {
            true => output::document(&json!({ "deleted": worker })),
            false => output::line(&format!("Deleted {worker}")),
        }
        Ok(())
    })
}
