//! An event as `wrangler tail` and tail handlers get it.
//! <https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/#traceitem>

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use skep_worker::Outcome;

use crate::{Details, EventRecord, Level, Source, Trigger, redact};

/// An event as a JSON document.
pub(crate) fn event(source: &Source, record: &EventRecord) -> String {
    let nothing = Details::default();
    let details = record.details.as_deref().unwrap_or(&nothing);
    let exceptions: Vec<Value> = details
        .exceptions
        .iter()
        .map(|exception| {
            json!({
                "name": exception.name,
                "message": exception.message,
                "stack": exception.stack,
                "timestamp": milliseconds(exception.timestamp),
            })
        })
        .collect();
    let logs: Vec<Line> = details
        .logs
        .iter()
        .map(|line| Line {
            message: line.arguments.as_deref().and_then(list).unwrap_or_else(|| text(&line.message)),
            level: line.level,
            timestamp: milliseconds(line.timestamp),
        })
        .collect();
    let head = Head {
        outcome: record.outcome,
        script_name: &source.worker,
        event: what(record, details),
        event_timestamp: milliseconds(record.started),
        wall_time: record.wall.as_millis(),
        cpu_time: record.cpu.as_millis(),
        truncated: details.truncated,
        execution_model: "stateless",
        entrypoint: Value::Null,
        script_version: json!({ "id": &*source.version }),
        script_tags: [],
        diagnostics_channel_events: [],
        exceptions,
        logs,
    };
    serde_json::to_string(&head).unwrap_or_default()
}

/// What an event was about, in a line.
pub(crate) fn what_for(trigger: &Trigger) -> Option<String> {
    match trigger {
        Trigger::Fetch { url, .. } => Some(redact::url(&url.to_string()).into_owned()),
        Trigger::Scheduled { cron, .. } => Some(cron.clone()),
        Trigger::Queue { queue } => Some(queue.clone()),
        Trigger::Rpc { method } => Some(method.clone()),
        Trigger::Tail { .. } => None,
    }
}

/// An event's JSON, and beside it what its request had before secrets were left out: for tail handlers.
pub(crate) fn with_secrets(item: &str, record: &EventRecord) -> String {
    let unredacted = match (&record.trigger, record.details.as_deref()) {
        (Trigger::Fetch { url, .. }, Some(details)) => {
            json!({ "url": url.to_string(), "headers": headers(details, |_, value| value.into()) })
        }
        _ => Value::Null,
    };
    format!("{{\"item\":{item},\"unredacted\":{unredacted}}}")
}

/// Something that the platform says to those who watch a Worker, as an event that is none.
pub(crate) fn notice(worker: &str, level: Level, message: &str) -> String {
    let now = milliseconds(SystemTime::now());
    json!({
        "outcome": Outcome::Ok, "scriptName": worker, "event": null, "eventTimestamp": now, "exceptions": [],
        "logs": [{ "message": [message], "level": level, "timestamp": now }],
        "diagnosticsChannelEvents": [], "scriptTags": [], "truncated": false,
    })
    .to_string()
}

/// That events were left out, because whoever watches reads too slowly or there are more than can be gathered.
pub(crate) fn overload(dropped: u64) -> String {
    let message = format!(
        "{dropped} events were left out: they come faster than they can be shown. Use a sampling rate or another filter."
    );
    json!({
        "outcome": Outcome::Ok, "scriptName": null, "exceptions": [], "logs": [],
        "eventTimestamp": milliseconds(SystemTime::now()),
        "event": { "type": "overload", "message": message },
    })
    .to_string()
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'e> {
    outcome: Outcome,
    script_name: &'e str,
    entrypoint: Value,
    event: Value,
    event_timestamp: u128,
    wall_time: u128,
    cpu_time: u128,
    truncated: bool,
    execution_model: &'static str,
    script_version: Value,
    script_tags: [(); 0],
    diagnostics_channel_events: [(); 0],
    exceptions: Vec<Value>,
    logs: Vec<Line>,
}

#[derive(serde::Serialize)]
struct Line {
    message: Box<RawValue>,
    level: Level,
    timestamp: u128,
}

/// What the isolate wrote is JSON already.
fn list(json: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(json.to_owned()).ok()
}

fn text(message: &str) -> Box<RawValue> {
    serde_json::value::to_raw_value(&[message]).unwrap_or_default()
}

/// What the event was about.
fn what(record: &EventRecord, details: &Details) -> Value {
    match &record.trigger {
        Trigger::Fetch { method, url, status } => {
            let headers = headers(details, |name, value| redact::header(name, value).into());
            let cf: Value = details.cf.as_deref().and_then(|cf| serde_json::from_str(cf).ok()).unwrap_or_default();
            let url = url.to_string();
            let mut event = json!({
                "request": { "url": redact::url(&url), "method": method.as_str(), "headers": headers, "cf": cf },
            });
            if let Some(status) = status {
                event["response"] = json!({ "status": status });
            }
            event
        }
        Trigger::Scheduled { cron, scheduled_time } => json!({ "cron": cron, "scheduledTime": scheduled_time }),
        Trigger::Queue { queue } => json!({ "queue": queue, "batchSize": 0 }),
        Trigger::Tail { workers } => {
            let consumed: Vec<Value> = workers.iter().map(|worker| json!({ "scriptName": worker })).collect();
            json!({ "consumedEvents": consumed })
        }
        Trigger::Rpc { method } => json!({ "rpcMethod": method }),
    }
}

/// A request's headers, each as `show` says.
fn headers(details: &Details, show: impl Fn(&str, &str) -> Value) -> Map<String, Value> {
    let value = |name: &http::HeaderName| {
        let values: Vec<_> = details.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
        show(name.as_str(), &String::from_utf8_lossy(&values.join(&b", "[..])))
    };
    details.headers.keys().map(|name| (name.as_str().to_owned(), value(name))).collect()
}

fn milliseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

/// An outcome's name.
pub(crate) const fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Exception => "exception",
        Outcome::Canceled => "canceled",
        Outcome::ExceededCpu => "exceededCpu",
        Outcome::ExceededMemory => "exceededMemory",
        Outcome::ResponseStreamDisconnected => "responseStreamDisconnected",
        Outcome::ScriptNotFound => "scriptNotFound",
        Outcome::Unknown => "unknown",
    }
}
