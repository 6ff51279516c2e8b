//! `skep master-key`: the key that the platform seals secrets under.

use clap::{Args, Subcommand};
use skep_client::api::{MasterKey, SealedUnder};

use crate::commands::connection::Connection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// Replace the key that secrets are sealed under, and see what is sealed under which
///
/// For the owner of the machine: the token needs the permission operator.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new key and seal every secret again under it; Workers go on meanwhile
    ///
    /// A key in a file is replaced there. Where the platform cannot write (SKEP_MASTER_KEY, a command, a file of systemd's) it says
    /// what to do. Backups from before need the key from before: keep it with them.
    Rotate,
    /// Show the key's name, and how many secrets are under it and under others
    Status,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    block_on(async {
        let api = connection.api().await?;
        match &arguments.command {
            Command::Rotate => {
                let rotated = api.rotate_master_key().await?;
                if connection.json {
                    output::document(&rotated);
                    return Ok(());
                }
                output::line(&format!("The master key is {} now, in place of {}", rotated.key, rotated.former_key));
                output::line(&format!("Secrets that were sealed again: {}", rotated.resealed));
                rotated.others.iter().for_each(warn);
            }
            Command::Status => {
                let status = api.master_key().await?;
                if connection.json {
                    output::document(&status);
                    return Ok(());
                }
                show(&status);
                status.others.iter().filter(|under| !under.is_known).for_each(warn);
            }
        }
        Ok(())
    })
}

fn show(status: &MasterKey) {
    output::line(&format!("The master key is {}, from {}", status.key, status.kept_in));
    let current = [status.key.clone(), "current".to_owned(), status.secrets.to_string(), String::new()];
    let other = |under: &SealedUnder| {
        let state = if under.is_known { "former" } else { "not known" };
        [under.key.clone(), state.to_owned(), under.secrets.to_string(), workers(under)]
    };
    let rows: Vec<[String; 4]> = std::iter::once(current).chain(status.others.iter().map(other)).collect();
    output::table(["KEY", "STATE", "SECRETS", "WORKERS"], &rows);
}

/// The Workers that have secrets under a key: those that are named, and how many more.
fn workers(under: &SealedUnder) -> String {
    let named = under.workers.join(", ");
    match under.worker_count.saturating_sub(under.workers.len() as u64) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// What nobody can open.
fn warn(under: &SealedUnder) {
    let SealedUnder { key, secrets, .. } = under;
    let way = if under.is_known {
        "they are damaged: put them again with `skep secret put`"
    } else {
        "that key is not known: put it into SKEP_FORMER_MASTER_KEYS and restart the platform, or put the secrets again with `skep secret put`"
    };
    output::warning(&format!("Still sealed under {key}: {secrets} of {}; {way}", workers(under)));
}
