//! Deployments: which versions get what share of the traffic.

use serde::Deserialize;
use serde_json::{Value, json};
use skep_store::{Annotations, Deployment, NewDeployment, Permission, Share};
use uuid::Uuid;

use crate::answer::Answer;
use crate::api::shapes;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

/// Deployments that are shown.
const SHOWN: u32 = 100;
/// Versions that are started for a deployment: more cannot be deployed, and are refused.
const AT_ONCE: usize = 2;

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
    let worker = call.worker().await?;
    let new = NewDeployment { versions: sent.versions, annotations: sent.annotations };
    Ok(Answer::ok(shapes::deployment(&deploy(&call, worker.id, new).await?)))
}

/// Deploys versions that are there. They are started first: who asks meanwhile is answered by those before them.
pub(super) async fn deploy(call: &Call, worker: Uuid, new: NewDeployment) -> ApiResult<Deployment> {
    for share in new.versions.iter().take(AT_ONCE) {
        call.control.runtime.trials.prepare(worker, share.version_id).await;
    }
    Ok(call.store().deploy(&call.actor(), call.worker_name(), new).await?)
}
