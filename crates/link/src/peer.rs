//! HTTP between the two processes, over connections that one of them makes and gives an end of to the other.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HOST, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_exchange::{AcceptUnmasked, Body, BodyError, Request, RequestCf, Response, Role, WebSocket, drive, forwarded};
use tokio::net::UnixStream;
use uuid::Uuid;

/// The largest answer to a call in bytes.
const LARGEST_ANSWER: usize = 1 << 30;

/// Among the extensions of a request that is handed on: the version that is to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForVersion {
    /// The Worker's id.
    pub worker: Uuid,
    /// The version's id.
    pub version: Uuid,
}

impl ForVersion {
    /// What another process said of a request that it handed on.
    pub fn take(headers: &mut HeaderMap) -> Option<Self> {
        let value = headers.remove(forwarded::VERSION)?;
        let (worker, version) = value.to_str().ok()?.split_once('/')?;
        Some(Self { worker: worker.parse().ok()?, version: version.parse().ok()? })
    }
}

/// A connection that is being made.
pub type Opening = Pin<Box<dyn Future<Output = io::Result<UnixStream>> + Send>>;

/// The other process. Cheap to clone.
#[derive(Clone)]
pub struct Peer {
    http: legacy::Client<Opener, Body>,
    opener: Opener,
}

#[derive(Clone)]
struct Opener(Arc<dyn Fn() -> Opening + Send + Sync>);

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Peer")
    }
}

impl tower_service::Service<Uri> for Opener {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let opening = (self.0)();
        Box::pin(async move { opening.await.map(TokioIo::new) })
    }
}

/// Why the other process does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It is gone, or going.
    #[error("the other process is gone: {0}")]
    Gone(String),
    /// The request's body broke off, which is nobody's fault here.
    #[error(transparent)]
    Body(BodyError),
    /// It has understood, and refuses.
    #[error("{0}")]
    Refused(String),
}

impl CallError {
    fn gone(error: &(dyn Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(body) = cause.downcast_ref::<BodyError>() {
                return Self::Body(body.clone());
            }
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::Gone(text)
    }
}

impl Peer {
    /// A process to which connections are made in this way.
    pub fn new(open: impl Fn() -> Opening + Send + Sync + 'static) -> Self {
        let opener = Opener(Arc::new(open));
        let http = legacy::Client::builder(TokioExecutor::new()).build(opener.clone());
        Self { http, opener }
    }

    /// Hands a client's request on, WebSockets included. What is known of its connection goes along.
    ///
    /// # Errors
    /// When the other process is gone before it has answered.
    pub async fn forward(&self, mut request: Request) -> Result<Response, CallError> {
        let upgrade = request.headers().contains_key(UPGRADE);
        let uri = std::mem::take(request.uri_mut());
        let cf = request.extensions_mut().remove::<RequestCf>();
        let to = request.extensions_mut().remove::<ForVersion>();
        let headers = request.headers_mut();
        forwarded::remove(headers);
        if let Some(authority) = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
            headers.insert(HOST, authority);
        }
        forwarded::set(headers, forwarded::SCHEME, uri.scheme_str().unwrap_or("http"));
        if let Some(RequestCf(cf)) = cf {
            forwarded::set(headers, forwarded::CF, &cf);
        }
        if let Some(ForVersion { worker, version }) = to {
            forwarded::set(headers, forwarded::VERSION, &format!("{worker}/{version}"));
        }
        *request.version_mut() = Version::HTTP_11;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        if upgrade {
            *request.uri_mut() = Uri::from(path);
            return self.upgrade(request).await;
        }
        *request.uri_mut() = at_peer(path);
        let response = self.http.request(request).await.map_err(|error| CallError::gone(&error))?;
        Ok(received(response))
    }

    async fn upgrade(&self, request: Request) -> Result<Response, CallError> {
        let stream = (self.opener.0)().await.map_err(|error| CallError::gone(&error))?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| CallError::gone(&error))?;
        tokio::spawn(connection.with_upgrades());
        let mut response = sender.send_request(request).await.map_err(|error| CallError::gone(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(received(response));
        }
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(|error| CallError::gone(&error))?;
        let (ours, theirs) = WebSocket::pair();
        tokio::spawn(drive(TokioIo::new(upgraded), Role::Client, ours));
        let mut response = response.map(|_| Body::empty());
        if response.headers_mut().remove(forwarded::UNMASKED).is_some() {
            response.extensions_mut().insert(AcceptUnmasked);
        }
        theirs.attach(&mut response);
        Ok(response)
    }

    /// Asks the other process something.
    ///
    /// # Errors
    /// When it is gone, or refuses.
    pub async fn call<A: DeserializeOwned>(&self, name: &str, question: &impl Serialize) -> Result<A, CallError> {
        let refused = |error: &dyn fmt::Display| CallError::Refused(error.to_string());
        let body = postcard::to_stdvec(question).map_err(|error| refused(&error))?;
        let path = PathAndQuery::try_from(format!("/{name}")).map_err(|error| refused(&error))?;
        let mut request = Request::new(Body::full(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = at_peer(path);
        let response = self.http.request(request).await.map_err(|error| CallError::gone(&error))?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| CallError::Gone(error.to_string()))?.to_bytes();
        if status != StatusCode::OK {
            return Err(CallError::Refused(String::from_utf8_lossy(&body).into_owned()));
        }
        postcard::from_bytes(&body).map_err(|error| refused(&error))
    }
}

/// Answers a call.
///
/// # Errors
/// The reason in words, in place of an answer.
pub async fn answer<Q, A, F>(body: Body, with: impl FnOnce(Q) -> F) -> Response
where
    Q: DeserializeOwned,
    A: Serialize,
    F: Future<Output = Result<A, String>>,
{
    let answered = async {
        let body = body.collect(LARGEST_ANSWER as u64).await.map_err(|error| error.to_string())?;
        let question = postcard::from_bytes(&body).map_err(|error| error.to_string())?;
        postcard::to_stdvec(&with(question).await?).map_err(|error| error.to_string())
    };
    match answered.await {
        Ok(answer) => Response::new(Body::full(answer)),
        Err(reason) => {
            let mut response = Response::new(Body::full(reason));
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            response
        }
    }
}

/// A path at the other process. Its authority is the same for every request, so that connections are used again.
fn at_peer(path: PathAndQuery) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::from_static("peer"));
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).unwrap_or_default()
}

fn received(response: http::Response<Incoming>) -> Response {
    let broken = |error: hyper::Error| BodyError::Transport(error.to_string());
    response.map(|body| Body::boxed(body.map_err(broken).map_frame(|frame| frame.map_data(Bytes::from))))
}
