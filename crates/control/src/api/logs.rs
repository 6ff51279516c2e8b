//! Events that are kept, and searches in them.

use serde_json::{Value, json};
use skep_logs::{Found, Level, Page, Query};
use skep_store::Permission;
use skep_worker::{Event, Outcome};
use tokio::sync::Semaphore;

use crate::answer::Answer;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

/// Searches at once: each may hold 64 MiB.
static SEARCHES: Semaphore = Semaphore::const_new(2);

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    vec![
        endpoint!(GET "/skep/v1/accounts/{account_id}/logs", reads, "Events that were kept, newest first: of a `worker`, `since` and `until` (ms since 1970), whose text has `search`, with a `status` (404, 5xx, error), an `outcome`, at least a `level`, a `method`, `version`, `ray`, `kind`; `limit` of them, from `cursor` on", search),
    ]
}

/// A parameter of the query as something else, if it is there.
fn given<T>(call: &Call, name: &str, expected: &str, read: impl Fn(&str) -> Option<T>) -> ApiResult<Option<T>> {
    let Some(text) = call.query(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    read(text).map(Some).ok_or_else(|| ApiError::bad(format!("\"{name}\" is \"{text}\": use {expected}")))
}

fn query(call: &Call) -> ApiResult<Query> {
    let time = "milliseconds since 1970, such as 1764158400000";
    let named = |name: &str| Value::from(name);
    let text = |name: &str| call.query(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let outcomes = "ok, exception, canceled, exceededCpu, exceededMemory or unknown";
    let outcome = given(call, "outcome", outcomes, |text| serde_json::from_value::<Outcome>(named(text)).ok())?;
    let kinds = "fetch, scheduled, queue, tail or rpc";
    Ok(Query {
        worker: text("worker"),
        since: given(call, "since", time, |text| text.parse().ok())?,
        until: given(call, "until", time, |text| text.parse().ok())?,
        text: text("search"),
        kind: given(call, "kind", kinds, |text| serde_json::from_value::<Event>(named(text)).ok())?,
        outcomes: outcome.into_iter().collect(),
        status: given(call, "status", "a status such as 404, a class such as 5xx, or error", |text| text.parse().ok())?,
        level: given(call, "level", "debug, info, log, warn or error", |text| {
            serde_json::from_value::<Level>(named(text)).ok()
        })?,
        method: text("method").map(|method| method.to_uppercase()),
        version: text("version"),
        ray: text("ray"),
        limit: given(call, "limit", "a number from 1 to 1000", |text| text.parse().ok())?.unwrap_or(100),
        cursor: text("cursor"),
        ..Query::new(call.account())
    })
}

async fn search(call: Call) -> ApiResult {
    let query = query(&call)?;
    let Some(logs) = call.control.runtime.logs.clone() else {
        return Err(ApiError::bad(
            "this platform keeps no logs: its logs_mib is 0. Watch a Worker live with a tail".to_owned(),
        ));
    };
    let internal = |error: &dyn std::error::Error| ApiError::internal(error.to_string());
    let _turn = SEARCHES.acquire().await.map_err(|error| internal(&error))?;
    let search = tokio::task::spawn_blocking(move || logs.search(&query));
    let page = search.await.map_err(|error| internal(&error))?;
    page.map(|page| Answer::ok(shown(page))).map_err(|error| ApiError::bad(error.to_string()))
}

fn shown(page: Page) -> Value {
    let gaps: Vec<Value> = page
        .gaps
        .iter()
        .map(|gap| json!({ "worker": &*gap.worker, "before": gap.before, "dropped": gap.dropped }))
        .collect();
    json!({
        "events": page.events.into_iter().map(event).collect::<Vec<_>>(),
        "next": page.next,
        "scanned_bytes": page.scanned_bytes,
        "gaps": gaps,
        "damaged": page.damaged,
    })
}

fn event(Found { sequence, entry }: Found) -> Value {
    // What was written as JSON is JSON, unless somebody wrote in the files.
    let event: Option<Value> = serde_json::from_str(&entry.event).ok();
    json!({
        "id": sequence.to_string(),
        "at": entry.at,
        "worker": &*entry.worker,
        "version": &*entry.version,
        "ray": entry.ray,
        "kind": entry.kind,
        "method": entry.method,
        "url": entry.what,
        "status": entry.status,
        "outcome": entry.outcome,
        "level": entry.level,
        "cpu_us": entry.cpu_us,
        "wall_us": entry.wall_us,
        "cold": entry.cold,
        "interval": entry.interval,
        "event": event,
    })
}
