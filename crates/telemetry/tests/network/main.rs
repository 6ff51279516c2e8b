//! Exports over real sockets: a collector on loopback that reads what comes with the protocol's own descriptors, and does what bad days do.

mod config;
mod failures;
mod message;
mod server;
mod wire;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use skep_observe::{SpanId, TraceFlags, TraceId, TraceState};
use skep_telemetry::{Exporter, ExporterConfig, Resource, Retry, Span, SpanKind, Status, Tell};

use crate::server::Server;

/// How long a test waits for something that should come soon.
const PATIENCE: Duration = Duration::from_secs(60);

/// An exporter, and what was told.
struct Running {
    exporter: Exporter,
    told: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn start(config: ExporterConfig) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = told.clone();
        let tell: Tell = Arc::new(move |sentence| kept.lock().unwrap().push(sentence.to_owned()));
        let exporter = Exporter::start(config, tell).expect("a configuration");
        Self { exporter, told }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Sends all that waits.
    async fn flush(&self) {
        self.exporter.flush(PATIENCE).await.expect("a collector that takes it");
    }
}

/// With pauses that a test can wait for.
fn config(server: &Server) -> ExporterConfig {
    let mut config = ExporterConfig::new(format!("http://{}", server.address).parse().expect("a URL"));
    config.retry = Retry {
        first_pause: Duration::from_millis(20),
        last_pause: Duration::from_millis(200),
        give_up_after: PATIENCE,
    };
    // What is not flushed waits for a full batch.
    config.interval = PATIENCE;
    config
}

async fn eventually(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it has not come within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn resource(worker: &str) -> Arc<Resource> {
    Arc::new(Resource {
        worker: worker.to_owned(),
        version: "0195f7c2".to_owned(),
        account: "acme".to_owned(),
        instance: "node-1/7".to_owned(),
    })
}

fn span(name: &str) -> Span {
    Span {
        resource: resource("shop"),
        trace: TraceId::random(),
        id: SpanId::random(),
        parent: None,
        name: name.to_owned(),
        kind: SpanKind::Server,
        start: SystemTime::now(),
        end: SystemTime::now(),
        attributes: Vec::new(),
        events: Vec::new(),
        status: Status::Unset,
        trace_state: TraceState::default(),
        flags: TraceFlags::SAMPLED,
    }
}

fn spans(names: std::ops::Range<usize>) -> Vec<Span> {
    names.map(|name| span(&name.to_string())).collect()
}

fn names(names: std::ops::Range<usize>) -> Vec<String> {
    names.map(|name| name.to_string()).collect()
}
