//! `skep logout`: forgets the login.

use clap::Args;
use serde_json::json;
use skep_client::LoginFile;

use crate::commands::Outcome;
use crate::output;

/// Forget the login. The token itself stays good: `skep token revoke` ends it
#[derive(Args)]
pub(crate) struct Arguments {
    /// Print one JSON document, also for errors
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let file = LoginFile::of_this_user()?;
    let was_there = file.remove()?;
    let path = file.path().display();
    match (arguments.json, was_there) {
        (true, _) => output::document(&json!({ "removed": was_there, "file": path.to_string() })),
        (false, true) => output::line(&format!("Logged out: {path} is gone")),
        (false, false) => output::line("There was no login"),
    }
    Ok(())
}
