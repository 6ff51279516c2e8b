//! What an autoscaler and a person who watches the platform need to know, for Prometheus, and the platform's health beside it.
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>
//!
//! Who asks for OpenMetrics gets that, as Prometheus does; everybody else gets the older text, which is all that `promtool check metrics`
//! reads. <https://prometheus.io/docs/instrumenting/exposition_formats/>

mod checks;
mod process;
mod workers;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text, text as open_metrics};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use skep_deliver::Waiting;
use skep_exchange::{Body, Request, Response};
use skep_gateway::{Answering, Handler};
use skep_link::wire::Usage;
use skep_pool::Directory;

use crate::delivery::Delivery;
use crate::health;
use crate::metering::{Health, Metering};
use crate::metrics::checks::Checks;
use crate::metrics::process::Process;
use crate::metrics::workers::Workers;
use crate::runtimes::Runtimes;
use crate::series::Series;

/// The media types of the two texts.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Tells metrics at `/metrics`, and health at `/healthz` and `/readyz`.
pub(crate) struct Metrics {
    watched: Watched,
    begun: Instant,
    ready: AtomicBool,
}

/// What is told of.
pub(crate) struct Watched {
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) directory: Arc<Directory>,
    /// In bytes.
    pub(crate) memory_limit: u64,
    pub(crate) series: Arc<Series>,
    pub(crate) metering: Arc<Metering>,
    pub(crate) delivery: Arc<Delivery>,
    /// Events for live tails that found no room.
    pub(crate) missed: Arc<AtomicU64>,
    pub(crate) health: Arc<health::Health>,
}

/// The same, for many connections.
pub(crate) struct Shared(pub(crate) Arc<Metrics>);

impl Metrics {
    pub(crate) fn new(watched: Watched) -> Self {
        Self { watched, begun: Instant::now(), ready: AtomicBool::new(true) }
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
                "/metrics" => metrics.metrics(request.headers()).await,
                "/healthz" => text(StatusCode::OK, "ok\n"),
                "/readyz" => metrics.readiness(),
                _ => text(StatusCode::NOT_FOUND, "metrics are at /metrics\n"),
            }
        })
    }
}

fn text(status: StatusCode, text: impl Into<String>) -> Response {
    let mut response = Response::new(Body::full(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

impl Metrics {
    fn readiness(&self) -> Response {
        if !self.ready.load(Ordering::Relaxed) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        }
        match self.watched.health.refusal() {
            None => text(StatusCode::OK, "ready\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Response {
        let watched = &self.watched;
        let told = watched.runtimes.usage().await;
        let known = Known {
            usage: told.sum,
            processes: told.processes,
            silent: told.silent.len(),
            restarts: watched.runtimes.deaths(),
            workers: watched.directory.len(),
            memory_limit: watched.memory_limit,
            up: self.begun.elapsed(),
            meter: watched.metering.health().await,
            outbox: watched.delivery.waiting(),
            missed: watched.missed.load(Ordering::Relaxed),
        };
        // What is not Skep's own has names that every program has.
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::read()));
        let own = registry.sub_registry_with_prefix("skep");
        own.register_collector(Box::new(known));
        own.register_collector(Box::new(Checks(watched.health.checks())));
        own.register_collector(Box::new(Workers::of(&watched.series)));
        let mut text = String::new();
        // A text takes everything.
        let (_, of_type) = if wants_open_metrics(headers) {
            (open_metrics::encode(&mut text, &registry), OPEN_METRICS)
        } else {
            (prometheus_text::encode(&mut text, &registry), PROMETHEUS)
        };
        let mut response = Response::new(Body::full(text));
        response.headers_mut().insert(CONTENT_TYPE, of_type);
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        response
    }
}

/// Whether a client asks for OpenMetrics. RFC 9110, section 12.5.1; what it likes better is no matter.
fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepted.flat_map(|accept| accept.split(',')).any(|range| {
        range.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/openmetrics-text"))
    })
}

/// What is known at one moment.
#[derive(Debug)]
struct Known {
    usage: Usage,
    processes: usize,
    /// Those of them that did not say how they do.
    silent: usize,
    restarts: u64,
    workers: usize,
    memory_limit: u64,
    up: Duration,
    meter: Health,
    outbox: Vec<Waiting>,
    missed: u64,
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
        let silent = gauge(self.silent as f64);
        tell("processes_silent", "Such processes that do not answer: what is told of them is old", None, &silent)?;
        tell("process_restarts", "Such processes that died", None, &counter(self.restarts as f64))?;
        tell("requests_refused", "Requests beyond a limit", None, &counter(usage.refused as f64))?;
        tell("tail_events_dropped", "Events for live tails without room", None, &counter(self.missed as f64))?;
        tell("meter_batches", "Batches of usage that were written down", None, &counter(self.meter.batches as f64))?;
        let ledger = gauge(self.meter.bytes as f64);
        tell("meter_ledger", "Size of the ledger of usage", Some(Unit::Bytes), &ledger)?;
        tell("meter_damages", "Damages of the ledger at the start", None, &gauge(self.meter.damages as f64))?;
        let failing = gauge(f64::from(u8::from(self.meter.is_failing)));
        tell("meter_failing", "Whether usage cannot be written down", None, &failing)?;
        let waits = gauge(self.outbox.iter().map(|waiting| waiting.items).sum::<usize>() as f64);
        tell("outbox_waiting", "Items that are to be delivered", None, &waits)?;
        let failed = gauge(self.outbox.iter().map(|waiting| waiting.failed).sum::<usize>() as f64);
        tell("outbox_failed", "Items that could not be delivered", None, &failed)?;
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
