//! What is configured: where spans go, with which headers, how many wait and how long.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Deserializer};
use skep_outbound::Pauses;
use skep_worker::Secret;
use url::{Host, Url};

/// Where OTLP takes spans, below a collector's base URL. <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>
const PATH: &str = "/v1/traces";
/// Headers that each request has anyway, or that belong to the connection.
const TAKEN: [&str; 7] =
    ["connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding", "upgrade"];
/// Attributes of resources that are the Workers' and the platform's own.
const RESERVED: [&str; 2] = ["service.", "telemetry.sdk."];

/// How spans are exported. Times are in milliseconds where they are configured: `timeout_ms`, `interval_ms`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExporterConfig {
    /// The collector's base URL, as in `OTEL_EXPORTER_OTLP_ENDPOINT`: "http://127.0.0.1:4318". `/v1/traces` is appended to its path, unless it
    /// ends so already.
    #[serde(deserialize_with = "url")]
    pub endpoint: Url,
    /// Headers of each request, such as `authorization`. They are taken for secrets: with one, the endpoint has https or is this machine.
    #[serde(default, deserialize_with = "secrets")]
    pub headers: BTreeMap<String, Secret>,
    /// How bodies are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// How long one request may take, its answer included.
    #[serde(default = "timeout", rename = "timeout_ms", deserialize_with = "milliseconds")]
    pub timeout: Duration,
    /// How long a span waits for others at most, before it is sent with fewer.
    #[serde(default = "interval", rename = "interval_ms", deserialize_with = "milliseconds")]
    pub interval: Duration,
    /// More attributes of each resource, such as `deployment.environment.name`. `host.name` is the machine's, unless it is here.
    #[serde(default)]
    pub resource: BTreeMap<String, String>,
    /// The most spans of one request.
    #[serde(default = "batch_spans")]
    pub batch_spans: usize,
    /// The most spans that wait.
    #[serde(default = "queue_spans")]
    pub queue_spans: usize,
    /// The most bytes of memory of spans that wait, about. The batch that is being sent comes on top.
    #[serde(default = "queue_bytes")]
    pub queue_bytes: usize,
    /// What happens when the collector takes nothing.
    #[serde(default)]
    pub retry: Retry,
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// gzip, which every server of OTLP takes.
    #[default]
    Gzip,
    /// Not at all.
    None,
}

/// What happens when the collector takes nothing. Times are in milliseconds where they are configured: `first_pause_ms`, `last_pause_ms`,
/// `give_up_after_ms`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The pause after the first failure. Each further one doubles it, and makes it a little longer at random.
    #[serde(rename = "first_pause_ms", deserialize_with = "milliseconds")]
    pub first_pause: Duration,
    /// The longest pause, unless the collector asks for a longer one (`Retry-After`).
    #[serde(rename = "last_pause_ms", deserialize_with = "milliseconds")]
    pub last_pause: Duration,
    /// How long a batch is tried. Then it is lost, and the next one is tried: one that the collector cannot bear does not hold up all others.
    #[serde(rename = "give_up_after_ms", deserialize_with = "milliseconds")]
    pub give_up_after: Duration,
}

/// The longest pause that a collector may ask for. <https://opentelemetry.io/docs/specs/otlp/#otlphttp-throttling>
const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// The part of a pause by which it is longer at most.
const SPREAD: f64 = 0.5;

impl Retry {
    pub(crate) fn pauses(&self) -> Pauses {
        Pauses { first: self.first_pause, last: self.last_pause, longest_asked: LONGEST_ASKED, spread: SPREAD }
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// The key, such as "endpoint" or "headers.authorization".
    pub key: String,
    /// What is wrong with its value, and what to do.
    pub problem: String,
}

impl ExporterConfig {
    /// A configuration that is the usual one but for where spans go.
    pub fn new(endpoint: Url) -> Self {
        Self {
            endpoint,
            headers: BTreeMap::new(),
            compression: Compression::default(),
            timeout: timeout(),
            interval: interval(),
            resource: BTreeMap::new(),
            batch_spans: batch_spans(),
            queue_spans: queue_spans(),
            queue_bytes: queue_bytes(),
            retry: Retry::default(),
        }
    }

