//! Exports spans: one task that sends batches to a collector, one after the other, until the [`Exporter`] is dropped.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use skep_outbound::Backoff;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, sleep};

use crate::collector::{Collector, Outcome};
use crate::queue::{Queue, Room};
use crate::teller::{Teller, Trouble};
use crate::{Compression, ConfigError, ExporterConfig, Retry, Span, Tell, wire};

/// Exports spans to a collector. Share it in an `Arc`. What waits when it is dropped is lost: [`Exporter::flush`] before that.
pub struct Exporter {
    queue: Arc<Queue>,
    task: AbortHandle,
}

/// What became of spans since the start. What is in none of these numbers waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The collector has taken them.
    pub sent: u64,
    /// There was no room in the queue, as the collector was away or too slow.
    pub dropped: u64,
    /// The collector refused their batch, or took nothing for too long.
    pub failed: u64,
    /// The collector took their batch, but not them.
    pub rejected: u64,
}

/// Spans are left after a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the collector did not take {left} spans in time: look whether it runs and can be reached")]
pub struct FlushError {
    /// How many spans wait still.
    pub left: usize,
}

/// Who sends.
struct Sender {
    queue: Arc<Queue>,
    collector: Collector,
    /// Attributes that all resources have.
    platform: Arc<Vec<(String, String)>>,
    compression: Compression,
    interval: Duration,
    retry: Retry,
    backoff: Backoff,
    teller: Teller,
    /// Spans that were dropped and told of.
    dropped: u64,
}

// === impl Exporter ===

impl Exporter {
    /// Begins to export. `tell` hears of trouble: of each kind at most once in a minute. Nothing is sent before there is a span: whether the
    /// collector is there shows then.
    ///
    /// # Errors
    /// When the configuration makes no sense: with the key, and what to do.
    ///
    /// # Panics
    /// Outside of a runtime of tokio.
    pub fn start(config: ExporterConfig, tell: Tell) -> Result<Self, ConfigError> {
        config.check()?;
        let room = Room { spans: config.queue_spans, bytes: config.queue_bytes, batch: config.batch_spans };
        let queue = Arc::new(Queue::new(room));
        let sender = Sender {
            queue: Arc::clone(&queue),
            collector: Collector::new(&config)?,
            platform: Arc::new(platform(&config)),
            compression: config.compression,
            interval: config.interval,
            retry: config.retry,
            backoff: Backoff::default(),
            teller: Teller::new(tell),
            dropped: 0,
        };
        Ok(Self { queue, task: tokio::spawn(sender.run()).abort_handle() })
    }

    /// Takes spans to be exported: a `Vec` of them, or `[span]`. Never waits. When there is no room, the oldest that wait are dropped and counted.
    pub fn export(&self, spans: impl IntoIterator<Item = Span>) {
        self.queue.push(spans);
    }

