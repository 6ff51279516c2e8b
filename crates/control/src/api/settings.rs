//! What is set for a Worker, and the address it has by itself.

use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};
use skep_store::{Annotations, BindingRecord, NewVersion, Permission, WorkerRecord, WorkerSettings};

use crate::answer::Answer;
use crate::api::shapes;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult, NO_CONSUMER};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    let writes = Access::Account(Permission::WorkersWrite);
    vec![
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}/settings", reads, "The newest version's bindings, and the Worker's settings", settings),
        endpoint!(PATCH "/accounts/{account_id}/workers/scripts/{script_name}/settings", writes, "Change bindings: makes a version and deploys it", patch_settings),
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}/script-settings", reads, "The Worker's settings", script_settings),
        endpoint!(PATCH "/accounts/{account_id}/workers/scripts/{script_name}/script-settings", writes, "Change the Worker's settings", patch_script_settings),
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}/subdomain", reads, "Whether the Worker answers at its own address", subdomain),
        endpoint!(POST "/accounts/{account_id}/workers/scripts/{script_name}/subdomain", writes, "Let the Worker answer at its own address, or not", put_subdomain),
        endpoint!(GET "/accounts/{account_id}/workers/subdomain", reads, "The account's label in addresses", account_subdomain),
        endpoint!(PUT "/accounts/{account_id}/workers/subdomain", Access::Account(Permission::AccountWrite), "Change the account's label in addresses", put_account_subdomain),
        endpoint!(GET "/accounts/{account_id}/workers/workers/{script_name}", reads, "A Worker, with its addresses", worker),
    ]
}

fn shown(settings: &WorkerSettings) -> Value {
    json!({
        "logpush": settings.logpush,
        "observability": shapes::observability(settings),
        "tags": settings.tags,
        "tail_consumers": settings.tail_consumers,
    })
}

async fn settings(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let latest = call.store().latest_version(worker.id).await?;
    let mut all = shown(&worker.settings);
    if let Some(latest) = latest {
        let bindings: Vec<BindingRecord> = latest.bindings.iter().map(BindingRecord::shown).collect();
        all["bindings"] = json!(bindings);
        all["compatibility_date"] = json!(latest.content.compatibility_date);
        all["compatibility_flags"] = json!(latest.content.compatibility_flags);
        all["usage_model"] = json!("standard");
    }
    Ok(Answer::ok(all))
}

#[derive(Deserialize)]
struct SettingsSent {
    bindings: Option<Vec<BindingRecord>>,
    #[serde(flatten)]
    rest: WorkerSettingsSent,
}

#[derive(Default, Deserialize)]
struct WorkerSettingsSent {
    logpush: Option<bool>,
    observability: Option<Value>,
    tags: Option<Vec<String>>,
    tail_consumers: Option<Vec<Value>>,
}

impl WorkerSettingsSent {
    fn apply(self, settings: &mut WorkerSettings) {
        if let Some(logpush) = self.logpush {
            settings.logpush = logpush;
        }
        if self.observability.is_some() {
            settings.observability = self.observability;
        }
        if let Some(tags) = self.tags {
            settings.tags = tags;
        }
        if let Some(consumers) = self.tail_consumers {
            settings.tail_consumers = consumers;
        }
    }
}

/// Fails if a Worker that is to get the events of the one in the path is not there.
pub(crate) async fn check_consumers(call: &Call, consumers: Option<&[Value]>) -> ApiResult<()> {
    for consumer in consumers.unwrap_or_default() {
        let name = consumer.get("service").and_then(Value::as_str);
        let name =
            name.ok_or_else(|| ApiError::bad("each of \"tail_consumers\" needs a \"service\", the name of a Worker"))?;
        if name != call.worker_name() && call.store().worker(call.account(), name).await?.is_none() {
            let message = format!(
                "Tail Worker {name} does not exist on this account: deploy it first, or correct its name in \"tail_consumers\""
            );
            return Err(ApiError::new(StatusCode::BAD_REQUEST, NO_CONSUMER, message));
        }
    }
    Ok(())
}

