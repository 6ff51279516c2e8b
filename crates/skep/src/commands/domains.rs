//! `skep domains`: domains of the account, and the proof that they are its own.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use skep_client::api::Domain;
use skep_client::times;

use crate::commands::connection::Connection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// List, add, prove and remove domains: routes and custom domains are below them
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Command {
    /// List the account's domains
    List,
    /// Add a domain, and show how to prove that it is yours
    Add {
        /// The domain, such as example.com
        domain: String,
        /// Take it without a proof: for the owner of the machine
        #[arg(long)]
        trusted: bool,
    },
    /// Have the platform look for the proof
    Verify {
        /// The domain
        domain: String,
    },
    /// Remove a domain that no Worker answers
    Remove {
        /// The domain
        domain: String,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    block_on(async {
        let api = connection.api().await?;
        match &arguments.command {
            Command::List => {
                let domains = api.domains().await?;
                if connection.json {
                    output::document(&domains);
                    return Ok(());
                }
                let proved =
                    |domain: &Domain| domain.verified_on.as_deref().map_or_else(|| "no".to_owned(), times::local);
                let rows: Vec<[String; 2]> =
                    domains.iter().map(|domain| [domain.name.clone(), proved(domain)]).collect();
                output::table(["DOMAIN", "PROVED"], &rows);
            }
            Command::Add { domain, trusted } => {
                let added = api.add_domain(domain, *trusted).await?;
                match (connection.json, added.verified_on.is_some()) {
                    (true, _) => output::document(&added),
                    (false, true) => output::line(&format!("{} is yours: routes below it can be added", added.name)),
                    (false, false) => say_proof(&added),
                }
            }
            Command::Verify { domain } => {
                let proved = api.verify_domain(domain).await?;
                match connection.json {
                    true => output::document(&proved),
                    false => output::line(&format!("{} is proved: routes below it can be added", proved.name)),
                }
            }
            Command::Remove { domain } => {
                api.remove_domain(domain).await?;
                match connection.json {
                    true => output::document(&json!({ "removed": domain })),
                    false => output::line(&format!("Removed {domain}")),
                }
            }
        }
        Ok(())
    })
}

fn say_proof(domain: &Domain) {
    let text = |proof: &'_ Value, key: &str| proof.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (dns, file) = (&domain.proof.dns, &domain.proof.file);
    output::line(&format!("{} is added. To prove that it is yours, add the DNS record", domain.name));
    output::line(&format!("  {} TXT {}", text(dns, "name"), text(dns, "value")));
    output::line("or let");
    output::line(&format!("  {}", text(file, "url")));
    output::line("answer with the text");
    output::line(&format!("  {}", text(file, "content")));
    output::line(&format!("and then run `skep domains verify {}`", domain.name));
}
