//! The flags of every command that talks to a platform: where it is, and for whom the output is.

use std::error::Error;

use clap::Args;
use skep_client::{Api, Given, LoginFile, Platform, Variables};
use skep_worker::Secret;

/// Which platform, and whether a program reads the output.
#[derive(Args)]
pub(crate) struct Connection {
    /// The platform's URL, in place of the one of `skep login`
    #[arg(long, value_name = "URL", env = "SKEP_URL", global = true, help_heading = "Platform")]
    pub(crate) url: Option<String>,
    /// The API token. Other users of this machine may see it here: SKEP_TOKEN is safer
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SKEP_TOKEN",
        hide_env_values = true,
        global = true,
        help_heading = "Platform"
    )]
    pub(crate) token: Option<String>,
    /// The account's id, if it is not the token's own
    #[arg(long, value_name = "ID", env = "SKEP_ACCOUNT_ID", global = true, help_heading = "Platform")]
    pub(crate) account: Option<String>,
    /// Print one JSON document, also for errors
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Connection {
    /// What flags and `SKEP_*` variables say.
    pub(crate) fn given(&self) -> Given {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Given { url: text(&self.url), token: text(&self.token).map(Secret::new), account: text(&self.account) }
    }

    /// The platform that is meant.
    pub(crate) fn platform(&self) -> Result<Platform, Box<dyn Error>> {
        let login = LoginFile::of_this_user().and_then(|file| file.read());
        let variables = Variables::of(&std::env::current_dir()?);
        let found = Platform::find(&self.given(), &variables, login.as_ref().ok().and_then(Option::as_ref));
        // A login that cannot be read matters only where it is needed.
        match (found, login) {
            (Err(_), Err(login)) => Err(login.into()),
            (found, _) => Ok(found?),
        }
    }

    /// Its API.
    pub(crate) async fn api(&self) -> Result<Api, Box<dyn Error>> {
        Ok(Api::open(&self.platform()?).await?)
    }
}
