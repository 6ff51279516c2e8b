//! The HTTP client: one request, one answer, bodies streamed both ways, content decoded.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use skep_exchange::{Body, BodyError, Request, Response};
use tokio::io::AsyncBufRead;
use tokio::runtime::Handle;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::connect::{ConnectError, Connector};
use crate::{AddressPolicy, OutboundError};

/// How long an idle connection is kept for the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most idle connections to one host.
const IDLE_PER_HOST: usize = 32;
/// Bytes that are read from a connection at once. More would be faster by little, and each body in flight has several.
const READ_BUFFER: usize = 64 * 1024;
/// The largest header block that an HTTP/2 server may send, in bytes.
const LARGEST_HEADER_BLOCK: u32 = 128 * 1024;

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// Status, headers as they came, and the body, decoded.
    pub response: Response,
    /// Whether the body was decoded: `content-encoding` and `content-length` describe what came over the wire.
    pub decoded: bool,
}

/// A client for the whole process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: legacy::Client<HttpsConnector<Connector>, Body>,
    pub(crate) connector: Connector,
    pub(crate) tls: Arc<ClientConfig>,
    runtime: Handle,
}

impl Client {
    /// Makes a client whose connections live on a runtime.
    pub fn new(policy: AddressPolicy, runtime: Handle) -> Self {
        let connector = Connector::new(policy);
        let tls = tls_config();
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(connector.clone());
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(READ_BUFFER)
            .http2_max_header_list_size(LARGEST_HEADER_BLOCK)
            .build(https);
        Self { http, connector, tls: Arc::new(tls), runtime }
    }

    /// Runs a future on the client's runtime, where its connections live. Dropping the returned future aborts it.
    pub(crate) async fn on_runtime<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, OutboundError>> + Send + 'static,
    ) -> Result<T, OutboundError> {
        let task = AbortOnDrop(self.runtime.spawn(future));
        task.await.map_err(|error| OutboundError::Transport(error.to_string()))?
    }

    /// Sends one request. Redirects are not followed.
    ///
    /// # Errors
    /// When the URL cannot be fetched, the address is forbidden, or the connection fails.
    pub async fn fetch(&self, mut request: Request) -> Result<Answer, OutboundError> {
        check_scheme(&request)?;
        let decode = prepare_headers(request.headers_mut());
        let http = self.http.clone();
        let sent = self.on_runtime(async move { http.request(request).await.map_err(client_error) });
        Ok(answer(sent.await?, decode, |incoming: Incoming| Body::boxed(incoming.map_err(transport))))
    }
}

/// A task that ends when nobody waits for it any more.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn tls_config() -> ClientConfig {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn check_scheme(request: &Request) -> Result<(), OutboundError> {
    match request.uri().scheme_str() {
        Some("http" | "https") if request.uri().host().is_some_and(|host| !host.is_empty()) => Ok(()),
        Some("http" | "https") | None => Err(OutboundError::Url(request.uri().to_string())),
        Some(scheme) => Err(OutboundError::Scheme(scheme.to_owned())),
    }
}

/// Asks for content that can be decoded here, unless the Worker asked for something itself. Gives whether to decode.
fn prepare_headers(headers: &mut HeaderMap) -> bool {
    let own = headers.contains_key(ACCEPT_ENCODING);
    // A part of an encoded body cannot be decoded.
    let range = headers.contains_key(RANGE);
    if !own && !range {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("br, gzip"));
    }
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("Skep"));
    !range
}

/// Decodes the body of a response that came from elsewhere, as [`Client::fetch`] does.
pub fn decode(response: Response) -> Answer {
    answer(response, true, |body| body)
}

fn answer<B>(response: http::Response<B>, decode: bool, plain: impl FnOnce(B) -> Body) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let encoding = response.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let encoding = match encoding {
        Some(b"gzip" | b"x-gzip") if decode => Encoding::Gzip,
        Some(b"br") if decode => Encoding::Brotli,
        _ => Encoding::Plain,
    };
    let decoded = !matches!(encoding, Encoding::Plain);
    let response = response.map(|incoming| match encoding {
        Encoding::Plain => plain(incoming),
        Encoding::Gzip => decoding(incoming, GzipDecoder::new),
        Encoding::Brotli => decoding(incoming, BrotliDecoder::new),
    });
    Answer { response, decoded }
}

enum Encoding {
    Plain,
    Gzip,
    Brotli,
}

/// A body whose content is decoded as it passes.
fn decoding<B, R>(incoming: B, decoder: impl FnOnce(Pin<Box<dyn AsyncBufRead + Send>>) -> R) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    R: tokio::io::AsyncRead + Send + 'static,
{
    let encoded = incoming.into_data_stream().map_err(io::Error::other);
    let reader: Pin<Box<dyn AsyncBufRead + Send>> = Box::pin(StreamReader::new(encoded));
    let decoded = ReaderStream::with_capacity(decoder(reader), 64 * 1024);
    Body::boxed(StreamedBody(Box::pin(decoded.map_err(transport))))
}

/// A stream of chunks as a body.
struct StreamedBody(Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, BodyError>> + Send>>);

impl http_body::Body for StreamedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        self.0.as_mut().poll_next(context).map_ok(http_body::Frame::data)
    }
}

fn transport(error: impl std::fmt::Display) -> BodyError {
    BodyError::Transport(error.to_string())
}

/// What a failed request means. A connection's own error lies under the client's, boxed in an `io::Error`.
fn client_error(error: legacy::Error) -> OutboundError {
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(cause) = innermost.source() {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && let Some(connect) = io.get_ref().and_then(|inner| inner.downcast_ref::<ConnectError>())
        {
            return connect.clone().into();
        }
        innermost = cause;
    }
    OutboundError::Transport(innermost.to_string())
}
