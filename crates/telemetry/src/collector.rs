//! One request to a collector, and what its answer means.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use prost::Message as _;
use skep_exchange::{Body, Request};
use skep_outbound::{AddressPolicy, Client, retry_after};
use skep_worker::Secret;
use tokio::runtime::Handle;

use crate::wire::{ExportResponse, Refusal};
use crate::{Compression, ConfigError, ExporterConfig};

/// The type of all bodies.
const PROTOBUF: &str = "application/x-protobuf";
/// The most that is read of an answer, in bytes, and how long it is waited for once its head is there: spans are taken by then.
const LARGEST: u64 = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that is told of an answer, in characters.
const LONGEST: usize = 200;

/// A collector.
pub(crate) struct Collector {
    client: Client,
    uri: Uri,
    /// For people.
    host: String,
    headers: HeaderMap,
    secrets: Vec<Secret>,
    timeout: Duration,
}

/// What a try came to. Reasons are sentences without their ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The spans are there, but for those that the collector left out. It may say why, or warn.
    Taken { rejected: u64, message: Option<String> },
    /// Not now.
    Later { reason: String, asked: Option<Duration> },
    /// It will never take them.
    Never { reason: String },
}

impl Collector {
    /// A collector that is configured. Its connections live on this runtime.
    pub(crate) fn new(config: &ExporterConfig) -> Result<Self, ConfigError> {
        let uri = config.target()?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        // <https://opentelemetry.io/docs/specs/otel/protocol/exporter/#user-agent>
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("Skep/", env!("CARGO_PKG_VERSION"))));
        if config.compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.extend(config.header_map()?);
        // Whoever runs the platform says where to, also inside of the network.
        let everywhere = ["0.0.0.0/0", "::/0"].into_iter().filter_map(|network| network.parse().ok());
        let policy = everywhere.fold(AddressPolicy::with_loopback(), AddressPolicy::allow);
        Ok(Self {
            client: Client::new(policy, Handle::current()),
            host: config.endpoint.host_str().unwrap_or_default().to_owned(),
            uri,
            headers,
            secrets: config.headers.values().cloned().collect(),
            timeout: config.timeout,
        })
    }

    /// The host, for people.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Posts a body once.
    pub(crate) async fn post(&self, body: Bytes) -> Outcome {
        let mut request = Request::new(Body::full(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = match tokio::time::timeout(self.timeout, self.client.fetch(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Outcome::Later { reason: error.to_string(), asked: None },
            Err(_) => {
                let reason = format!("{} did not answer within {} ms", self.host, self.timeout.as_millis());
                return Outcome::Later { reason, asked: None };
            }
        };
        let (parts, body) = answer.response.into_parts();
        let body = tokio::time::timeout(PATIENCE.min(self.timeout), body.collect(LARGEST)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        self.outcome(parts.status, &parts.headers, body)
    }

    /// What an answer means.
    fn outcome(&self, status: StatusCode, headers: &HeaderMap, body: Bytes) -> Outcome {
        if status.is_success() {
            let partial = ExportResponse::decode(body).ok().and_then(|response| response.partial_success);
            let partial = partial.unwrap_or_default();
            let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default();
            let message = self.readable(&partial.error_message);
            return Outcome::Taken { rejected, message: (!message.is_empty()).then_some(message) };
        }
        let mut reason = format!("{} answered {status}", self.host);
        let detail = self.readable(&detail(headers, body));
        if !detail.is_empty() {
            reason = format!("{reason}: {detail}");
        }
        match advice(status) {
            None => Outcome::Later { reason, asked: retry_after(headers, SystemTime::now()) },
            Some("") => Outcome::Never { reason },
            Some(advice) => Outcome::Never { reason: format!("{reason} ({advice})") },
        }
    }

    /// What a collector says, fit for a person's eyes: one short line without the secrets that it was told.
    fn readable(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.iter().map(Secret::reveal).filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "[hidden]");
        }
        let text: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        text.trim().chars().take(LONGEST).collect()
    }
}

/// What to do about a status after which nothing is sent again. None for those after which it is.
/// <https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes>
fn advice(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        429 | 502 | 503 | 504 => None,
        300..=399 => Some("redirects are not followed, write the URL that it leads to into the configuration"),
        401 | 403 => Some("look at the headers in the configuration"),
        404 | 405 => Some("look at the endpoint in the configuration: it takes OTLP over HTTP, mostly at port 4318"),
        413 => Some("make batch_spans smaller, or what the collector takes larger"),
        _ => Some(""),
    }
}

/// What the body of a refusal says: a message of protobuf, or a text.
fn detail(headers: &HeaderMap, body: Bytes) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim() {
        PROTOBUF => Refusal::decode(body).map(|refusal| refusal.message).unwrap_or_default(),
        "text/html" => String::new(),
        _ => String::from_utf8(body.into()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector() -> Collector {
        let mut config = ExporterConfig::new("http://127.0.0.1:4318".parse().expect("a URL"));
        config.headers.insert("authorization".to_owned(), Secret::new("Bearer SECRET"));
        Collector::new(&config).expect("a collector")
    }

    #[tokio::test]
    async fn statuses_say_what_is_next() {
        let collector = collector();
        let check = |status: u16, expected: &str| {
            let status = StatusCode::from_u16(status).expect("a status");
            let found = match collector.outcome(status, &HeaderMap::new(), Bytes::new()) {
                Outcome::Taken { rejected: 0, message: None } => "taken",
                Outcome::Taken { .. } => "taken in part",
                Outcome::Later { .. } => "later",
                Outcome::Never { .. } => "never",
            };
            assert_eq!(found, expected, "{status}");
        };
        for status in [200, 202, 204] {
            check(status, "taken");
        }
        for status in [429, 502, 503, 504] {
            check(status, "later");
        }
        for status in [301, 308, 400, 401, 403, 404, 405, 408, 413, 415, 425, 500, 501, 505] {
            check(status, "never");
        }
    }

    #[tokio::test]
    async fn what_collectors_say_is_one_short_line_without_secrets() {
        let collector = collector();
        let headers = |kind| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let refused = |kind, body: &[u8]| {
            let outcome = collector.outcome(StatusCode::UNAUTHORIZED, &headers(kind), Bytes::copy_from_slice(body));
            let Outcome::Never { reason } = outcome else { panic!("{outcome:?}") };
            reason
        };
        let status = Refusal { message: "no\r\nuse of Bearer SECRET".to_owned() }.encode_to_vec();
        let expected =
            "127.0.0.1 answered 401 Unauthorized: no  use of [hidden] (look at the headers in the configuration)";
        assert_eq!(refused(PROTOBUF, &status), expected);
        let plain = "127.0.0.1 answered 401 Unauthorized (look at the headers in the configuration)";
        assert_eq!(refused(PROTOBUF, b"\xff"), plain);
        assert_eq!(refused("text/html; charset=utf-8", b"<html>"), plain);
        assert!(refused("text/plain", "é".repeat(1000).as_bytes()).chars().count() < 300);
    }
}
