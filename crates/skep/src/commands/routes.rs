//! `skep routes`: patterns of addresses, and which Worker answers them.

use clap::{Args, Subcommand};

use crate::commands::connection::Connection;
use crate::commands::project::Selection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// List, add and remove routes: patterns of addresses that a Worker answers
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Command {
    /// List the routes and custom domains of all Workers
    List,
    /// Let a Worker answer a pattern, such as example.com/api/*
    Add {
        /// The pattern
        pattern: String,
        #[command(flatten)]
        selection: Selection,
    },
    /// Remove a route
    Remove {
        /// The pattern, or the route's id
        pattern: String,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    block_on(async {
        match &arguments.command {
            Command::List => {
                let api = connection.api().await?;
                let (routes, domains) = (api.routes().await?, api.custom_domains().await?);
                if connection.json {
                    output::document(&serde_json::json!({ "routes": routes, "custom_domains": domains }));
                    return Ok(());
                }
                let own = routes.iter().map(|route| [route.pattern.clone(), route.script.clone(), "route".to_owned()]);
                let whole = domains
                    .iter()
                    .map(|domain| [domain.hostname.clone(), domain.service.clone(), "custom domain".to_owned()]);
                output::table(["ADDRESS", "WORKER", "KIND"], &own.chain(whole).collect::<Vec<_>>());
                Ok(())
            }
            Command::Add { pattern, selection } => {
                let worker = selection.worker()?;
                let route = connection.api().await?.add_route(pattern, &worker).await?;
                match connection.json {
                    true => output::document(&route),
                    false => output::line(&format!("{} is answered by {}", route.pattern, route.script)),
                }
                Ok(())
            }
            Command::Remove { pattern } => {
                let route = connection.api().await?.remove_route(pattern).await?;
                match connection.json {
                    true => output::document(&route),
                    false => output::line(&format!("{} is no longer answered by {}", route.pattern, route.script)),
                }
                Ok(())
            }
        }
    })
}
