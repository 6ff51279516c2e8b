//! `skep login`: keeps where the platform is, and the token for it.

use clap::Args;
use serde_json::json;
use skep_client::{Api, Login, LoginFile, Platform, PlatformUrl, Source};
use skep_worker::Secret;

use crate::commands::connection::Connection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// Log in to a platform: keep its URL and an API token for all other commands
///
/// The token comes from --token, SKEP_TOKEN, standard input, or is typed. On the platform's own machine:
/// skep login --url http://localhost:8787 --token "$(cat DIR/admin-token)"
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    let given = connection.given();
    let file = LoginFile::of_this_user()?;
    let url = match given.url {
        Some(url) => url,
        None => output::ask("Where is the platform?", "http://localhost:8787")
            .ok_or("the platform's URL is missing: skep login --url https://…")?,
    };
    let url = PlatformUrl::parse(&url)?;
    let token = match given.token {
        Some(token) => token,
        None => Secret::new(output::secret(&format!("API token for {url}"))?.trim()),
    };
    if url.is_exposed() {
        output::warning(&format!(
            "warning: {url} is not encrypted: whoever sees the network sees the token. Use https where the network is not yours alone"
        ));
    }
    let platform = Platform { url, token, account: given.account, source: Source::Given };
    let (account, status) = block_on(async {
        let api = Api::without_account(&platform)?;
        let status = api.verify_token().await?;
        let wanted = platform.account.as_deref();
        let accounts = api.accounts().await?;
        let account = accounts.into_iter().find(|account| wanted.is_none_or(|wanted| account.id == wanted));
        Ok((account.ok_or("the token is for no such account: leave out --account")?, status))
    })?;
    let login = Login {
        url: platform.url,
        account_id: account.id.clone(),
        account_name: account.name.clone(),
        token: platform.token,
    };
    file.write(&login)?;
    let path = file.path().display().to_string();
    if connection.json {
        output::document(&json!({
            "url": login.url.as_str(),
            "account": account,
            "expires_on": status.expires_on,
            "file": path,
        }));
        return Ok(());
    }
    output::line(&format!("Logged in to {} as {} ({})", login.url, account.name, account.id));
    if let Some(expires) = status.expires_on {
        output::line(&format!("The token expires on {}", skep_client::times::local(&expires)));
    }
    output::line(&format!("Kept in {path}, which only you may read; `skep logout` removes it"));
    Ok(())
}
