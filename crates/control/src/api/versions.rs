//! Versions.

use serde_json::{Value, json};
use skep_store::{Annotations, Permission, VersionRecord, WorkerRecord};
use skep_worker::Secret;
use uuid::Uuid;

use crate::answer::Answer;
use crate::api::{scripts, shapes};
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

/// Versions that may be deployed: as far back as one can roll back.
const DEPLOYABLE: u32 = 100;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    let writes = Access::Account(Permission::WorkersWrite);
    vec![
        endpoint!(POST "/accounts/{account_id}/workers/scripts/{script_name}/versions", writes, "Upload a version", upload),
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}/versions", reads, "A Worker's versions, newest first", list),
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}/versions/{version_id}", reads, "A version", view),
        endpoint!(PATCH "/accounts/{account_id}/workers/workers/{script_name}/versions/latest", writes, "Make a version with other secrets", patch_latest),
    ]
}

/// Whether the version has an address of its own.
fn has_preview(worker: &WorkerRecord, version: &VersionRecord) -> bool {
    worker.previews && version.content.handlers.iter().any(|handler| handler == "fetch")
}

async fn upload(mut call: Call) -> ApiResult {
    let committed = scripts::commit(&mut call, false).await?;
    Ok(Answer::ok(shapes::version(&committed.version, has_preview(&committed.worker, &committed.version))))
}

async fn list(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let page = call.page();
    let (skip, most) = match call.query("deployable") {
        Some("true") => (0, DEPLOYABLE),
        _ => (page.skip(), page.size),
    };
    let versions = call.store().versions(worker.id, skip, most).await?;
    let items: Vec<Value> =
        versions.iter().map(|version| shapes::version(version, has_preview(&worker, version))).collect();
    Ok(Answer::ok(json!({ "items": items })))
}

/// The version that the path names.
async fn named(call: &Call, worker: &WorkerRecord) -> ApiResult<VersionRecord> {
    let text = call.parameter("version_id");
    let version = match Uuid::parse_str(text) {
        Ok(id) => call.store().version(worker.id, id).await?,
        Err(_) if text == "latest" => call.store().latest_version(worker.id).await?,
        Err(_) => None,
    };
    version.ok_or_else(|| {
        ApiError::not_found(10022, format!("{} has no version {text}: see `skep versions list`", worker.name))
    })
}

async fn view(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let version = named(&call, &worker).await?;
    Ok(Answer::ok(shapes::version(&version, has_preview(&worker, &version))))
}

/// A merge patch of `env`: a secret, or null to remove it.
async fn patch_latest(mut call: Call) -> ApiResult {
    let patch = call.value().await?;
    let mut secrets = Vec::new();
    for (key, value) in patch.get("env").and_then(Value::as_object).into_iter().flatten() {
        let text = match value {
            Value::Null => None,
            value if value.get("type").and_then(Value::as_str) == Some("secret_text") => {
                let text = value.get("text").and_then(Value::as_str);
                Some(Secret::new(text.ok_or_else(|| ApiError::bad(format!("the secret {key} has no \"text\"")))?))
            }
            _ => {
                return Err(ApiError::bad(format!("only secrets can be changed without an upload, and {key} is none")));
            }
        };
        secrets.push((key.clone(), text));
    }
    let annotations: Annotations = patch
        .get("annotations")
        .map(|annotations| serde_json::from_value(annotations.clone()))
        .transpose()
        .map_err(|error| ApiError::bad(format!("\"annotations\" is not as expected: {error}")))?
        .unwrap_or_default();
    let committed = call.store().put_secrets(&call.actor(), call.worker_name(), secrets, annotations, false).await?;
    Ok(Answer::ok(shapes::version(&committed.version, has_preview(&committed.worker, &committed.version))))
}
