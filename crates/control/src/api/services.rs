//! Workers under their older name, services: what wrangler asks before a deploy, before a delete and for `init --from-dash`.

use serde_json::{Value, json};
use skep_store::{BindingRecord, Permission, VersionRecord};

use crate::answer::Answer;
use crate::api::{scripts, shapes};
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    let writes = Access::Account(Permission::WorkersWrite);
    vec![
        endpoint!(GET "/accounts/{account_id}/workers/services/{script_name}", reads, "A Worker", service),
        endpoint!(DELETE "/accounts/{account_id}/workers/services/{script_name}", writes, "Delete a Worker", delete),
        endpoint!(GET "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}", reads, "A Worker's only environment", environment),
        endpoint!(GET "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/content/v2", reads, "A Worker's modules", scripts::download),
        endpoint!(GET "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/bindings", reads, "A Worker's bindings", bindings),
        endpoint!(GET "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/routes", reads, "A Worker's routes", routes),
        endpoint!(GET "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/subdomain", reads, "Whether the Worker answers at its own address", subdomain),
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}/references", reads, "Who calls a Worker", references),
        endpoint!(GET "/accounts/{account_id}/workers/tails/by-consumer/{script_name}", reads, "Whose events a Worker gets", tails_by_consumer),
        endpoint!(GET "/accounts/{account_id}/workers/durable_objects/namespaces", reads, "Namespaces of Durable Objects", durable_objects),
    ]
}

async fn latest(call: &Call) -> ApiResult<VersionRecord> {
    let worker = call.worker().await?;
    call.store().latest_version(worker.id).await?.ok_or_else(|| ApiError::no_worker(&worker.name))
}

async fn service(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let latest = call.store().latest_version(worker.id).await?;
    let script = shapes::script(&worker, latest.as_ref());
    Ok(Answer::ok(json!({
        "id": worker.name,
        "created_on": script["created_on"],
        "modified_on": script["modified_on"],
        "default_environment": { "environment": "production", "script": script },
        "environments": [{ "environment": "production" }],
    })))
}

async fn environment(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let latest = call.store().latest_version(worker.id).await?;
    Ok(Answer::ok(json!({ "environment": "production", "script": shapes::script(&worker, latest.as_ref()) })))
}

async fn bindings(call: Call) -> ApiResult {
    let bindings: Vec<BindingRecord> = latest(&call).await?.bindings.iter().map(BindingRecord::shown).collect();
    Ok(Answer::ok(json!(bindings)))
}

async fn routes(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let routes = call.store().routes(call.account()).await?;
    let own: Vec<Value> = routes.iter().filter(|route| route.script == worker.name).map(|route| json!(route)).collect();
    Ok(Answer::ok(own))
}

async fn subdomain(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    Ok(Answer::ok(json!({ "enabled": worker.workers_dev, "previews_enabled": worker.previews })))
}

/// Workers whose newest version has a service binding to the one in the path.
async fn callers(call: &Call) -> ApiResult<Vec<String>> {
    const PAGE: u32 = 1000;
    let mut callers = Vec::new();
    let mut skip = 0;
    loop {
        let workers = call.store().workers(call.account(), skip, PAGE).await?;
        for worker in &workers {
            let Some(version) = call.store().latest_version(worker.id).await? else { continue };
            let calls = |binding: &BindingRecord| {
                binding.kind == "service"
                    && binding.settings.get("service").and_then(Value::as_str) == Some(call.worker_name())
            };
            if worker.name != call.worker_name() && version.bindings.iter().any(calls) {
                callers.push(worker.name.clone());
            }
        }
        if workers.len() < PAGE as usize {
            return Ok(callers);
        }
        skip += PAGE;
    }
}

async fn references(call: Call) -> ApiResult {
    let callers = callers(&call).await?;
    if callers.is_empty() {
        return Ok(Answer::ok(json!({})));
    }
    let incoming: Vec<Value> = callers
        .into_iter()
        .map(|service| json!({ "service": service, "environment": "production", "name": call.worker_name() }))
        .collect();
    Ok(Answer::ok(json!({ "services": { "incoming": incoming, "outgoing": [] } })))
}

async fn tails_by_consumer(_: Call) -> ApiResult {
    Ok(Answer::ok(Vec::<Value>::new()))
}

async fn durable_objects(call: Call) -> ApiResult {
    Ok(Answer::page(Vec::new(), call.page()))
}

async fn delete(call: Call) -> ApiResult {
    if call.query("force") != Some("true") {
        let callers = callers(&call).await?;
        if !callers.is_empty() {
            let message = format!(
                "{} is called by {}: delete those bindings first, or use --force",
                call.worker_name(),
                callers.join(", ")
            );
            return Err(ApiError::conflict(message));
        }
    }
    call.store().delete_worker(&call.actor(), call.worker_name()).await?;
    Ok(Answer::done())
}
