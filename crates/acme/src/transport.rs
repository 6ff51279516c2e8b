//! HTTP to the certificate authority: HTTPS only, bounded in time and size, and with errors that say what is wrong.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::certificate::provider;

/// How long a request may take, its answer included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer in bytes.
const LARGEST: usize = 1024 * 1024;
/// How long an idle connection is kept: an order makes some ten requests.
const IDLE: Duration = Duration::from_secs(30);
/// The longest pause that is taken from an answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a request has no answer that means something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TransportError {
    /// There is no connection, or it broke.
    #[error("the certificate authority at {host} cannot be reached: {reason}")]
    Unreachable { host: String, reason: String },
    /// It took too long.
    #[error("the certificate authority at {host} did not answer within {} s", TIMEOUT.as_secs())]
    Timeout { host: String },
    /// What answers there does not speak ACME.
    #[error("{url} answered {status}, which no ACME server does: is it the URL of a directory?")]
    NotAcme { url: String, status: StatusCode },
    /// There were too many requests.
    #[error("the certificate authority wants fewer requests: {reason}")]
    TooMany {
        /// What it said.
        reason: String,
        /// When it will answer again, if it said.
        wait: Option<Duration>,
        /// Whether it answers nobody, and not only this account or this host.
        everyone: bool,
    },
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        Self::Other(Box::new(error))
    }
}

/// A client for one authority. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: Arc<legacy::Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>>,
}

impl Transport {
    /// A client that trusts the public authorities, or only what is in a file of PEM.
    ///
    /// # Errors
    /// When the file cannot be read or has no certificate.
    pub(crate) fn new(root: Option<&Path>) -> io::Result<Self> {
        let mut roots = RootCertStore { roots: Vec::new() };
        match root {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                for certificate in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
                    roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
                }
                if roots.is_empty() {
                    return Err(io::Error::other("it has no certificate in PEM"));
                }
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().enable_http2().build();
        let client = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(https);
        Ok(Self { client: Arc::new(client) })
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let url = request.uri().to_string();
        let host = request.uri().host().unwrap_or_default().to_owned();
        let unreachable = |reason: String| TransportError::Unreachable { host: host.clone(), reason };
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| unreachable(innermost(&error)))?;
            let (mut parts, body) = response.into_parts();
            // The ACME client adds it to the time of day, whatever it is.
            if let Some(wait) = retry_after(&parts.headers, SystemTime::now()) {
                parts.headers.insert(RETRY_AFTER, wait.as_secs().into());
            }
            let body = Limited::new(body, LARGEST).collect().await.map_err(|error| unreachable(innermost(&*error)))?;
            Ok::<_, TransportError>((parts, body.to_bytes()))
        };
        let (parts, body) = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_| TransportError::Timeout { host: host.clone() })??;
        check(parts.status, &parts.headers, &body, url)?;
        Ok(BytesResponse { parts, body: Box::new(body) })
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}

/// What an answer is worth: the ACME client looks at answers of success and at problem documents (RFC 9457), and loses how
/// long it is to wait.
fn check(status: StatusCode, headers: &HeaderMap, body: &[u8], url: String) -> Result<(), TransportError> {
    if status.is_success() {
        return Ok(());
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        let problem = serde_json::from_slice::<Problem>(body).ok();
        let reason = problem.and_then(|problem| problem.detail).unwrap_or_else(|| format!("it answered {status}"));
        let everyone = status == StatusCode::SERVICE_UNAVAILABLE;
        return Err(TransportError::TooMany { reason, wait: retry_after(headers, SystemTime::now()), everyone });
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.starts_with("application/problem+json") {
        true => Ok(()),
        false => Err(TransportError::NotAcme { url, status }),
    }
}

/// The header `Retry-After`, in seconds or as a date. RFC 9110, section 10.2.3.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_PAUSE))
}

/// What lies under an error: the outer ones only say that there is one.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn checked(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Result<(), TransportError> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<http::HeaderName>().expect("a name"), HeaderValue::from_static(value)));
        let status = StatusCode::from_u16(status).expect("a status");
        check(status, &headers.collect(), body.as_bytes(), "https://ca.example/directory".to_owned())
    }

    #[test]
    fn a_limit_says_how_long_and_for_whom() {
        let limited = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates"}"#;
        let wait = |seconds| Some(Duration::from_secs(seconds));
        let too_many =
            |reason: &str, wait, everyone| Err(TransportError::TooMany { reason: reason.to_owned(), wait, everyone });
        assert_eq!(
            checked(429, &[("retry-after", "3600")], limited),
            too_many("too many certificates", wait(3600), false)
        );
        assert_eq!(
            checked(503, &[("retry-after", "60")], ""),
            too_many("it answered 503 Service Unavailable", wait(60), true)
        );
        assert_eq!(checked(429, &[("retry-after", "soon")], limited), too_many("too many certificates", None, false));
        let week = too_many("too many certificates", Some(LONGEST_PAUSE), false);
        assert_eq!(checked(429, &[("retry-after", "99999999999")], limited), week);
    }

    #[test]
    fn what_is_no_acme_server_is_named() {
        assert_eq!(checked(200, &[], "<html>"), Ok(()));
        assert_eq!(checked(400, &[("content-type", "application/problem+json; charset=utf-8")], "{}"), Ok(()));
        let error = checked(502, &[("content-type", "text/html")], "<html>").unwrap_err().to_string();
        assert!(error.starts_with("https://ca.example/directory answered 502 Bad Gateway"), "{error}");
    }
}
