//! `skep secret`: values that a Worker gets and nobody sees again.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use skep_client::Api;
use skep_worker::Secret;

use crate::commands::connection::Connection;
use crate::commands::project::Selection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// Put, list and delete a Worker's secrets
///
/// A change makes a version with it, and deploys that.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Command {
    /// Put a secret; its value comes from standard input, or is typed
    Put {
        /// The property of `env`
        key: String,
        #[command(flatten)]
        selection: Selection,
    },
    /// List the names of the secrets
    List(Selection),
    /// Delete a secret
    Delete {
        /// The property of `env`
        key: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        selection: Selection,
    },
    /// Put several secrets at once, from JSON or lines NAME=value; null deletes one
    Bulk {
        /// The file; standard input without one
        file: Option<PathBuf>,
        #[command(flatten)]
        selection: Selection,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    match &arguments.command {
        Command::Put { key, selection } => {
            let worker = selection.worker()?;
            let platform = connection.platform()?;
            check(key)?;
            let text = Secret::new(output::secret(&format!("Value of {key}"))?);
            block_on(async {
                let api = Api::open(&platform).await?;
                put(&api, &worker, &[(key.clone(), Some(text))]).await?;
                said(connection, &worker, "put", std::slice::from_ref(key));
                Ok(())
            })
        }
        Command::List(selection) => block_on(async {
            let worker = selection.worker()?;
            let secrets = connection.api().await?.secrets(&worker).await?;
            if connection.json {
                output::document(&secrets);
                return Ok(());
            }
            secrets.iter().for_each(|secret| output::line(&secret.name));
            Ok(())
        }),
        Command::Delete { key, yes, selection } => block_on(async {
            let worker = selection.worker()?;
            let api = connection.api().await?;
            output::confirm(&format!("Delete the secret {key} of {worker}?"), *yes)?;
            api.delete_secret(&worker, key).await?;
            said(connection, &worker, "deleted", std::slice::from_ref(key));
            Ok(())
        }),
        Command::Bulk { file, selection } => {
            let worker = selection.worker()?;
            let secrets = read(file.as_deref())?;
            block_on(async {
                let api = connection.api().await?;
                put(&api, &worker, &secrets).await?;
                let names: Vec<String> = secrets.into_iter().map(|(name, _)| name).collect();
                said(connection, &worker, "put", &names);
                Ok(())
            })
        }
    }
}

fn said(connection: &Connection, worker: &str, verb: &str, names: &[String]) {
    match connection.json {
        true => output::document(&json!({ "worker": worker, verb: names })),
        false => output::line(&format!("{}: {verb} {}", worker, names.join(", "))),
    }
}

/// A value must not be an argument, which other users of the machine and the shell's history see.
fn check(key: &str) -> Outcome {
    if key.is_empty() || key.contains('=') {
        return Err(format!(
            "\"{key}\" is no name of a secret: pass the value through standard input, or type it when asked"
        )
        .into());
    }
    Ok(())
}

/// Puts secrets. A Worker that does not exist yet is made, so that its first deploy finds them.
async fn put(api: &Api, worker: &str, secrets: &[(String, Option<Secret>)]) -> Outcome {
    let change = || async {
        match secrets {
            [(name, Some(text))] => api.put_secret(worker, name, text).await,
            several => api.put_secrets(worker, several).await,
        }
    };
    match change().await {
        Err(error) if error.is_no_worker() => {
            api.create_empty_worker(worker).await?;
            Ok(change().await?)
        }
        result => Ok(result?),
    }
}

/// Names of secrets and their new values; none for one that is deleted.
type Changes = Vec<(String, Option<Secret>)>;

fn read(file: Option<&Path>) -> Result<Changes, Box<dyn Error>> {
    let (text, shown) = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            (text, path.display().to_string())
        }
        None => (output::input()?, "standard input".to_owned()),
    };
    let secrets = parse(&text, &shown)?;
    if secrets.is_empty() {
        return Err(format!("{shown} has no secrets: write {{ \"NAME\": \"value\" }}, or lines NAME=value").into());
    }
    Ok(secrets)
}

fn parse(text: &str, shown: &str) -> Result<Changes, Box<dyn Error>> {
    if text.trim_start().starts_with('{') {
        let fields: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| format!("{shown} is not an object in JSON: {error}"))?;
        let secret = |(name, value): (String, Value)| match value {
            Value::String(text) => Ok((name, Some(Secret::new(text)))),
            Value::Null => Ok((name, None)),
            _ => Err(format!("{shown}: the value of {name} is neither a text nor null").into()),
        };
        return fields.into_iter().map(secret).collect();
    }
    let (pairs, mistakes) = skep_bundle::dotenv::parse(Path::new(shown), text);
    if let Some(mistake) = mistakes.first() {
        return Err(mistake.to_string().into());
    }
    Ok(pairs.into_iter().map(|(name, value)| (name, Some(Secret::new(value)))).collect())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn secrets_come_as_json_or_lines() {
        let check = |text: &str| -> Vec<(String, Option<String>)> {
            let secrets = parse(text, "file").unwrap();
            secrets.into_iter().map(|(name, text)| (name, text.map(|text| text.reveal().to_owned()))).collect()
        };
        let pair = |name: &str, text: Option<&str>| (name.to_owned(), text.map(str::to_owned));
        assert_eq!(check(r#"{ "A": "1", "B": null }"#), [pair("A", Some("1")), pair("B", None)]);
        assert_eq!(check("A=1\n# no\nexport B='2 3'\n"), [pair("A", Some("1")), pair("B", Some("2 3"))]);
        for wrong in [r#"{ "A": 1 }"#, "{", "A"] {
            assert!(parse(wrong, "file").is_err(), "{wrong}");
        }
    }
}
