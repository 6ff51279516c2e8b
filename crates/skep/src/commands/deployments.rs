//! `skep deployments`: what had the traffic, and what has it.

use clap::{Args, Subcommand};
use serde_json::json;
use skep_client::api::Deployment;
use skep_client::promotion::State;
use skep_client::times;

use crate::commands::connection::Connection;
use crate::commands::deploy::shown_promotion;
use crate::commands::project::Selection;
use crate::commands::versions::shown_shares;
use crate::commands::{Outcome, block_on};
use crate::output;

/// List deployments of a Worker, or show the current one
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Command {
    /// List deployments, newest first
    List(Selection),
    /// Show what has the traffic now, and a promotion that is running
    Status(Selection),
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    block_on(async {
        match &arguments.command {
            Command::List(selection) => list(connection, &selection.worker()?).await,
            Command::Status(selection) => status(connection, &selection.worker()?).await,
        }
    })
}

async fn list(connection: &Connection, worker: &str) -> Outcome {
    let deployments = connection.api().await?.deployments(worker).await?;
    if connection.json {
        output::document(&deployments);
        return Ok(());
    }
    let row = |deployment: &Deployment| {
        let said = [&deployment.annotations.triggered_by, &deployment.annotations.message];
        let said: Vec<&str> = said.into_iter().flatten().map(String::as_str).collect();
        [
            times::local(&deployment.created_on),
            deployment.author_email.clone(),
            shown_shares(&deployment.versions),
            said.join(": "),
        ]
    };
    output::table(["DEPLOYED", "BY", "VERSIONS", ""], &deployments.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn status(connection: &Connection, worker: &str) -> Outcome {
    let api = connection.api().await?;
    let deployment = api.deployments(worker).await?.into_iter().next();
    let promotion = api.promotion(worker).await?;
    if connection.json {
        output::document(&json!({ "worker": worker, "deployment": deployment, "promotion": promotion }));
        return Ok(());
    }
    match &deployment {
        Some(deployment) => {
            let when = times::local(&deployment.created_on);
            output::line(&format!("{worker}: deployed {when} by {}", deployment.author_email));
            for share in &deployment.versions {
                output::line(&format!("  {:>5} %  {}", share.percentage, share.version_id));
            }
        }
        None => output::line(&format!("{worker}: nothing is deployed")),
    }
    if let Some(promotion) = promotion.filter(|promotion| promotion.state == State::Running) {
        output::line(&format!("Promotion: {}", shown_promotion(&promotion)));
    }
    Ok(())
}
