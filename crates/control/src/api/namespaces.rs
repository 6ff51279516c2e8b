//! Namespaces of KV, D1, R2 and queues, as records. What holds their data is not there yet: a binding says so when it is used.

use http::StatusCode;
use serde_json::{Value, json};
use skep_store::{Namespace, NamespaceKind, Permission};

use crate::answer::{Answer, date};
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::StorageRead);
    let writes = Access::Account(Permission::StorageWrite);
    vec![
        endpoint!(GET "/accounts/{account_id}/storage/kv/namespaces", reads, "KV namespaces", kv::list),
        endpoint!(POST "/accounts/{account_id}/storage/kv/namespaces", writes, "Make a KV namespace", kv::create),
        endpoint!(PUT "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}", writes, "Rename a KV namespace", kv::rename),
        endpoint!(DELETE "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}", writes, "Delete a KV namespace", kv::delete),
        endpoint!(GET "/accounts/{account_id}/d1/database", reads, "D1 databases", d1::list),
        endpoint!(POST "/accounts/{account_id}/d1/database", writes, "Make a D1 database", d1::create),
        endpoint!(GET "/accounts/{account_id}/d1/database/{namespace_id}", reads, "A D1 database, by id or name", d1::view),
        endpoint!(DELETE "/accounts/{account_id}/d1/database/{namespace_id}", writes, "Delete a D1 database", d1::delete),
        endpoint!(GET "/accounts/{account_id}/r2/buckets", reads, "R2 buckets", r2::list),
        endpoint!(POST "/accounts/{account_id}/r2/buckets", writes, "Make an R2 bucket", r2::create),
        endpoint!(GET "/accounts/{account_id}/r2/buckets/{namespace_id}", reads, "An R2 bucket", r2::view),
        endpoint!(DELETE "/accounts/{account_id}/r2/buckets/{namespace_id}", writes, "Delete an R2 bucket", r2::delete),
        endpoint!(GET "/accounts/{account_id}/queues", reads, "Queues", queues::list),
        endpoint!(POST "/accounts/{account_id}/queues", writes, "Make a queue", queues::create),
        endpoint!(PATCH "/accounts/{account_id}/queues/{namespace_id}", writes, "Change a queue's settings", queues::update),
        endpoint!(DELETE "/accounts/{account_id}/queues/{namespace_id}", writes, "Delete a queue", queues::delete),
        endpoint!(GET "/accounts/{account_id}/workflows/{workflow_name}", reads, "A workflow", workflow),
    ]
}

/// The name that a body gives.
fn name_in(body: &Value, key: &str) -> ApiResult<String> {
    let name = body.get(key).and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() || name.len() > 512 {
        return Err(ApiError::bad(format!("\"{key}\" must be a text of 1 to 512 characters")));
    }
    Ok(name.to_owned())
}

/// A conflict gets the code that wrangler knows for that kind.
fn taken(code: u32) -> impl Fn(skep_store::StoreError) -> ApiError {
    move |error| match ApiError::from(error) {
        ApiError { status: StatusCode::CONFLICT, message, .. } => ApiError::new(StatusCode::CONFLICT, code, message),
        ApiError { status: StatusCode::NOT_FOUND, message, .. } => ApiError::not_found(missing(code), message),
        other => other,
    }
}

/// The code for what is not there, beside the one for what is there twice.
const fn missing(code: u32) -> u32 {
    match code {
        kv::TAKEN => 10013,
        d1::TAKEN => d1::MISSING,
        r2::TAKEN => r2::MISSING,
        _ => queues::MISSING,
    }
}

async fn page(call: &Call, kind: NamespaceKind) -> ApiResult<Vec<Namespace>> {
    let page = call.page();
    Ok(call.store().namespaces(call.account(), kind, page.skip(), page.size).await?)
}

async fn named(call: &Call, kind: NamespaceKind, code: u32) -> ApiResult<Namespace> {
    let key = call.parameter("namespace_id");
    let found = call.store().namespace(call.account(), kind, key).await?;
    found.ok_or_else(|| ApiError::not_found(code, format!("your account has none of the id or name \"{key}\"")))
}

