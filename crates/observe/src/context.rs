//! What crosses from one service to the next, so that their spans become one trace: the headers `traceparent` and `tracestate`.
//!
//! W3C Trace Context, <https://www.w3.org/TR/trace-context/>. Texts in, texts out: nothing here knows of HTTP, of exporters or of time.

mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use state::{TraceState, TraceStateError};

use crate::id::byte_of;
use crate::{IdError, SpanId, TraceId};

/// The length of a `traceparent` of version 00, in bytes: the later versions begin in the same way.
const LENGTH: usize = 55;
/// A version that will never be.
const NO_VERSION: u8 = 0xff;

/// Where in which trace something is called from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span that calls.
    pub parent: SpanId,
    /// What the caller knows of the trace.
    pub flags: TraceFlags,
    /// What tracing systems on the way know of it: for them, to be passed on.
    pub state: TraceState,
}

/// What a caller knows of a trace. <https://www.w3.org/TR/trace-context/#trace-flags>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TraceFlags(u8);

/// Why there is no context in headers. A new trace begins then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceContextError {
    /// The header is there more than once.
    #[error("there is more than one traceparent: send one")]
    Several,
    /// The fields are not where they should be.
    #[error("a traceparent looks like 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    Shape,
    /// The version is none.
    #[error("the version of a traceparent has two hexadecimal digits and is not ff: send 00")]
    Version,
    /// The trace's id is none.
    #[error("the traceparent's trace: {0}")]
    Trace(#[source] IdError),
    /// The caller's id is none.
    #[error("the traceparent's parent: {0}")]
    Parent(#[source] IdError),
    /// The flags are none.
    #[error(
        "the flags of a traceparent have two hexadecimal digits: send 01 for what is sampled and 00 for what is not"
    )]
    Flags,
}

// === impl TraceFlags ===

impl TraceFlags {
    /// The caller may have recorded the trace.
    pub const SAMPLED: Self = Self(1);
    /// The trace's id is random. <https://www.w3.org/TR/trace-context-2/#random-trace-id-flag>
    pub const RANDOM: Self = Self(2);

    /// Flags by their bits. Those that nobody has given a meaning are zero then, as they must be when they are passed on.
    pub fn new(bits: u8) -> Self {
        Self(bits & (Self::SAMPLED.0 | Self::RANDOM.0))
    }

    /// Their bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether the caller may have recorded the trace.
    pub fn sampled(self) -> bool {
        self.0 & Self::SAMPLED.0 != 0
    }

    /// The same, with those of `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

// === impl TraceContext ===

impl TraceContext {
    /// The context in the values of a request's headers `traceparent` and `tracestate`, each as often as it is there. None if there is none. A
    /// `tracestate` that makes no sense is left out, and changes nothing else.
    ///
    /// # Errors
    /// When there is a `traceparent` that makes no sense, or more than one: it is as if there were none.
    pub fn from_headers<P, S>(
        traceparent: impl IntoIterator<Item = P>,
        tracestate: impl IntoIterator<Item = S>,
    ) -> Result<Option<Self>, TraceContextError>
    where
        P: AsRef<[u8]>,
        S: AsRef<[u8]>,
    {
        let mut parents = traceparent.into_iter();
        let Some(parent) = parents.next() else { return Ok(None) };
        if parents.next().is_some() {
            return Err(TraceContextError::Several);
        }
        let state = TraceState::from_headers(tracestate).unwrap_or_default();
        Ok(Some(Self { state, ..Self::parse(parent.as_ref())? }))
    }

    /// The beginning of a trace that nobody records.
    pub fn not_sampled() -> Self {
        Self {
            trace: TraceId::random(),
            parent: SpanId::random(),
            flags: TraceFlags::default(),
            state: TraceState::default(),
        }
    }

    /// What is sent to who is called by a span of this trace.
    #[must_use]
    pub fn of_span(&self, span: SpanId) -> Self {
        Self { parent: span, ..self.clone() }
    }

    /// The header `traceparent`, of version 00.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.parent, self.flags.0)
    }

    /// A `traceparent` of any version. <https://www.w3.org/TR/trace-context/#versioning-of-traceparent>
    fn parse(text: &[u8]) -> Result<Self, TraceContextError> {
        use TraceContextError::{Flags, Parent, Shape, Trace, Version};
        let text = state::trim(text);
        if text.len() < LENGTH || [2, 35, 52].iter().any(|dash| text[*dash] != b'-') {
            return Err(Shape);
        }
        let version = byte_of(text[0], text[1]).filter(|version| *version != NO_VERSION).ok_or(Version)?;
        // What later versions append is separated.
        if text.len() > LENGTH && (version == 0 || text[LENGTH] != b'-') {
            return Err(Shape);
        }
        let trace = TraceId::parse(&text[3..35]).map_err(Trace)?;
        let parent = SpanId::parse(&text[36..52]).map_err(Parent)?;
        let flags = byte_of(text[53], text[54]).map(TraceFlags::new).ok_or(Flags)?;
        Ok(Self { trace, parent, flags, state: TraceState::default() })
    }
}

impl FromStr for TraceContext {
    type Err = TraceContextError;

    /// Reads a `traceparent`.
    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for TraceContext {
    /// Writes the `traceparent`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.traceparent())
    }
}
