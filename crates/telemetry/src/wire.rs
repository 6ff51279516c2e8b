//! The messages of OTLP, as far as they are sent and read here, and spans as such messages.
//!
//! The numbers of the fields are those of version 1 of the protocol, which do not change any more:
//! <https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto>, files `collector/trace/v1/trace_service.proto`,
//! `trace/v1/trace.proto`, `common/v1/common.proto` and `resource/v1/resource.proto`. The tests read what is sent with the descriptors that
//! were made from those files.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::{Message, Oneof};

use crate::{Attribute, Resource, Span, SpanEvent, SpanKind, Status, Value};

/// Who made the spans: `InstrumentationScope.name`.
const SCOPE: &str = "skep";

/// `ExportTraceServiceRequest`
#[derive(Clone, PartialEq, Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

/// `ExportTraceServiceResponse`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

/// `google.rpc.Status`, the body of a refusal. <https://opentelemetry.io/docs/specs/otlp/#failures-1>
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Refusal {
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<ResourceMessage>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

/// `Resource`
#[derive(Clone, PartialEq, Message)]
struct ResourceMessage {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<SpanMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct InstrumentationScope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

/// `Span`
#[derive(Clone, PartialEq, Message)]
struct SpanMessage {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    /// `SpanKind`
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    events: Vec<EventMessage>,
    #[prost(message, optional, tag = "15")]
    status: Option<StatusMessage>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

/// `Span.Event`
#[derive(Clone, PartialEq, Message)]
struct EventMessage {
    #[prost(fixed64, tag = "1")]
    time_unix_nano: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "3")]
    attributes: Vec<KeyValue>,
}

/// `Status`
#[derive(Clone, PartialEq, Message)]
struct StatusMessage {
    #[prost(string, tag = "2")]
    message: String,
    /// `StatusCode`
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "AnyValueKind", tags = "1, 2, 3, 4")]
    value: Option<AnyValueKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum AnyValueKind {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
}

/// The body of a request: spans by their resources, in the order in which they came. Each resource has `platform` beside what is its own.
pub(crate) fn encode(spans: Vec<Span>, platform: &[(String, String)]) -> Vec<u8> {
    let mut places: HashMap<Arc<Resource>, usize> = HashMap::new();
    let mut groups: Vec<Vec<SpanMessage>> = Vec::new();
    let mut resources: Vec<Arc<Resource>> = Vec::new();
    for span in spans {
        let resource = Arc::clone(&span.resource);
        let place = *places.entry(resource).or_insert_with_key(|resource| {
            resources.push(Arc::clone(resource));
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(span.into());
    }
    let resource_spans = resources.iter().zip(groups).map(|(resource, spans)| ResourceSpans {
        resource: Some(resource_message(resource, platform)),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope { name: SCOPE.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }),
            spans,
        }],
    });
    ExportRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
}

fn resource_message(resource: &Resource, platform: &[(String, String)]) -> ResourceMessage {
    let own = [
        ("service.name", &resource.worker),
        ("service.version", &resource.version),
        ("service.namespace", &resource.account),
        ("service.instance.id", &resource.instance),
    ];
    let platform = platform.iter().map(|(name, value)| (&**name, value));
    // An attribute without a value says nothing.
    let attributes = own.into_iter().chain(platform).filter(|(_, value)| !value.is_empty());
    let attributes = attributes.map(|(name, value)| (name.to_owned().into(), Value::from(value.clone())).into());
    ResourceMessage { attributes: attributes.collect() }
}

impl From<Span> for SpanMessage {
    fn from(span: Span) -> Self {
        Self {
            trace_id: span.trace.bytes().to_vec(),
            span_id: span.id.bytes().to_vec(),
            trace_state: span.trace_state.as_str().to_owned(),
            parent_span_id: span.parent.map(|parent| parent.bytes().to_vec()).unwrap_or_default(),
            name: span.name,
            kind: match span.kind {
                SpanKind::Internal => 1,
                SpanKind::Server => 2,
                SpanKind::Client => 3,
                SpanKind::Producer => 4,
                SpanKind::Consumer => 5,
            },
            start_time_unix_nano: nanoseconds(span.start),
            end_time_unix_nano: nanoseconds(span.end),
            attributes: span.attributes.into_iter().map(Into::into).collect(),
            events: span.events.into_iter().map(Into::into).collect(),
            status: match span.status {
                Status::Unset => None,
                Status::Ok => Some(StatusMessage { message: String::new(), code: 1 }),
                Status::Error(message) => Some(StatusMessage { message, code: 2 }),
            },
            flags: span.flags.bits().into(),
        }
    }
}

impl From<SpanEvent> for EventMessage {
    fn from(event: SpanEvent) -> Self {
        let attributes = event.attributes.into_iter().map(Into::into).collect();
        Self { time_unix_nano: nanoseconds(event.at), name: event.name.into_owned(), attributes }
    }
}

impl From<Attribute> for KeyValue {
    fn from((key, value): Attribute) -> Self {
        let value = match value {
            Value::Str(text) => AnyValueKind::Text(text.into_owned()),
            Value::Int(number) => AnyValueKind::Int(number),
            Value::Float(number) => AnyValueKind::Double(number),
            Value::Bool(yes) => AnyValueKind::Bool(yes),
        };
        Self { key: key.into_owned(), value: Some(AnyValue { value: Some(value) }) }
    }
}

/// Nanoseconds since 1970, as far as the protocol counts them: 0 before that.
fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