async fn remove(call: &Call, kind: NamespaceKind, code: u32) -> ApiResult {
    call.store().delete_namespace(&call.actor(), kind, call.parameter("namespace_id")).await.map_err(taken(code))?;
    Ok(Answer::done())
}

mod kv {
    use super::{Answer, ApiResult, Call, Namespace, NamespaceKind, Value, json, name_in, page, remove, taken};

    pub(super) const TAKEN: u32 = 10014;

    fn shown(namespace: &Namespace) -> Value {
        json!({ "id": namespace.id, "title": namespace.name, "supports_url_encoding": true })
    }

    pub(super) async fn list(call: Call) -> ApiResult {
        Ok(Answer::page(page(&call, NamespaceKind::Kv).await?.iter().map(shown).collect(), call.page()))
    }

    pub(super) async fn create(mut call: Call) -> ApiResult {
        let title = name_in(&call.value().await?, "title")?;
        let made = call.store().create_namespace(&call.actor(), NamespaceKind::Kv, &title, json!({})).await;
        Ok(Answer::ok(shown(&made.map_err(taken(TAKEN))?)))
    }

    pub(super) async fn rename(mut call: Call) -> ApiResult {
        let title = name_in(&call.value().await?, "title")?;
        let id = call.parameter("namespace_id").to_owned();
        call.store()
            .update_namespace(&call.actor(), NamespaceKind::Kv, &id, &title, &json!({}))
            .await
            .map_err(taken(TAKEN))?;
        Ok(Answer::ok(json!({ "id": id, "title": title })))
    }

    pub(super) async fn delete(call: Call) -> ApiResult {
        remove(&call, NamespaceKind::Kv, TAKEN).await
    }
}

mod d1 {
    use super::{
        Answer, ApiResult, Call, Namespace, NamespaceKind, Value, date, json, name_in, named, page, remove, taken,
    };

    pub(super) const TAKEN: u32 = 7502;
    pub(super) const MISSING: u32 = 7404;

    /// A D1 database's id is a UUID: the same 32 digits, hyphenated.
    fn shown(namespace: &Namespace) -> Value {
        let id = uuid::Uuid::parse_str(&namespace.id).map(|id| id.to_string()).unwrap_or_else(|_| namespace.id.clone());
        json!({
            "uuid": id,
            "name": namespace.name,
            "created_at": date(namespace.created_on),
            "version": "production",
            "num_tables": 0,
            "file_size": 0,
            "running_in_region": "WEUR",
            "read_replication": { "mode": "disabled" },
        })
    }

    /// The same with the id as it is kept.
    fn plain(mut call: Call) -> Call {
        for (key, value) in &mut call.parameters {
            if key == "namespace_id"
                && let Ok(id) = uuid::Uuid::parse_str(value)
            {
                *value = id.simple().to_string();
            }
        }
        call
    }

    pub(super) async fn list(call: Call) -> ApiResult {
        let all = page(&call, NamespaceKind::D1).await?;
        let wanted = call.query("name").map(str::to_owned);
        let matching = all.iter().filter(|database| wanted.as_ref().is_none_or(|name| *name == database.name));
        Ok(Answer::page(matching.map(shown).collect(), call.page()))
    }

    pub(super) async fn create(mut call: Call) -> ApiResult {
        let body = call.value().await?;
        let name = name_in(&body, "name")?;
        let made = call.store().create_namespace(&call.actor(), NamespaceKind::D1, &name, body).await;
        Ok(Answer::ok(shown(&made.map_err(taken(TAKEN))?)))
    }

    pub(super) async fn view(call: Call) -> ApiResult {
        Ok(Answer::ok(shown(&named(&plain(call), NamespaceKind::D1, MISSING).await?)))
    }

    pub(super) async fn delete(call: Call) -> ApiResult {
        remove(&plain(call), NamespaceKind::D1, TAKEN).await
    }
}

