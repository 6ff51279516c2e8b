//! Traces: how an event is a part of what others did before and after it. Gathered of events of which [`Wanted`](crate::Wanted) says so.
//!
//! The model is OpenTelemetry's, <https://opentelemetry.io/docs/specs/otel/trace/api/>; what is told outside is another room's business.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::{SpanId, TraceContext, TraceFlags, TraceId, TraceState};

/// The headers of W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Spans of one event that are kept.
const MOST_SPANS: usize = 128;
/// The longest text of an attribute that is kept, in bytes.
const LONGEST_TEXT: usize = 1024;

/// A trace, seen from one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The event's own span, as it is told to who is called.
    pub context: TraceContext,
    /// The span that caused the event, if there is one.
    pub caller: Option<SpanId>,
    /// What happened in it.
    pub spans: Vec<Span>,
}

/// What becomes of the trace that an event is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// The event's spans are kept.
    Kept(Box<Trace>),
    /// They are not, and who is called is told what was decided, so that a trace has all its spans or none.
    PassedOn(Box<TraceContext>),
}

/// Something that an event waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its id.
    pub id: SpanId,
    /// What: "fetch", "service binding", "cold start" and the like.
    pub name: String,
    /// Whether somebody else was asked.
    pub is_call: bool,
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// More about it, in the names of OpenTelemetry's semantic conventions.
    pub attributes: Vec<(String, Attribute)>,
    /// What went wrong, if something did.
    pub error: Option<String>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// An event waited before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// When it came.
    pub since: SystemTime,
    /// How long it waited.
    pub took: Duration,
    /// Whether that was for a version to start, and not for others that were in line.
    pub cold: bool,
}

impl Trace {
    /// Of a caller, or the beginning of a new one.
    pub fn of(caller: Option<TraceContext>) -> Self {
        let span = SpanId::random();
        match caller {
            Some(caller) => {
                let flags = caller.flags.with(TraceFlags::SAMPLED);
                let context = TraceContext { flags, ..caller.of_span(span) };
                Self { context, caller: Some(caller.parent), spans: Vec::new() }
            }
            None => {
                let (trace, state) = (TraceId::random(), TraceState::default());
                let context = TraceContext { trace, parent: span, flags: TraceFlags::SAMPLED, state };
                Self { context, caller: None, spans: Vec::new() }
            }
        }
    }
}

/// The context that a request's headers carry, if they carry one that makes sense.
pub fn caller(headers: &HeaderMap) -> Option<TraceContext> {
    let all = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    TraceContext::from_headers(all(TRACEPARENT), all(TRACESTATE)).ok()?
}

/// The spans of one event, while it is being handled.
#[derive(Clone, Debug)]
pub struct Spans(Rc<RefCell<Tracing>>);

/// Something that is being waited for. It is over when this is dropped: given up, if nobody said how it ended.
#[derive(Debug)]
pub struct OpenSpan {
    spans: Spans,
    span: Option<Span>,
    clock: Instant,
}

impl Spans {
    /// Those of a trace that has none yet.
    pub fn new(tracing: Tracing) -> Self {
        Self(Rc::new(RefCell::new(tracing)))
    }

    /// The trace, with what is over, if it is kept.
    pub fn take(&self) -> Option<Box<Trace>> {
        match &*self.0.borrow() {
            Tracing::Kept(trace) => Some(trace.clone()),
            Tracing::PassedOn(_) => None,
        }
    }

    /// The event waited before it began.
    pub fn waited(&self, waited: &Waited) {
        let name = if waited.cold { "cold start" } else { "queue" };
        let (id, attributes) = (SpanId::random(), Vec::new());
        let (started, took) = (waited.since, waited.took);
        self.put(Span { id, name: name.to_owned(), is_call: false, started, took, attributes, error: None });
    }

    /// Something begins.
    pub fn open(&self, name: &str, is_call: bool) -> OpenSpan {
        let span = Span {
            id: SpanId::random(),
            name: name.to_owned(),
            is_call,
            started: SystemTime::now(),
            took: Duration::ZERO,
            attributes: Vec::new(),
            error: None,
        };
        OpenSpan { spans: self.clone(), span: Some(span), clock: Instant::now() }
    }