/// JSON, or `multipart/form-data` with a field `settings`, as wrangler 4.86 and before send for `secret bulk`.
async fn patch_settings(mut call: Call) -> ApiResult {
    let content_type = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let sent: SettingsSent = match multer::parse_boundary(content_type) {
        Ok(boundary) => {
            let bytes = call.bytes(4 * 1024 * 1024).await?;
            let chunks = futures_util::stream::once(async move { Ok::<_, std::convert::Infallible>(bytes) });
            let mut multipart = multer::Multipart::new(chunks, boundary);
            let fail = |error: multer::Error| ApiError::bad(format!("the form cannot be read: {error}"));
            let mut settings = None;
            while let Some(field) = multipart.next_field().await.map_err(fail)? {
                if field.name() == Some("settings") {
                    settings = Some(field.bytes().await.map_err(fail)?);
                }
            }
            let settings = settings.ok_or_else(|| ApiError::bad("the form has no field \"settings\""))?;
            serde_json::from_slice(&settings)
                .map_err(|error| ApiError::bad(format!("the field \"settings\" is not the expected JSON: {error}")))?
        }
        Err(_) => call.json().await?,
    };
    let mut worker = call.worker().await?;
    check_consumers(&call, sent.rest.tail_consumers.as_deref()).await?;
    let actor = call.actor();
    if let Some(bindings) = sent.bindings {
        let latest = call.store().latest_version(worker.id).await?;
        let latest = latest.ok_or_else(|| ApiError::no_worker(&worker.name))?;
        // A binding that comes back as it was shown stays what it is.
        let annotations = Annotations { triggered_by: Some("secret".to_owned()), ..Annotations::default() };
        let new = NewVersion {
            content: latest.content,
            bindings,
            keep_bindings: Vec::new(),
            annotations: annotations.clone(),
        };
        worker = call.store().commit_version(&actor, &worker.name, new, Some(annotations)).await?.worker;
    }
    let mut after = worker.settings.clone();
    sent.rest.apply(&mut after);
    if after != worker.settings {
        call.store().update_worker(&actor, &worker.name, |worker| worker.settings = after).await?;
    }
    settings(call).await
}

async fn script_settings(call: Call) -> ApiResult {
    Ok(Answer::ok(shown(&call.worker().await?.settings)))
}

async fn patch_script_settings(mut call: Call) -> ApiResult {
    let sent: WorkerSettingsSent = call.json().await?;
    check_consumers(&call, sent.tail_consumers.as_deref()).await?;
    let change = |worker: &mut WorkerRecord| sent.apply(&mut worker.settings);
    let worker = call.store().update_worker(&call.actor(), call.worker_name(), change).await?;
    Ok(Answer::ok(shown(&worker.settings)))
}

fn shown_subdomain(worker: &WorkerRecord) -> Value {
    json!({ "enabled": worker.workers_dev, "previews_enabled": worker.previews })
}

async fn subdomain(call: Call) -> ApiResult {
    Ok(Answer::ok(shown_subdomain(&call.worker().await?)))
}

#[derive(Deserialize)]
struct SubdomainSent {
    enabled: bool,
    previews_enabled: Option<bool>,
}

async fn put_subdomain(mut call: Call) -> ApiResult {
    let sent: SubdomainSent = call.json().await?;
    let before = call.worker().await?;
    let previews = sent.previews_enabled.unwrap_or(before.previews);
    if (before.workers_dev, before.previews) == (sent.enabled, previews) {
        return Ok(Answer::ok(shown_subdomain(&before)));
    }
    let change = |worker: &mut WorkerRecord| {
        worker.workers_dev = sent.enabled;
        worker.previews = previews;
    };
    let worker = call.store().update_worker(&call.actor(), call.worker_name(), change).await?;
    Ok(Answer::ok(shown_subdomain(&worker)))
}

async fn account_label(call: &Call) -> ApiResult<String> {
    let account = call.store().account(call.account()).await?;
    Ok(account.ok_or_else(ApiError::authentication)?.subdomain)
}

async fn account_subdomain(call: Call) -> ApiResult {
    Ok(Answer::ok(json!({ "subdomain": account_label(&call).await? })))
}

#[derive(Deserialize)]
struct AccountSubdomainSent {
    subdomain: String,
}

async fn put_account_subdomain(mut call: Call) -> ApiResult {
    let sent: AccountSubdomainSent = call.json().await?;
    super::scripts::check_name(&sent.subdomain)?;
    call.store().rename_subdomain(&call.actor(), &sent.subdomain.to_ascii_lowercase()).await?;
    Ok(Answer::ok(json!({ "subdomain": sent.subdomain.to_ascii_lowercase() })))
}

async fn worker(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let label = account_label(&call).await?;
    let addresses = &call.control.addresses;
    let preview = format!("-{}.{label}.{}", worker.name, addresses.domain);
    let mut subdomain = shown_subdomain(&worker);
    subdomain["url"] = json!(addresses.url(&format!("{}.{label}", worker.name)));
    subdomain["preview_url_suffix"] = json!(preview);
    Ok(Answer::ok(json!({
        "id": worker.id.simple().to_string(),
        "name": worker.name,
        "created_on": crate::answer::date(worker.created_on),
        "updated_on": crate::answer::date(worker.modified_on),
        "subdomain": subdomain,
        "tags": worker.settings.tags,
        "observability": shapes::observability(&worker.settings),
        "logpush": worker.settings.logpush,
        "tail_consumers": worker.settings.tail_consumers,
    })))
}
