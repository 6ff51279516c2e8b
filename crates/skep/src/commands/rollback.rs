//! `skep rollback`: an older version gets all the traffic again.

use std::error::Error;

use clap::Args;
use serde_json::json;
use skep_client::Api;
use skep_client::api::{Annotations, Share};
use skep_client::promotion::State;

use crate::commands::connection::Connection;
use crate::commands::project::Selection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// Give all traffic to the version before, or to a certain one; a promotion that is running is stopped
#[derive(Args)]
pub(crate) struct Arguments {
    /// The version: its id or the beginning of it, its number, or its tag. Without one: the one that had all traffic before
    #[arg(value_name = "VERSION")]
    wanted: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    block_on(async {
        let worker = arguments.selection.worker()?;
        let api = connection.api().await?;
        if arguments.wanted.is_none()
            && let Some(promotion) = api.promotion(&worker).await?.filter(|running| running.state == State::Running)
        {
            let version = &promotion.version_id;
            output::confirm(
                &format!("Stop the promotion of {version}, which has {} %?", promotion.percentage),
                arguments.yes,
            )?;
            api.stop_promotion(&worker).await?;
            match connection.json {
                true => {
                    output::document(&json!({ "worker": worker, "stopped": version, "version_id": promotion.from }))
                }
                false => output::line(&format!("Stopped: {} has all the traffic", promotion.from.unwrap_or_default())),
            }
            return Ok(());
        }
        let version = target(&api, &worker, arguments.wanted.as_deref()).await?;
        output::confirm(&format!("Give all traffic of {worker} to the version {version}?"), arguments.yes)?;
        let annotations = Annotations {
            message: arguments.message.clone(),
            triggered_by: Some("rollback".to_owned()),
            ..Annotations::default()
        };
        let shares = [Share { version_id: version, percentage: 100.0 }];
        let deployment = api.deploy_versions(&worker, &shares, &annotations).await?;
        match connection.json {
            true => output::document(&deployment),
            false => output::line(&format!("Rolled back: {} has all the traffic of {worker}", shares[0].version_id)),
        }
        Ok(())
    })
}

/// The version that is meant: by default the newest one before the current deployment that had all the traffic.
async fn target(api: &Api, worker: &str, wanted: Option<&str>) -> Result<String, Box<dyn Error>> {
    if let Some(wanted) = wanted {
        return Ok(api.find_version(worker, wanted).await?.id);
    }
    let deployments = api.deployments(worker).await?;
    let current = deployments
        .first()
        .ok_or_else(|| format!("nothing of {worker} is deployed: there is nothing to go back from"))?;
    let is_current = |id: &str| current.versions.len() == 1 && current.versions[0].version_id == id;
    let before = deployments[1..].iter().find_map(|deployment| match deployment.versions.as_slice() {
        [share] if !is_current(&share.version_id) => Some(share.version_id.clone()),
        _ => None,
    });
    Ok(before.ok_or_else(|| {
        format!("no other version of {worker} had all the traffic before: name one, see `skep versions list --name {worker}`")
    })?)
}
