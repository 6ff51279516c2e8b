//! Spans: what happened, of whom, from when to when.
//!
//! The model is OpenTelemetry's: <https://opentelemetry.io/docs/specs/otel/trace/api/#span>. Names of attributes are those of its semantic
//! conventions: <https://opentelemetry.io/docs/specs/semconv/>.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use skep_observe::{SpanId, TraceFlags, TraceId, TraceState};

/// Something that took time.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Whose it is.
    pub resource: Arc<Resource>,
    /// The trace that it is a part of.
    pub trace: TraceId,
    /// Its own id.
    pub id: SpanId,
    /// The span that caused it. None: the trace begins here.
    pub parent: Option<SpanId>,
    /// What it is, for people: one of few names, such as "GET" or "scheduled", and no URL.
    pub name: String,
    /// What it is to those before and after it.
    pub kind: SpanKind,
    /// When it began.
    pub start: SystemTime,
    /// When it was over.
    pub end: SystemTime,
    /// More about it. A name is there once.
    pub attributes: Vec<Attribute>,
    /// What happened in it.
    pub events: Vec<SpanEvent>,
    /// How it ended.
    pub status: Status,
    /// What other tracing systems know of the trace.
    pub trace_state: TraceState,
    /// The flags of the trace. They are told, and do not decide whether a span is exported.
    pub flags: TraceFlags,
}

/// Whose spans they are: one version of a Worker, running somewhere. <https://opentelemetry.io/docs/specs/semconv/resource/#service>
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resource {
    /// The Worker's name: `service.name`.
    pub worker: String,
    /// The version's id: `service.version`.
    pub version: String,
    /// The account: `service.namespace`.
    pub account: String,
    /// What runs it: `service.instance.id`. No two that run at the same time have the same one.
    pub instance: String,
}

/// A name and a value.
pub type Attribute = (Cow<'static, str>, Value);

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Str(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

/// What a span is to those before and after it. <https://opentelemetry.io/docs/specs/otel/trace/api/#spankind>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// It answers who waits for it.
    Server,
    /// It waits for somebody else's answer.
    Client,
    /// It is between the others.
    Internal,
    /// It handles what somebody left for it.
    Consumer,
    /// It leaves something for others and does not wait.
    Producer,
}

/// Something that happened in a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// What.
    pub name: Cow<'static, str>,
    /// When.
    pub at: SystemTime,
    /// More about it.
    pub attributes: Vec<Attribute>,
}

/// How a span ended. <https://opentelemetry.io/docs/specs/otel/trace/api/#set-status>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Without anything to be said of it: as most do.
    #[default]
    Unset,
    /// Well, as somebody decided.
    Ok,
    /// Badly: with the reason, which may be empty.
    Error(String),
}

// === impl Span ===

impl Span {
    /// About how many bytes of memory it takes. What is shared with others is left out.
    pub(crate) fn weight(&self) -> usize {
        let events = self.events.iter().map(|event| size_of_val(event) + event.name.len() + weight(&event.attributes));
        let reason = if let Status::Error(reason) = &self.status { reason.len() } else { 0 };
        let texts = self.name.len() + reason + self.trace_state.as_str().len();
        size_of_val(self) + texts + weight(&self.attributes) + events.sum::<usize>()
    }
}

fn weight(attributes: &[Attribute]) -> usize {
    let texts = attributes.iter().map(|(name, value)| match value {
        Value::Str(text) => name.len() + text.len(),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => name.len(),
    });
    size_of_val(attributes) + texts.sum::<usize>()
}

// === impl SpanEvent ===

impl SpanEvent {
    /// An exception: its type, its message and its stack trace, if those are known.
    /// <https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-spans/>
    pub fn exception(at: SystemTime, kind: Option<String>, message: Option<String>, stack: Option<String>) -> Self {
        let texts = [("exception.type", kind), ("exception.message", message), ("exception.stacktrace", stack)];
        let attributes = texts.into_iter().filter_map(|(name, text)| Some((name.into(), text?.into())));
        Self { name: "exception".into(), at, attributes: attributes.collect() }
    }
}

// === impl Value ===

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}