    /// Looks at what the types do not say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (key, value) in
            [("batch_spans", self.batch_spans), ("queue_spans", self.queue_spans), ("queue_bytes", self.queue_bytes)]
        {
            if value == 0 {
                return Err(ConfigError::new(key, "it is 0, so that nothing would be sent: make it larger"));
            }
        }
        for (key, value) in [
            ("timeout_ms", self.timeout),
            ("interval_ms", self.interval),
            ("retry.first_pause_ms", self.retry.first_pause),
            ("retry.last_pause_ms", self.retry.last_pause),
        ] {
            if value.is_zero() {
                return Err(ConfigError::new(key, "it is 0: make it longer"));
            }
        }
        if self.queue_spans < self.batch_spans {
            let problem =
                format!("{} is less than batch_spans ({}): make it larger", self.queue_spans, self.batch_spans);
            return Err(ConfigError::new("queue_spans", problem));
        }
        for name in self.resource.keys() {
            if name.is_empty() || RESERVED.iter().any(|reserved| name.starts_with(reserved)) {
                let problem = "it is empty or says what Skep says of each Worker itself: leave it out";
                return Err(ConfigError::new(format!("resource.{name:?}"), problem));
            }
        }
        Ok(())
    }

    /// Where spans are posted to.
    pub(crate) fn target(&self) -> Result<Uri, ConfigError> {
        let wrong = |problem: &str| ConfigError::new("endpoint", problem);
        let mut url = self.endpoint.clone();
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("its scheme is neither https nor http: use one of them"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it has a user or a password in it: write them into the header authorization"));
        }
        if url.fragment().is_some() {
            return Err(wrong("it has a fragment (#): leave it out, servers do not see it"));
        }
        if !self.headers.is_empty() && url.scheme() == "http" && !url.host().as_ref().is_some_and(is_loopback) {
            return Err(wrong("headers, which may be secrets, would be sent to it without encryption: use https"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&if path.ends_with(PATH) { path } else { format!("{path}{PATH}") });
        url.as_str().parse().map_err(|_| wrong("HTTP has no such URL: look for a typing error"))
    }

    /// The headers, hidden where headers are printed.
    pub(crate) fn header_map(&self) -> Result<HeaderMap, ConfigError> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let wrong = |problem: &str| ConfigError::new(format!("headers.{name}"), problem);
            let name = HeaderName::try_from(name)
                .map_err(|_| wrong("it is no name of a header: use letters, digits and dashes"))?;
            if TAKEN.contains(&name.as_str()) {
                return Err(wrong("each request has its own: leave it out"));
            }
            let mut value = HeaderValue::try_from(value.reveal())
                .map_err(|_| wrong("it has characters that no header may have: copy it again"))?;
            value.set_sensitive(true);
            if map.insert(name, value).is_some() {
                return Err(wrong("it is there twice, in capital and in small letters: leave one out"));
            }
        }
        Ok(map)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_secs(1),
            last_pause: Duration::from_secs(30),
            give_up_after: Duration::from_secs(15 * 60),
        }
    }
}

impl ConfigError {
    fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

/// Whether this is the machine itself.
fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    Url::parse(&text).map_err(|error| {
        let advice = "write it whole, as in \"http://127.0.0.1:4318\"";
        serde::de::Error::custom(format!("endpoint: it is no URL ({error}): {advice}"))
    })
}

fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Secret>, D::Error> {
    let texts: BTreeMap<String, String> = BTreeMap::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|(name, text)| (name, Secret::new(text))).collect())
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

/// As `OTEL_EXPORTER_OTLP_TIMEOUT`.
fn timeout() -> Duration {
    Duration::from_secs(10)
}

/// As `OTEL_BSP_SCHEDULE_DELAY`.
fn interval() -> Duration {
    Duration::from_secs(5)
}

/// As `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
fn batch_spans() -> usize {
    512
}

fn queue_spans() -> usize {
    8192
}

fn queue_bytes() -> usize {
    16 << 20
}
