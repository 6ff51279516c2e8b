//! `skep deliveries`: alerts and exported usage that did not reach who was to get them.

use std::error::Error;

use clap::{Args, Subcommand};
use skep_client::api::{Destination, FailedDelivery, Undelivered, WhichDeliveries};
use skep_client::times;

use crate::commands::connection::Connection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// Show alerts and exported usage that are not delivered; send again or let go of what failed
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
struct Shown {
    /// To this destination only
    #[arg(long, value_name = "NAME", global = true)]
    to: Option<String>,
    /// How many of those that failed are shown
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: usize,
}

#[derive(Subcommand)]
enum Command {
    /// Send again what failed, each with the id that it had; what waits for its next try is tried at once
    Retry(Meant),
    /// Let go of what failed: it is never delivered
    Forget {
        #[command(flatten)]
        meant: Meant,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Args)]
struct Meant {
    /// Deliveries, by their ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

impl Meant {
    /// Nobody means everything by saying nothing.
    fn which(&self, shown: &Shown) -> Result<WhichDeliveries, Box<dyn Error>> {
        let which = WhichDeliveries { ids: self.ids.clone(), destination: shown.to.clone(), all: self.all };
        match (which.ids.is_empty() && which.destination.is_none(), which.all) {
            (true, false) => Err("say which deliveries: their ids, --to NAME, or --all".into()),
            (false, true) => Err("--all is every destination: leave it out, or --to".into()),
            _ => Ok(which),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    block_on(async {
        let api = connection.api().await?;
        match &arguments.command {
            None => {
                let undelivered = api.deliveries(arguments.shown.to.as_deref(), arguments.shown.limit).await?;
                if connection.json {
                    output::document(&undelivered);
                } else {
                    show(&undelivered);
                }
            }
            Some(Command::Retry(meant)) => {
                let done = api.retry_deliveries(&meant.which(&arguments.shown)?).await?;
                if connection.json {
                    output::document(&done);
                    return Ok(());
                }
                match (done.retried, done.hurried) {
                    (0, 0) => output::line("Nothing failed, and nothing waits for its next try"),
                    (0, hurried) => output::line(&format!("What waits for its next try ({hurried}) is tried now")),
                    (retried, 0) => output::line(&format!("What failed ({retried}) is sent again")),
                    (retried, hurried) => output::line(&format!(
                        "What failed ({retried}) is sent again, and what waits for its next try ({hurried}) is tried now"
                    )),
                }
            }
            Some(Command::Forget { meant, yes }) => {
                let which = meant.which(&arguments.shown)?;
                output::confirm("What is let go of is never delivered. Go on?", *yes)?;
                let done = api.forget_deliveries(&which).await?;
                if connection.json {
                    output::document(&done);
                    return Ok(());
                }
                match done.forgotten {
                    0 => output::line("Nothing failed"),
                    forgotten => output::line(&format!("What failed ({forgotten}) is let go of")),
                }
            }
        }
        Ok(())
    })
}

fn show(undelivered: &Undelivered) {
    let Undelivered { destinations, failed } = undelivered;
    if destinations.is_empty() {
        output::line(
            "No destination is configured: [destinations] in the platform's settings says where alerts and usage go",
        );
        return;
    }
    output::table(
        ["DESTINATION", "TYPE", "WAITING", "FAILED", "WHAT"],
        &destinations.iter().map(line).collect::<Vec<_>>(),
    );
    if failed.is_empty() {
        return;
    }
    output::line("");
    output::table(["ID", "TO", "SINCE", "WHAT", "WHY"], &failed.iter().map(row).collect::<Vec<_>>());
    let more = destinations.iter().map(|destination| destination.failed).sum::<usize>().saturating_sub(failed.len());
    if more > 0 {
        output::line(&format!("and {more} more: --limit shows more of them"));
    }
}

fn line(destination: &Destination) -> [String; 5] {
    let Destination { name, kind, waiting, waiting_since, reason, next_try, failed } = destination;
    let since = waiting_since.map(|since| format!(" since {}", times::local_at(since))).unwrap_or_default();
    let next = next_try.map(|next| format!("; the next try is at {}", times::local_at(next))).unwrap_or_default();
    let what = match (kind, reason) {
        (None, _) => "it is configured no more".to_owned(),
        (Some(_), Some(reason)) => format!("{reason}{next}"),
        (Some(_), None) => String::new(),
    };
    let kind = kind.clone().unwrap_or_default();
    [name.clone(), kind, format!("{waiting}{since}"), failed.to_string(), what]
}

fn row(failed: &FailedDelivery) -> [String; 5] {
    let FailedDelivery { id, destination, what, reason, failed_on, .. } = failed;
    [id.clone(), destination.clone(), times::local_at(*failed_on), what.clone(), reason.clone()]
}
