//! Traces of Workers' events for an OpenTelemetry collector.
//!
//! A [`Span`] says what happened from when to when, and of which [`Resource`], a version of a Worker. A [`TraceContext`] is what crosses from one
//! service to the next in headers, so that their spans become one trace (W3C Trace Context). An [`Exporter`] sends spans in batches to one
//! collector, over OTLP/HTTP with bodies of protobuf: <https://opentelemetry.io/docs/specs/otlp/>. It holds nobody up: its queue is bounded, in
//! memory only, and drops the oldest spans. Which events are traced, and what their spans say, others decide.
//!
//! What an [`ExporterConfig`] is read from; all but `endpoint` may be left out:
//!
//! ```toml
//! endpoint = "https://otlp.example.com"  # /v1/traces is appended, unless it ends so
//! compression = "gzip"
//! timeout_ms = 10_000
//! interval_ms = 5_000
//! batch_spans = 512
//! queue_spans = 8_192
//! queue_bytes = 16_777_216
//!
//! [headers]
//! authorization = "Bearer …"
//!
//! [resource]
//! "deployment.environment.name" = "production"
//!
//! [retry]
//! first_pause_ms = 1_000
//! last_pause_ms = 30_000
//! give_up_after_ms = 900_000
//! ```

#![forbid(unsafe_code)]

mod collector;
mod config;
mod exporter;
mod queue;
mod span;
mod teller;
mod wire;

pub use config::{Compression, ConfigError, ExporterConfig, Retry};
pub use exporter::{Exporter, FlushError, Stats};
pub use span::{Attribute, Resource, Span, SpanEvent, SpanKind, Status, Value};
pub use teller::Tell;
