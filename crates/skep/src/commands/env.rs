//! `skep env`: what wrangler needs to know of the platform.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::{Map, Value, json};
use skep_bundle::{Mode, Options, Project};
use skep_client::{Api, env_file};

use crate::commands::connection::Connection;
use crate::commands::{Outcome, block_on, today};
use crate::output;

/// Print the environment variables that wrangler needs, or write them into the project's .env
///
/// In a shell: eval "$(skep env)"
#[derive(Args)]
pub(crate) struct Arguments {
    /// Write them into .env, where wrangler finds them by itself; all else in it stays as it is
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    let platform = connection.platform()?;
    let api = block_on(async { Ok(Api::open(&platform).await?) })?;
    let base = platform.url.api();
    let [url, token, account] = env_file::NAMES;
    let values = [(url, base.as_str()), (token, api.token().reveal()), (account, api.account_id())];
    if !arguments.write {
        if connection.json {
            let fields: Map<String, Value> =
                values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            output::document(&fields);
        } else {
            for (name, value) in values {
                output::line(&format!("export {name}={}", env_file::for_shell(value)));
            }
        }
        return Ok(());
    }
    let path = project_folder()?.join(".env");
    env_file::write(&path, &values)?;
    match connection.json {
        true => output::document(&json!({ "file": path.display().to_string(), "names": env_file::NAMES })),
        false => output::line(&format!(
            "Wrote {} into {}, which only you may read",
            env_file::NAMES.join(", "),
            path.display()
        )),
    }
    if is_tracked(&path) {
        output::warning("warning: git does not ignore .env, and it holds a token now: add a line .env to .gitignore");
    }
    Ok(())
}

/// The folder of the project, or this one where there is none.
fn project_folder() -> Result<PathBuf, std::io::Error> {
    let here = std::env::current_dir()?;
    let project = Project::open(Options::new(&here, Mode::Deploy, today()));
    Ok(project.map_or(here, |project| project.config().root.clone()))
}

/// Whether git would take the file into a commit.
fn is_tracked(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["check-ignore", "--quiet", ".env"]);
    let status = git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    // 0: ignored. 1: not ignored. 128: no repository.
    status.is_ok_and(|status| status.code() == Some(1))
}
