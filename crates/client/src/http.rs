//! HTTP to the platform: one client, TLS with the usual roots and those that a person names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::error::{Error, Result};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take: an upload is started once before it is acknowledged.
const ANSWER: Duration = Duration::from_secs(300);
/// The largest answer in bytes.
const MOST_ANSWER: usize = 256 * 1024 * 1024;

/// A client. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    pub(crate) tls: Arc<ClientConfig>,
}

/// An answer, all of it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Http {
    /// A client that trusts the usual certificate authorities, and those in a PEM file if one is named.
    pub(crate) fn new(authorities: Option<&Path>) -> Result<Self> {
        let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = authorities {
            let wrong = |reason: String| {
                Error::invalid(format!(
                    "SKEP_CA_FILE {}: {reason}. Name a file with certificates in PEM",
                    path.display()
                ))
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::invalid(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(https);
        Ok(Self { client, tls: Arc::new(tls) })
    }

    /// Sends a request and takes the whole answer. An error is what happened, for a person.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| innermost(&error))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MOST_ANSWER).collect().await;
            let body = body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
            Ok(Answer { status, body })
        };
        let answered = tokio::time::timeout(ANSWER, exchange).await;
        answered.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER.as_secs())))
    }
}

/// What lies at the bottom of an error.
fn innermost(error: &hyper_util::client::legacy::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
