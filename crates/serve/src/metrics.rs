//! What an autoscaler and a person who watches the platform need to know, for Prometheus, and the platform's health beside it.
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use skep_exchange::{Body, Request, Response};
use skep_gateway::{Answering, Handler};
use skep_pool::Pool;

use crate::dispatch::Dispatch;
use crate::machine;

/// The media type of the text.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Tells metrics at `/metrics`, and health at `/healthz` and `/readyz`.
pub(crate) struct Metrics {
    registry: Registry,
    dispatch: Arc<Dispatch>,
}

/// The same for each thread of the gateway.
pub(crate) struct Shared(pub(crate) Arc<Metrics>);

impl Metrics {
    pub(crate) fn new(pool: Arc<Pool>, dispatch: Arc<Dispatch>) -> Self {
        let mut registry = Registry::with_prefix("skep");
        registry.register_collector(Box::new(OfPool { pool, begun: Instant::now() }));
        Self { registry, dispatch }
    }
}

impl Handler for Shared {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        let response = match request.uri().path() {
            "/metrics" => self.0.metrics(),
            path => self.0.dispatch.health(path).unwrap_or_else(|| {
                let mut response = Response::new(Body::full("metrics are at /metrics\n"));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }),
        };
        Box::pin(std::future::ready(response))
    }
}

impl Metrics {
    fn metrics(&self) -> Response {
        let mut text = String::new();
        // A text takes everything.
        let _ = encode(&mut text, &self.registry);
        let mut response = Response::new(Body::full(text));
        response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
        response
    }
}

/// What the pool knows, read when it is asked for.
struct OfPool {
    pool: Arc<Pool>,
    begun: Instant,
}

impl fmt::Debug for OfPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OfPool")
    }
}

impl Collector for OfPool {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (usage, capacity) = (self.pool.usage(), self.pool.capacity());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut tell = |name: &str, help: &str, unit: Option<Unit>, metric: &dyn Metric| {
            metric.encode_into(&mut encoder, name, help, unit)
        };
        let gauge = |value: f64| ConstGauge::new(value);
        let counter = |value: f64| ConstCounter::new(value);
        tell("workers", "Workers that are known", None, &gauge(self.pool.directory().len() as f64))?;
        tell("versions_loaded", "Versions that are loaded", None, &gauge(usage.versions as f64))?;
        tell("isolates", "Isolates with a version", None, &gauge(usage.isolates as f64))?;
        tell("isolates_spare", "Isolates that wait for a version", None, &gauge(usage.spares as f64))?;
        tell("events_waiting", "Events in line for an isolate", None, &gauge(usage.waiting as f64))?;
        let waited = usage.line.waited.as_secs_f64();
        tell("queue_delay", "Time that events have waited in line", Some(Unit::Seconds), &counter(waited))?;
        tell("queued_events", "Events that have waited in line", None, &counter(usage.line.events as f64))?;
        let busy = usage.busy.as_secs_f64();
        tell("isolates_busy", "Time that isolates were busy", Some(Unit::Seconds), &counter(busy))?;
        tell("cores", "Cores that the platform may use", None, &gauge(cores as f64))?;
        tell("memory", "Memory that the process has", Some(Unit::Bytes), &gauge(machine::memory() as f64))?;
        let limit = gauge(capacity.memory as f64);
        tell("memory_limit", "Memory above which isolates go away", Some(Unit::Bytes), &limit)?;
        tell("cold_starts", "Versions that were started", None, &counter(usage.starts.cold as f64))?;
        let cold = usage.starts.cold_time.as_secs_f64();
        tell("cold_start_time", "What these starts took", Some(Unit::Seconds), &counter(cold))?;
        tell("isolates_added", "More isolates of versions that had one", None, &counter(usage.starts.more as f64))?;
        let up = self.begun.elapsed().as_secs_f64();
        tell("uptime", "Time since the start", Some(Unit::Seconds), &gauge(up))
    }
}

/// A value of any kind.
trait Metric {
    fn encode_into(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        unit: Option<Unit>,
    ) -> Result<(), fmt::Error>;
}

impl<M: EncodeMetric> Metric for M {
    fn encode_into(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        unit: Option<Unit>,
    ) -> Result<(), fmt::Error> {
        let encoder = encoder.encode_descriptor(name, help, unit.as_ref(), self.metric_type())?;
        self.encode(encoder)
    }
}