    fn put(&self, span: Span) {
        if let Tracing::Kept(trace) = &mut *self.0.borrow_mut()
            && trace.spans.len() < MOST_SPANS
        {
            trace.spans.push(span);
        }
    }
}

impl OpenSpan {
    /// Says more about it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Attribute>) -> Self {
        self.tell(name, value);
        self
    }

    /// Says more about it.
    pub fn tell(&mut self, name: &str, value: impl Into<Attribute>) {
        if let Some(span) = &mut self.span {
            span.attributes.push((name.to_owned(), value.into()));
        }
    }

    /// Tells who is called where it is called from, unless the Worker did so itself.
    pub fn propagate(&self, headers: &mut HeaderMap) {
        let Some(span) = self.span.as_ref().filter(|_| !headers.contains_key(TRACEPARENT)) else { return };
        let context = match &*self.spans.0.borrow() {
            Tracing::Kept(trace) => trace.context.of_span(span.id),
            Tracing::PassedOn(context) => TraceContext::clone(context),
        };
        if let Ok(parent) = HeaderValue::try_from(context.traceparent()) {
            headers.insert(TRACEPARENT, parent);
        }
        if !context.state.as_str().is_empty()
            && let Ok(state) = HeaderValue::try_from(context.state.as_str())
        {
            headers.insert(TRACESTATE, state);
        }
    }

    /// It is over.
    pub fn end(mut self, error: Option<String>) {
        self.close(error);
    }

    fn close(&mut self, error: Option<String>) {
        let Some(mut span) = self.span.take() else { return };
        (span.took, span.error) = (self.clock.elapsed(), error);
        self.spans.put(span);
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        self.close(Some("canceled".to_owned()));
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text[..text.floor_char_boundary(LONGEST_TEXT)].to_owned())
    }
}

impl From<u16> for Attribute {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{Spans, Trace, Tracing, caller};
    use crate::TraceContext;

    fn kept(trace: Trace) -> Spans {
        Spans::new(Tracing::Kept(Box::new(trace)))
    }

    #[test]
    fn a_trace_goes_on_from_who_calls() {
        let mut headers = HeaderMap::new();
        assert_eq!(caller(&headers), None);
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().expect("a header");
        headers.insert("traceparent", parent);
        headers.insert("tracestate", "vendor=1".parse().expect("a header"));
        let trace = Trace::of(caller(&headers));
        assert_eq!(trace.caller.map(|span| span.to_string()).as_deref(), Some("00f067aa0ba902b7"));
        let spans = kept(trace.clone());
        let mut sent = HeaderMap::new();
        let span = spans.open("fetch", true).with("http.request.method", "GET");
        span.propagate(&mut sent);
        span.end(None);
        let sent = caller(&sent).expect("a context");
        let seen = spans.take().expect("it is kept");
        assert_eq!((sent.trace, sent.parent, sent.state.as_str()), (trace.context.trace, seen.spans[0].id, "vendor=1"));
        assert_eq!(seen.spans[0].error, None);
        drop(spans.open("fetch", true));
        assert_eq!(spans.take().expect("it is kept").spans[1].error.as_deref(), Some("canceled"));
    }

    #[test]
    fn what_a_worker_sends_itself_is_not_changed() {
        let spans = kept(Trace::of(None));
        let own = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", own.parse().expect("a header"));
        spans.open("fetch", true).propagate(&mut headers);
        assert_eq!(headers["traceparent"], own);
    }

    #[test]
    fn spans_have_an_end() {
        let spans = kept(Trace::of(None));
        for _ in 0..1000 {
            spans.open("fetch", true).end(None);
        }
        assert_eq!(spans.take().expect("it is kept").spans.len(), super::MOST_SPANS);
    }

    #[test]
    fn what_is_not_kept_is_passed_on() {
        let context = TraceContext::not_sampled();
        let spans = Spans::new(Tracing::PassedOn(Box::new(context.clone())));
        let mut sent = HeaderMap::new();
        let span = spans.open("fetch", true);
        span.propagate(&mut sent);
        span.end(None);
        assert_eq!(caller(&sent), Some(context));
        assert_eq!(spans.take(), None);
    }
}
