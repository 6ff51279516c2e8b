//! `skep token`: API tokens of the account.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use skep_client::api::{NewToken, Token};
use skep_client::times;

use crate::commands::connection::Connection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// Create, list and revoke API tokens
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Command {
    /// Create a token; its value is printed once, on standard output
    Create {
        /// What people call it
        name: String,
        /// What it allows; may be given several times [default: workers_read and workers_write]
        #[arg(long = "permission", visible_alias = "permissions", value_name = "PERMISSION", value_delimiter = ',')]
        permissions: Vec<Permission>,
        /// The only Worker that it is for
        #[arg(long, value_name = "NAME")]
        worker: Option<String>,
        /// When it expires, such as 30d or 2027-01-31
        #[arg(long, value_name = "TIME", value_parser = times::expiry)]
        expires: Option<String>,
    },
    /// List the tokens, without their values
    List,
    /// Revoke a token
    Revoke {
        /// Its id, or its name if no other has that
        #[arg(value_name = "TOKEN")]
        revoked: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Permission {
    /// See the account, its members, tokens and audit log
    AccountRead,
    /// Change members and tokens
    AccountWrite,
    /// See Workers, versions, deployments, routes, names of secrets, logs
    WorkersRead,
    /// Upload, deploy, delete, put secrets and routes
    WorkersWrite,
    /// See namespaces of KV, D1, R2 and queues
    StorageRead,
    /// Change them
    StorageWrite,
    /// Make accounts, add domains without a proof, and replace the master key
    Operator,
}

impl Permission {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    block_on(async {
        let api = connection.api().await?;
        match &arguments.command {
            Command::Create { name, permissions, worker, expires } => {
                let default = [Permission::WorkersRead, Permission::WorkersWrite];
                let permissions = if permissions.is_empty() { &default[..] } else { permissions };
                let new = NewToken {
                    name: name.clone(),
                    permissions: permissions.iter().map(|permission| permission.name()).collect(),
                    worker: worker.clone(),
                    expires_on: expires.clone(),
                };
                let token = api.create_token(&new).await?;
                if connection.json {
                    output::document(&token);
                    return Ok(());
                }
                let scope = token.worker.as_deref().map_or_else(String::new, |worker| format!(", for {worker} only"));
                output::warning(&format!(
                    "Created {} ({}): {}{scope}",
                    token.name,
                    token.id,
                    token.permissions.join(", ")
                ));
                output::warning("This is the only time that its value is shown:");
                output::line(token.value.as_deref().unwrap_or_default());
            }
            Command::List => {
                let tokens = api.tokens().await?;
                if connection.json {
                    output::document(&tokens);
                    return Ok(());
                }
                let row = |token: &Token| {
                    [
                        token.id.clone(),
                        token.name.clone(),
                        token.permissions.join(","),
                        token.worker.clone().unwrap_or_else(|| "all".to_owned()),
                        token.expires_on.map_or_else(|| "never".to_owned(), times::local_at),
                    ]
                };
                let heads = ["ID", "NAME", "PERMISSIONS", "WORKER", "EXPIRES"];
                output::table(heads, &tokens.iter().map(row).collect::<Vec<_>>());
            }
            Command::Revoke { revoked } => {
                let named: Vec<Token> =
                    api.tokens().await?.into_iter().filter(|known| known.name == *revoked).collect();
                let id = match named.as_slice() {
                    [known] => known.id.clone(),
                    [] => revoked.clone(),
                    _ => return Err(format!("several tokens are called \"{revoked}\": name one by its id").into()),
                };
                api.revoke_token(&id).await?;
                match connection.json {
                    true => output::document(&json!({ "revoked": id })),
                    false => output::line(&format!("Revoked {revoked}")),
                }
            }
        }
        Ok(())
    })
}