mod r2 {
    use super::{
        Answer, ApiResult, Call, Namespace, NamespaceKind, Value, date, json, name_in, named, page, remove, taken,
    };

    pub(super) const TAKEN: u32 = 10004;
    pub(super) const MISSING: u32 = 10006;

    fn shown(namespace: &Namespace) -> Value {
        json!({
            "name": namespace.name,
            "creation_date": date(namespace.created_on),
            "location": namespace.config.get("locationHint"),
            "storage_class": namespace.config.get("storageClass").and_then(Value::as_str).unwrap_or("Standard"),
        })
    }

    pub(super) async fn list(call: Call) -> ApiResult {
        let buckets: Vec<Value> = page(&call, NamespaceKind::R2).await?.iter().map(shown).collect();
        Ok(Answer::ok(json!({ "buckets": buckets })))
    }

    pub(super) async fn create(mut call: Call) -> ApiResult {
        let body = call.value().await?;
        let name = name_in(&body, "name")?;
        let made = call.store().create_namespace(&call.actor(), NamespaceKind::R2, &name, body).await;
        Ok(Answer::ok(shown(&made.map_err(taken(TAKEN))?)))
    }

    pub(super) async fn view(call: Call) -> ApiResult {
        Ok(Answer::ok(shown(&named(&call, NamespaceKind::R2, MISSING).await?)))
    }

    pub(super) async fn delete(call: Call) -> ApiResult {
        remove(&call, NamespaceKind::R2, TAKEN).await
    }
}

mod queues {
    use super::{
        Answer, ApiResult, Call, Namespace, NamespaceKind, Value, date, json, name_in, named, page, remove, taken,
    };

    pub(super) const TAKEN: u32 = 11009;
    pub(super) const MISSING: u32 = 11000;

    fn shown(namespace: &Namespace) -> Value {
        json!({
            "queue_id": namespace.id,
            "queue_name": namespace.name,
            "created_on": date(namespace.created_on),
            "modified_on": date(namespace.created_on),
            "settings": namespace.config.get("settings").cloned().unwrap_or_else(|| json!({})),
            "producers_total_count": 0,
            "producers": [],
            "consumers_total_count": 0,
            "consumers": [],
        })
    }

    pub(super) async fn list(call: Call) -> ApiResult {
        let names: Vec<&str> =
            call.query.iter().filter(|(key, _)| key == "name").map(|(_, value)| value.as_str()).collect();
        let all = page(&call, NamespaceKind::Queue).await?;
        let wanted = all.iter().filter(|queue| names.is_empty() || names.contains(&queue.name.as_str()));
        Ok(Answer::page(wanted.map(shown).collect(), call.page()))
    }

    pub(super) async fn create(mut call: Call) -> ApiResult {
        let body = call.value().await?;
        let name = name_in(&body, "queue_name")?;
        let made = call.store().create_namespace(&call.actor(), NamespaceKind::Queue, &name, body).await;
        Ok(Answer::ok(shown(&made.map_err(taken(TAKEN))?)))
    }

    pub(super) async fn update(mut call: Call) -> ApiResult {
        let body = call.value().await?;
        let before = named(&call, NamespaceKind::Queue, MISSING).await?;
        let name = body.get("queue_name").and_then(Value::as_str).unwrap_or(&before.name).to_owned();
        call.store()
            .update_namespace(&call.actor(), NamespaceKind::Queue, &before.id, &name, &body)
            .await
            .map_err(taken(TAKEN))?;
        Ok(Answer::ok(shown(&Namespace { name, config: body, ..before })))
    }

    pub(super) async fn delete(call: Call) -> ApiResult {
        remove(&call, NamespaceKind::Queue, TAKEN).await
    }
}

/// There are no workflows yet.
async fn workflow(call: Call) -> ApiResult {
    Err(ApiError::not_found(10200, format!("there is no workflow \"{}\"", call.parameter("workflow_name"))))
}
