//! Workers: listing, uploading, downloading, deleting.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use skep_exchange::{Body, Response};
use skep_store::{
    Annotations, Committed, FileHash, NewDeployment, Permission, Share, StoredModule, VersionRecord, WorkerSettings,
};

use crate::answer::Answer;
use crate::api::{deployments, shapes};
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};
use crate::upload::{self, Metadata, content_type};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    let writes = Access::Account(Permission::WorkersWrite);
    vec![
        endpoint!(GET "/accounts/{account_id}/workers/scripts", reads, "An account's Workers", list),
        endpoint!(PUT "/accounts/{account_id}/workers/scripts/{script_name}", writes, "Upload a Worker and deploy it at once", put),
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}", reads, "A Worker's modules", download),
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}/content/v2", reads, "A Worker's modules", download),
        endpoint!(DELETE "/accounts/{account_id}/workers/scripts/{script_name}", writes, "Delete a Worker", delete),
    ]
}

/// A Worker's name becomes a label of a host name: RFC 1123, section 2.1, and Cloudflare's underscore.
pub(crate) fn check_name(name: &str) -> ApiResult<()> {
    let fine = (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fine {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::BAD_REQUEST,
        10016,
        format!(
            "\"{}\" cannot be a Worker's name: use up to 63 letters, digits, hyphens and underscores, with no hyphen at either end",
            name.escape_debug()
        ),
    ))
}

async fn list(call: Call) -> ApiResult {
    let page = call.page();
    let mut shown = Vec::new();
    for worker in call.store().workers(call.account(), page.skip(), page.size).await? {
        let latest = call.store().latest_version(worker.id).await?;
        shown.push(shapes::script(&worker, latest.as_ref()));
    }
    Ok(Answer::page(shown, page))
}

/// Reads an upload, starts it once, and commits it.
pub(crate) async fn commit(call: &mut Call, deploy: bool) -> ApiResult<Committed> {
    let name = call.worker_name().to_owned();
    check_name(&name)?;
    let upload = upload::read(call).await?;
    super::settings::check_consumers(call, upload.metadata.tail_consumers.as_deref()).await?;
    let found = call.store().worker(call.account(), &name).await?;
    // Until the version is committed nothing else refers to what is written.
    let hold = call.store().hold();
    let (mut new, modules, metadata) = upload.store(call.store(), &hold).await?;
    if metadata.keep_bindings.is_none() {
        // Wrangler 3 and 4.86 do not say so, and rely on it.
        new.keep_bindings = vec!["secret_text".to_owned(), "secret_key".to_owned()];
    }
    if metadata.keep_assets
        && let Some(worker) = &found
        && let Some(before) = call.store().latest_version(worker.id).await?
    {
        new.content.assets = before.content.assets;
    }
    if let Some(sent) = &metadata.assets {
        new.content.assets = Some(super::assets::record(call, &hold, sent).await?);
    }
    if !new.content.main.is_empty() {
        let (id, bindings) = call.store().preview_bindings(found.as_ref(), &new).await?;
        let trial = VersionRecord {
            id: uuid::Uuid::new_v4(),
            worker_id: id,
            number: 0,
            created_on: 0,
            author: String::new(),
            source: String::new(),
            annotations: Annotations::default(),
            content: new.content.clone(),
            bindings,
        };
        let version = call.store().describe_version(&name, &trial, modules)?;
        let started =
            call.control.runtime.trials.start(version).await.map_err(|failure| ApiError::script(failure.0))?;
        new.content.handlers = started.handlers;
        new.content.startup_time_ms = started.startup_time_ms;
        call.store().keep_code(&hold, &mut new.content, started.code).await?;
    }
    let actor = call.actor();
    let annotations = new.annotations.clone();
    let mut committed = call.store().commit_version(&actor, &name, new, None).await?;
    drop(hold);
    if let Some(change) = settings(&metadata, &committed.worker.settings) {
        committed.worker = call.store().update_worker(&actor, &name, |worker| worker.settings = change).await?;
    }
    if deploy {
        let versions = vec![Share { version_id: committed.version.id, percentage: 100.0 }];
        deployments::deploy(call, committed.worker.id, NewDeployment { versions, annotations }).await?;
        committed.worker = call.worker().await?;
    }
    Ok(committed)
}

/// What an upload says of the Worker and not of the version, where that is new.
fn settings(metadata: &Metadata, before: &WorkerSettings) -> Option<WorkerSettings> {
    let mut after = before.clone();
    if let Some(tags) = &metadata.tags {
        after.tags.clone_from(tags);
    }
    if metadata.observability.is_some() {
        after.observability.clone_from(&metadata.observability);
    }
    if let Some(logpush) = metadata.logpush {
        after.logpush = logpush;
    }
    if let Some(consumers) = &metadata.tail_consumers {
        after.tail_consumers.clone_from(consumers);
    }
    let tag = metadata.migrations.as_ref().and_then(|migrations| migrations.get("new_tag")).and_then(Value::as_str);
    if let Some(tag) = tag {
        after.migration_tag = Some(tag.to_owned());
    }
    (after != *before).then_some(after)
}

async fn put(mut call: Call) -> ApiResult {
    let committed = commit(&mut call, true).await?;
    let mut shown = shapes::script(&committed.worker, Some(&committed.version));
    shown["deployment_id"] = json!(committed.version.id.simple().to_string());
    shown["startup_time_ms"] = json!(committed.version.content.startup_time_ms);
    shown["entry_point"] = json!(committed.version.content.main);
    Ok(Answer::ok(shown))
}

async fn delete(call: Call) -> ApiResult {
    call.store().delete_worker(&call.actor(), call.worker_name()).await?;
    Ok(Answer::done())
}

/// A version's modules as `multipart/form-data`, the main module named in `cf-entrypoint`.
pub(crate) async fn download(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let wanted = call.query("version").and_then(|id| uuid::Uuid::parse_str(id).ok());
    let deployed = worker.live.first().map(|share| share.version_id);
    let id = match wanted.or(deployed) {
        Some(id) => id,
        None => call.store().latest_version(worker.id).await?.ok_or_else(|| ApiError::no_worker(&worker.name))?.id,
    };
    let version = call.store().version(worker.id, id).await?;
    let version = version.ok_or_else(|| ApiError::not_found(10022, format!("{} has no version {id}", worker.name)))?;
    let files: Vec<(StoredModule, FileHash)> =
        upload::files(&version.content).map(|(module, file)| (module.clone(), file.clone())).collect();
    let contents = call
        .store()
        .with_files(move |files_of| {
            files.into_iter().map(|(module, file)| Ok((files_of.read(&file)?, module))).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let boundary = format!("skep-{}", uuid::Uuid::new_v4().simple());
    let mut body = Vec::new();
    for (content, module) in contents {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{0}\"; filename=\"{0}\"\r\nContent-Type: {1}\r\n\r\n",
            module.name.replace('"', "%22"),
            content_type(module.kind, version.content.service_worker)
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let mut response = Response::new(Body::full(body));
    let headers = response.headers_mut();
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    headers.insert(CONTENT_TYPE, value(&format!("multipart/form-data; boundary={boundary}")));
    headers.insert("cf-entrypoint", value(&version.content.main));
    Ok(Answer::Raw(Box::new(response)))
}