    /// Sends what waits now, without waiting for more of it: before stopping. A pause after a failure is cut short once, unless the collector
    /// asked for it.
    ///
    /// # Errors
    /// When not all of it has left when time is over. It waits on, and is sent if the exporter lives on.
    pub async fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        let flushed = tokio::time::timeout(timeout, self.queue.flush()).await;
        flushed.map_err(|_| FlushError { left: self.queue.waiting() })
    }

    /// What became of spans since the start.
    pub fn stats(&self) -> Stats {
        self.queue.stats()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Sender ===

impl Sender {
    async fn run(mut self) {
        loop {
            self.queue.filled(self.interval).await;
            loop {
                let batch = self.queue.take();
                if !batch.is_empty() {
                    self.send(batch).await;
                }
                if !self.queue.is_ready() {
                    break;
                }
            }
        }
    }

    /// Sends a batch until it has left. Each try sends the same bytes.
    async fn send(&mut self, batch: Vec<Span>) {
        let spans = batch.len() as u64;
        let (platform, compression) = (Arc::clone(&self.platform), self.compression);
        // It takes milliseconds in which others on this thread would wait.
        let body = match spawn_blocking(move || body(batch, &platform, compression)).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return self.lose(spans, &error.to_string()),
            Err(error) => return self.lose(spans, &error.to_string()),
        };
        let begun = Instant::now();
        loop {
            self.queue.trying();
            self.tell_dropped();
            match self.collector.post(body.clone()).await {
                Outcome::Taken { rejected, message } => return self.taken(spans, rejected.min(spans), message),
                Outcome::Never { reason } => {
                    self.answered();
                    return self.lose(spans, &reason);
                }
                Outcome::Later { reason, .. } if begun.elapsed() >= self.retry.give_up_after => {
                    let tried = begun.elapsed().as_secs();
                    return self.lose(spans, &format!("{reason}, for {tried} s"));
                }
                Outcome::Later { reason, asked } => {
                    let host = self.collector.host();
                    self.teller.say(Trouble::Away, 0, |_| {
                        format!("The traces' collector at {host} takes nothing now: {reason}. Spans wait, and the oldest go when there is no room")
                    });
                    let pause = self.backoff.failed(&self.retry.pauses(), asked);
                    self.pause(pause, asked.is_some()).await;
                }
            }
        }
    }

    async fn pause(&self, pause: Duration, asked: bool) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.queue.hurried(), if !asked => {}
        }
    }

    fn taken(&mut self, spans: u64, rejected: u64, message: Option<String>) {
        self.answered();
        if rejected > 0 || message.is_some() {
            let host = self.collector.host();
            let message = message.unwrap_or_else(|| "it does not say why".to_owned());
            self.teller.say(Trouble::Rejected, rejected, |all| match all {
                0 => format!("The traces' collector at {host} takes spans and warns: {message}"),
                all => format!("The traces' collector at {host} left out spans ({all}): {message}"),
            });
        }
        self.queue.settle(|stats| {
            stats.sent += spans - rejected;
            stats.rejected += rejected;
        });
    }

    /// A batch is lost.
    fn lose(&mut self, spans: u64, reason: &str) {
        self.teller.say(Trouble::Lost, spans, |all| format!("Spans are lost ({all}): {reason}"));
        self.queue.settle(|stats| stats.failed += spans);
    }

    /// The collector is there.
    fn answered(&mut self) {
        self.backoff.succeeded();
        let host = self.collector.host();
        self.teller.over(Trouble::Away, || format!("The traces' collector at {host} answers again"));
    }

    fn tell_dropped(&mut self) {
        let all = self.queue.stats().dropped;
        let new = all - std::mem::replace(&mut self.dropped, all);
        if new > 0 {
            self.teller.say(Trouble::Dropped, new, |spans| {
                format!("The queue for the traces' collector is full: the oldest spans are dropped ({spans})")
            });
        }
    }
}

/// The body of a request.
fn body(batch: Vec<Span>, platform: &[(String, String)], compression: Compression) -> io::Result<Bytes> {
    let plain = wire::encode(batch, platform);
    match compression {
        Compression::None => Ok(plain.into()),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), flate2::Compression::fast());
            encoder.write_all(&plain)?;
            encoder.finish().map(Bytes::from)
        }
    }
}

/// The attributes that all resources have: what made the spans, where, and what is configured.
/// <https://opentelemetry.io/docs/specs/semconv/resource/#telemetry-sdk>
fn platform(config: &ExporterConfig) -> Vec<(String, String)> {
    let own = [
        ("telemetry.sdk.name", "skep".to_owned()),
        ("telemetry.sdk.language", "rust".to_owned()),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    // Linux tells it; elsewhere it is configured.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.map(|name| ("host.name", name.trim().to_owned()));
    let host = host.filter(|(key, _)| !config.resource.contains_key(*key));
    let own = own.into_iter().chain(host).map(|(key, value)| (key.to_owned(), value));
    own.chain(config.resource.clone()).collect()
}
