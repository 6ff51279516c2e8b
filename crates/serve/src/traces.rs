//! Events as spans, for an OpenTelemetry collector. Names are those of its semantic conventions where there are some:
//! <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>, <https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/>.

use std::borrow::Cow;
use std::sync::Arc;

use skep_observe::{Attribute, EventRecord, Exception, Told, Trigger};
use skep_telemetry::{Resource, Span, SpanEvent, SpanKind, Status, Value};
use skep_worker::Outcome;

/// The spans of an event, its own first, if it is traced. `instance` is where it ran.
pub(crate) fn spans(told: &Told<'_>, instance: &str) -> Vec<Span> {
    let record = told.record;
    let Some(trace) = record.details.as_ref().and_then(|details| details.trace.as_deref()) else { return Vec::new() };
    let exceptions = record.details.as_deref().map_or(&[][..], |details| &details.exceptions);
    let resource = Arc::new(Resource {
        worker: told.source.worker.to_string(),
        version: told.source.version.to_string(),
        account: told.account.to_owned(),
        instance: instance.to_owned(),
    });
    let context = &trace.context;
    // It was there before it began, if it had to wait.
    let start = trace.spans.iter().map(|span| span.started).chain([record.started]).min().unwrap_or(record.started);
    let own = Span {
        resource: Arc::clone(&resource),
        trace: context.trace,
        id: context.parent,
        parent: trace.caller,
        name: name(&record.trigger),
        kind: match record.trigger {
            Trigger::Fetch { .. } | Trigger::Rpc { .. } => SpanKind::Server,
            Trigger::Queue { .. } | Trigger::Tail { .. } => SpanKind::Consumer,
            Trigger::Scheduled { .. } => SpanKind::Internal,
        },
        start,
        end: record.started + record.wall,
        attributes: attributes(told),
        events: exceptions.iter().map(exception).collect(),
        status: status(record, exceptions),
        trace_state: context.state.clone(),
        flags: context.flags,
    };
    let within = trace.spans.iter().map(|span| Span {
        resource: Arc::clone(&resource),
        trace: context.trace,
        id: span.id,
        parent: Some(context.parent),
        name: span.name.clone(),
        kind: if span.is_call { SpanKind::Client } else { SpanKind::Internal },
        start: span.started,
        end: span.started + span.took,
        attributes: span.attributes.iter().map(|(name, value)| (Cow::Owned(name.clone()), given(value))).collect(),
        events: Vec::new(),
        status: span.error.clone().map_or(Status::Unset, Status::Error),
        trace_state: context.state.clone(),
        flags: context.flags,
    });
    [own].into_iter().chain(within).collect()
}

fn given(value: &Attribute) -> Value {
    match value {
        Attribute::Text(text) => text.clone().into(),
        Attribute::Number(number) => (*number).into(),
    }
}

/// One of few names, without a URL in it.
fn name(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Fetch { method, .. } => method.to_string(),
        Trigger::Scheduled { .. } => "scheduled".to_owned(),
        Trigger::Queue { queue } => format!("{queue} process"),
        Trigger::Tail { .. } => "tail".to_owned(),
        Trigger::Rpc { method } => method.clone(),
    }
}

fn attributes(told: &Told<'_>) -> Vec<(Cow<'static, str>, Value)> {
    let record = told.record;
    let mut all: Vec<(Cow<'static, str>, Value)> = Vec::new();
    let mut put = |name: &'static str, value: Value| all.push((name.into(), value));
    let trigger = match &record.trigger {
        Trigger::Fetch { method, url, status } => {
            put("http.request.method", method.to_string().into());
            put("url.full", told.what().unwrap_or_default().into());
            put("url.scheme", url.scheme_str().unwrap_or_default().to_owned().into());
            put("server.address", url.host().unwrap_or_default().to_owned().into());
            if let Some(status) = status {
                put("http.response.status_code", i64::from(*status).into());
            }
            "http"
        }
        Trigger::Rpc { method } => {
            put("rpc.method", method.clone().into());
            "other"
        }
        Trigger::Scheduled { cron, .. } => {
            put("faas.cron", cron.clone().into());
            "timer"
        }
        Trigger::Queue { .. } | Trigger::Tail { .. } => "pubsub",
    };
    put("faas.trigger", trigger.into());
    put("skep.outcome", outcome(record.outcome));
    put("skep.cpu_time_us", i64::try_from(record.cpu.as_micros()).unwrap_or(i64::MAX).into());
    if let Some(details) = &record.details {
        put("faas.coldstart", details.cold.into());
        if let Some(ray) = details.headers.get("cf-ray").and_then(|ray| ray.to_str().ok()) {
            put("skep.ray", ray.to_owned().into());
        }
    }
    all
}

/// An outcome as it is written elsewhere.
fn outcome(outcome: Outcome) -> Value {
    let written = serde_json::to_value(outcome).ok();
    written.as_ref().and_then(|written| written.as_str()).unwrap_or_default().to_owned().into()
}

fn exception(exception: &Exception) -> SpanEvent {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    SpanEvent::exception(exception.timestamp, text(&exception.name), text(&exception.message), text(&exception.stack))
}

/// For who answers, only what is his own fault is an error.
fn status(record: &EventRecord, exceptions: &[Exception]) -> Status {
    let failed = matches!(record.trigger, Trigger::Fetch { status: Some(500..), .. });
    match (record.outcome, exceptions.first()) {
        (Outcome::Ok | Outcome::Canceled, _) if !failed => Status::Unset,
        (_, Some(exception)) => Status::Error(format!("{}: {}", exception.name, exception.message)),
        (_, None) => Status::Error(String::new()),
    }
}
