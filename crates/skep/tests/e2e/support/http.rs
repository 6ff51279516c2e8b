//! An HTTP client: one connection for each request.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::PATIENCE;

/// A response, all of it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) text: String,
}

impl Answer {
    /// A header's value, empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// A request's body.
pub(crate) fn body(text: impl Into<Bytes>) -> Full<Bytes> {
    Full::new(text.into())
}

/// A GET request.
pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).body(body("")).expect("a request")
}

/// Sends a request to a host and waits for all of the answer.
pub(crate) async fn fetch(host: &str, request: Request<Full<Bytes>>) -> Answer {
    let stream = TcpStream::connect(host).await.expect("a connection");
    fetch_over(stream, host, request).await
}

/// The same; nothing if the connection breaks.
pub(crate) async fn try_fetch(host: &str, request: Request<Full<Bytes>>) -> Option<Answer> {
    let stream = TcpStream::connect(host).await.ok()?;
    tokio::time::timeout(PATIENCE, exchange(stream, host, request)).await.expect("an answer in time").ok()
}

/// Sends a request over a connection that is there.
pub(crate) async fn fetch_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    request: Request<Full<Bytes>>,
) -> Answer {
    let exchange = exchange(stream, host, request);
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time").expect("an answer")
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    mut request: Request<Full<Bytes>>,
) -> hyper::Result<Answer> {
    let headers = request.headers_mut();
    headers.entry(HOST).or_insert(HeaderValue::try_from(host).expect("a host"));
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = client.send_request(request).await?.into_parts();
    let text = String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned();
    Ok(Answer { status: head.status, headers: head.headers, text })
}
