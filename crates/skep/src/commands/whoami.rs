//! `skep whoami`: where commands go, and as whom.

use clap::Args;
use serde_json::json;
use skep_client::{Api, Source, times};

use crate::commands::connection::Connection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// Show the platform, the account and the token that commands use
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let platform = arguments.connection.platform()?;
    let (api, status, user, accounts) = block_on(async {
        let api = Api::open(&platform).await?;
        let status = api.verify_token().await?;
        Ok((api.clone(), status, api.user().await?, api.accounts().await?))
    })?;
    let account = accounts.into_iter().find(|account| account.id == api.account_id());
    let account = account.ok_or_else(|| format!("the token is not for the account {}", api.account_id()))?;
    let source = match platform.source {
        Source::Given => "flags or SKEP_* variables",
        Source::Wrangler => "wrangler's CLOUDFLARE_* variables",
        Source::Login => "skep login",
    };
    if arguments.connection.json {
        output::document(&json!({
            "url": platform.url.as_str(), "account": account, "user": user, "token": status, "source": source,
        }));
        return Ok(());
    }
    let expires = status.expires_on.map_or_else(|| "never".to_owned(), |time| times::local(&time));
    output::line(&format!("Platform  {} (from {source})", platform.url));
    output::line(&format!("Account   {} ({})", account.name, account.id));
    output::line(&format!("Token     {} ({}), expires {expires}", user.email, status.id));
    Ok(())
}
