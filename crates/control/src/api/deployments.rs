//! Deployments: which versions get what share of the traffic.

use serde::Deserialize;
use serde_json::{Value, json};
use skep_store::{Annotations, NewDeployment, Permission, Share};

use crate::answer::Answer;
use crate::api::shapes;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

/// Deployments that are shown.
const SHOWN: u32 = 100;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    let writes = Access::Account(Permission::WorkersWrite);
    vec![
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}/deployments", reads, "A Worker's deployments, newest first", list),
        endpoint!(POST "/accounts/{account_id}/workers/scripts/{script_name}/deployments", writes, "Give versions their share of the traffic", create),
    ]
}

async fn list(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let deployments: Vec<Value> =
        call.store().deployments(worker.id, SHOWN).await?.iter().map(shapes::deployment).collect();
    Ok(Answer::ok(json!({ "deployments": deployments })))
}

#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    strategy: Option<String>,
    versions: Vec<Share>,
    #[serde(default)]
    annotations: Annotations,
}

async fn create(mut call: Call) -> ApiResult {
    let sent: Sent = call.json().await?;
    if let Some(strategy) = sent.strategy.filter(|strategy| strategy != "percentage") {
        return Err(ApiError::bad(format!("the strategy \"{strategy}\" is unknown: use \"percentage\"")));
    }
    let new = NewDeployment { versions: sent.versions, annotations: sent.annotations };
    let deployment = call.store().deploy(&call.actor(), call.worker_name(), new).await?;
    Ok(Answer::ok(shapes::deployment(&deployment)))
}
