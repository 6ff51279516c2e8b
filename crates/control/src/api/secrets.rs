//! Secrets: put, listed by name, deleted; never shown.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use skep_store::{Annotations, Permission, WorkerRecord};
use skep_worker::Secret;

use crate::answer::Answer;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    let writes = Access::Account(Permission::WorkersWrite);
    vec![
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}/secrets", reads, "The names of a Worker's secrets", list),
        endpoint!(PUT "/accounts/{account_id}/workers/scripts/{script_name}/secrets", writes, "Put a secret", put),
        endpoint!(DELETE "/accounts/{account_id}/workers/scripts/{script_name}/secrets/{secret_name}", writes, "Delete a secret", delete),
        endpoint!(PATCH "/accounts/{account_id}/workers/scripts/{script_name}/secrets-bulk", writes, "Put and delete several secrets", bulk),
    ]
}

async fn list(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let latest = call.store().latest_version(worker.id).await?;
    let secrets: Vec<Value> = latest
        .iter()
        .flat_map(|version| &version.bindings)
        .filter(|binding| binding.is_secret())
        .map(|binding| json!({ "name": binding.name, "type": binding.kind }))
        .collect();
    Ok(Answer::ok(secrets))
}

#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    name: String,
    text: String,
}

/// Secrets are changed at once where all traffic goes to the newest version; otherwise one must say which version is meant.
async fn change(call: &Call, secrets: Vec<(String, Option<Secret>)>) -> ApiResult<WorkerRecord> {
    let worker = call.worker().await?;
    let latest = call.store().latest_version(worker.id).await?;
    let latest = latest.ok_or_else(|| ApiError::no_worker(&worker.name))?;
    if !worker.live.is_empty()
        && !worker.live.iter().any(|share| share.version_id == latest.id && share.percentage >= 100.0)
    {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            10215,
            format!(
                "the newest version of {} is not the one that is deployed: deploy it first, or use `wrangler versions secret put`",
                worker.name
            ),
        ));
    }
    let annotations = Annotations { triggered_by: Some("secret".to_owned()), ..Annotations::default() };
    Ok(call.store().put_secrets(&call.actor(), &worker.name, secrets, annotations, true).await?.worker)
}

async fn put(mut call: Call) -> ApiResult {
    let sent: Sent = call.json().await?;
    if sent.name.is_empty() {
        return Err(ApiError::bad("the secret has no \"name\""));
    }
    change(&call, vec![(sent.name.clone(), Some(Secret::new(sent.text)))]).await?;
    Ok(Answer::ok(json!({ "name": sent.name, "type": "secret_text" })))
}

async fn delete(call: Call) -> ApiResult {
    let name = call.parameter("secret_name").to_owned();
    let worker = call.worker().await?;
    let latest = call.store().latest_version(worker.id).await?;
    let there =
        latest.iter().flat_map(|version| &version.bindings).any(|binding| binding.name == name && binding.is_secret());
    if !there {
        return Err(ApiError::not_found(10056, format!("{} has no secret \"{name}\"", worker.name)));
    }
    change(&call, vec![(name, None)]).await?;
    Ok(Answer::done())
}

async fn bulk(mut call: Call) -> ApiResult {
    let patch = call.value().await?;
    let sent: &Map<String, Value> = patch
        .get("secrets")
        .and_then(Value::as_object)
        .ok_or_else(|| ApiError::bad("the patch has no object \"secrets\""))?;
    let mut secrets = Vec::new();
    for (name, value) in sent {
        let text = match value {
            Value::Null => None,
            value => {
                let sent: Sent = serde_json::from_value(value.clone())
                    .map_err(|_| ApiError::bad(format!("the secret {name} has no \"text\"")))?;
                Some(Secret::new(sent.text))
            }
        };
        secrets.push((name.clone(), text));
    }
    change(&call, secrets).await?;
    Ok(Answer::ok(json!({})))
}
