//! What an autoscaler and a person who watches the platform need to know, for Prometheus, and the platform's health beside it.
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
use skep_link::wire::Usage;
use skep_pool::Directory;

use crate::runtimes::Runtimes;

/// The media type of the text.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Tells metrics at `/metrics`, and health at `/healthz` and `/readyz`.
pub(crate) struct Metrics {
    runtimes: Arc<Runtimes>,
    directory: Arc<Directory>,
    memory_limit: u64,
    begun: Instant,
    ready: AtomicBool,
}

/// The same, for many connections.
pub(crate) struct Shared(pub(crate) Arc<Metrics>);

impl Metrics {
    /// `memory_limit` is in bytes.
    pub(crate) fn new(runtimes: Arc<Runtimes>, directory: Arc<Directory>, memory_limit: u64) -> Self {
        Self { runtimes, directory, memory_limit, begun: Instant::now(), ready: AtomicBool::new(true) }
    }

    /// The platform is stopping.
    pub(crate) fn not_ready(&self) {
        self.ready.store(false, Ordering::Relaxed);
    }
}

impl Handler for Shared {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        let metrics = Arc::clone(&self.0);
        Box::pin(async move {
            match request.uri().path() {
                "/metrics" => metrics.metrics().await,
                "/healthz" => text(StatusCode::OK, "ok\n"),
                "/readyz" if metrics.ready.load(Ordering::Relaxed) => text(StatusCode::OK, "ready\n"),
                "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
                _ => text(StatusCode::NOT_FOUND, "metrics are at /metrics\n"),
            }
        })
    }
}

fn text(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

impl Metrics {
    async fn metrics(&self) -> Response {
        let (usage, processes, restarts) = self.runtimes.usage().await;
        let known = Known {
            usage,
            processes,
            restarts,
            workers: self.directory.len(),
            memory_limit: self.memory_limit,
            up: self.begun.elapsed(),
        };
        let mut registry = Registry::with_prefix("skep");
        registry.register_collector(Box::new(known));
        let mut text = String::new();
        // A text takes everything.
        let _ = encode(&mut text, &registry);
        let mut response = Response::new(Body::full(text));
        response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
        response
    }
}

/// What is known at one moment.
#[derive(Debug)]
struct Known {
    usage: Usage,
    processes: usize,
    restarts: u64,
    workers: usize,
    memory_limit: u64,
    up: Duration,
}

impl Collector for Known {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let usage = &self.usage;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut tell = |name: &str, help: &str, unit: Option<Unit>, metric: &dyn Metric| {
            metric.encode_into(&mut encoder, name, help, unit)
        };
        let gauge = |value: f64| ConstGauge::new(value);
        let counter = |value: f64| ConstCounter::new(value);
        tell("workers", "Workers that are known", None, &gauge(self.workers as f64))?;
        tell("versions_loaded", "Versions that are loaded", None, &gauge(usage.versions as f64))?;
        tell("isolates", "Isolates with a version", None, &gauge(usage.isolates as f64))?;
        tell("isolates_spare", "Isolates that wait for a version", None, &gauge(usage.spares as f64))?;
        tell("events_waiting", "Events in line for an isolate", None, &gauge(usage.waiting as f64))?;
        let delay = usage.queue_delay.as_secs_f64();
        tell("queue_delay", "Time that events have waited in line", Some(Unit::Seconds), &counter(delay))?;
        tell("queued_events", "Events that have waited in line", None, &counter(usage.queued as f64))?;
        let busy = usage.busy.as_secs_f64();
        tell("isolates_busy", "Time that isolates were busy", Some(Unit::Seconds), &counter(busy))?;
        tell("cores", "Cores that the platform may use", None, &gauge(cores as f64))?;
        let memory = usage.memory as f64;
        tell("memory", "Memory of the processes that run Workers", Some(Unit::Bytes), &gauge(memory))?;
        let limit = gauge(self.memory_limit as f64);
        tell("memory_limit", "Memory above which isolates go away", Some(Unit::Bytes), &limit)?;
        tell("cold_starts", "Versions that were started", None, &counter(usage.cold_starts as f64))?;
        let cold = usage.cold_start_time.as_secs_f64();
        tell("cold_start_time", "What these starts took", Some(Unit::Seconds), &counter(cold))?;
        tell("isolates_added", "More isolates of versions that had one", None, &counter(usage.more_isolates as f64))?;
        tell("processes", "Processes that run Workers", None, &gauge(self.processes as f64))?;
        tell("process_restarts", "Such processes that died", None, &counter(self.restarts as f64))?;
        tell("uptime", "Time since the start", Some(Unit::Seconds), &gauge(self.up.as_secs_f64()))
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
