//! An event as `wrangler tail` and tail handlers get it.
//! <https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/#traceitem>

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use skep_worker::Outcome;

use crate::{Details, EventRecord, Exception, Level, LogLine, Source, Trigger, redact};

/// An event as a JSON document.
pub(crate) fn event(source: &Source, record: &EventRecord) -> String {
    let nothing = Details::default();
    let details = record.details.as_deref().unwrap_or(&nothing);
    let trace = TraceItem {
        outcome: record.outcome,
        script_name: &source.worker,
        entrypoint: (),
        event: What { trigger: &record.trigger, details },
        event_timestamp: milliseconds(record.started),
        wall_time: whole_milliseconds(record.wall),
        cpu_time: whole_milliseconds(record.cpu),
        truncated: details.truncated,
        execution_model: "stateless",
        script_version: ScriptVersion { id: &source.version },
        script_tags: [],
        diagnostics_channel_events: [],
        exceptions: details.exceptions.iter().map(Thrown::from).collect(),
        logs: details.logs.iter().map(Line::from).collect(),
    };
    serde_json::to_string(&trace).unwrap_or_default()
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
            json!({ "url": url.to_string(), "headers": Headers { headers: &details.headers, secrets: true } })
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceItem<'e> {
    outcome: Outcome,
    script_name: &'e str,
    entrypoint: (),
    event: What<'e>,
    event_timestamp: u64,
    wall_time: u64,
    cpu_time: u64,
    truncated: bool,
    execution_model: &'static str,
    script_version: ScriptVersion<'e>,
    script_tags: [(); 0],
    diagnostics_channel_events: [(); 0],
    exceptions: Vec<Thrown<'e>>,
    logs: Vec<Line<'e>>,
}

#[derive(Serialize)]
struct ScriptVersion<'e> {
    id: &'e str,
}

#[derive(Serialize)]
struct Thrown<'e> {
    name: &'e str,
    message: &'e str,
    stack: &'e str,
    timestamp: u64,
}

impl<'e> From<&'e Exception> for Thrown<'e> {
    fn from(exception: &'e Exception) -> Self {
        let Exception { name, message, stack, timestamp, .. } = exception;
        Self { name, message, stack, timestamp: milliseconds(*timestamp) }
    }
}

#[derive(Serialize)]
struct Line<'e> {
    message: Message<'e>,
    level: Level,
    timestamp: u64,
}

/// What a line printed.
#[derive(Serialize)]
#[serde(untagged)]
enum Message<'e> {
    /// The isolate wrote JSON.
    Arguments(&'e RawValue),
    Text([&'e str; 1]),
}

impl<'e> From<&'e LogLine> for Line<'e> {
    fn from(line: &'e LogLine) -> Self {
        let arguments = line.arguments.as_deref().and_then(|json| serde_json::from_str(json).ok());
        let message = arguments.map_or(Message::Text([&line.message]), Message::Arguments);
        Self { message, level: line.level, timestamp: milliseconds(line.timestamp) }
    }
}

/// What an event was about.
struct What<'e> {
    trigger: &'e Trigger,
    details: &'e Details,
}

impl Serialize for What<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.trigger {
            Trigger::Fetch { method, url, status } => {
                let url = url.to_string();
                let headers = Headers { headers: &self.details.headers, secrets: false };
                let cf = self.details.cf.as_deref().and_then(|cf| serde_json::from_str(cf).ok());
                map.serialize_entry(
                    "request",
                    &Asked { url: &redact::url(&url), method: method.as_str(), headers, cf },
                )?;
                if let Some(status) = *status {
                    map.serialize_entry("response", &Answered { status })?;
                }
            }
            Trigger::Scheduled { cron, scheduled_time } => {
                map.serialize_entry("cron", cron)?;
                map.serialize_entry("scheduledTime", scheduled_time)?;
            }
            Trigger::Queue { queue } => {
                map.serialize_entry("queue", queue)?;
                map.serialize_entry("batchSize", &0)?;
            }
            Trigger::Tail { workers } => {
                let consumed: Vec<_> = workers.iter().map(|script_name| Consumed { script_name }).collect();
                map.serialize_entry("consumedEvents", &consumed)?;
            }
            Trigger::Rpc { method } => map.serialize_entry("rpcMethod", method)?,
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Asked<'e> {
    url: &'e str,
    method: &'e str,
    headers: Headers<'e>,
    cf: Option<&'e RawValue>,
}

#[derive(Serialize)]
struct Answered {
    status: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Consumed<'e> {
    script_name: &'e str,
}

/// A request's headers.
struct Headers<'e> {
    headers: &'e HeaderMap,
    /// Whether values are shown that are likely to be secrets.
    secrets: bool,
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.headers.keys_len()))?;
        for name in self.headers.keys() {
            let mut values = self.headers.get_all(name).iter().map(HeaderValue::as_bytes);
            let first = values.next().unwrap_or_default();
            let bytes = match values.next() {
                None => Cow::Borrowed(first),
                Some(second) => {
                    let all: Vec<_> = [first, second].into_iter().chain(values).collect();
                    all.join(&b", "[..]).into()
                }
            };
            let value = String::from_utf8_lossy(&bytes);
            let shown = if self.secrets { &value } else { redact::header(name.as_str(), &value) };
            map.serialize_entry(name.as_str(), shown)?;
        }
        map.end()
    }
}

fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, whole_milliseconds)
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
