//! `skep cron`: cron triggers, and running one now.

use clap::{Args, Subcommand};
use skep_client::times;

use crate::commands::connection::Connection;
use crate::commands::project::Selection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// List a Worker's cron triggers, or run its scheduled handler now
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Command {
    /// List the cron triggers
    List(Selection),
    /// Run the scheduled handler now, and wait for it
    Run {
        /// The expression that the handler sees; without one, that of the only trigger
        cron: Option<String>,
        #[command(flatten)]
        selection: Selection,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    block_on(async {
        match &arguments.command {
            Command::List(selection) => {
                let schedules = connection.api().await?.schedules(&selection.worker()?).await?;
                if connection.json {
                    output::document(&schedules);
                    return Ok(());
                }
                let last = |due: &Option<String>| due.as_deref().map_or_else(|| "never".to_owned(), times::local);
                let rows: Vec<[String; 2]> =
                    schedules.iter().map(|schedule| [schedule.cron.clone(), last(&schedule.last_due)]).collect();
                output::table(["CRON (UTC)", "LAST"], &rows);
                Ok(())
            }
            Command::Run { cron, selection } => {
                let worker = selection.worker()?;
                let ran = connection.api().await?.run_cron(&worker, cron.as_deref()).await?;
                if connection.json {
                    output::document(&ran);
                } else {
                    output::line(&format!("{worker}: \"{}\" {} ({} ms)", ran.cron, ran.outcome, ran.wall_time_ms));
                }
                match ran.error {
                    Some(error) => Err(format!("the scheduled handler of {worker} failed: {error}").into()),
                    None => Ok(()),
                }
            }
        }
    })
}
