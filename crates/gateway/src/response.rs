//! From a Worker's response to one on the wire.

use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::body::Body as _;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use skep_exchange::{AcceptUnmasked, Body, Response, Role, StatusText, WebSocket, drive, forwarded};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::error_page::Page;

/// Headers that a Worker cannot set: those of one connection (RFC 9110, section 7.6.1), and the date, which hyper writes.
const NOT_THE_WORKERS: [HeaderName; 6] = [
    DATE,
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Makes a Worker's response fit for the wire.
pub(crate) fn prepare(mut response: Response) -> http::Response<Body> {
    if response.headers().keys().any(|name| NOT_THE_WORKERS.contains(name)) {
        for name in NOT_THE_WORKERS {
            response.headers_mut().remove(name);
        }
    }
    if let Some(StatusText(text)) = response.extensions_mut().remove()
        && let Ok(reason) = ReasonPhrase::try_from(text.into_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    if response.status().is_informational() {
        return wrong_informational(response.status());
    }
    response
}

/// Leaves the body of an answer to HEAD out, and says how long it would be. hyper does that for HTTP/1.1; over HTTP/2 it would send the
/// body, which breaks the stream. RFC 9110, section 9.3.2.
pub(crate) fn without_body(response: http::Response<Body>) -> http::Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    http::Response::from_parts(parts, Body::empty())
}

fn wrong_informational(status: StatusCode) -> Response {
    let message = format!("The Worker answered with status {status} to a request that did not ask for an upgrade.");
    Page { status: StatusCode::INTERNAL_SERVER_ERROR, title: "Unexpected response", message: &message, detail: None }
        .response()
}

/// What is needed of a request to answer it with a WebSocket.
pub(crate) struct Upgrade {
    pub(crate) on_upgrade: OnUpgrade,
    pub(crate) key: HeaderValue,
    /// The other end is a process of the platform.
    pub(crate) is_peer: bool,
}

impl Upgrade {
    /// The key of a WebSocket handshake, if these headers are one. RFC 6455, section 4.2.1.
    pub(crate) fn key(headers: &HeaderMap) -> Option<HeaderValue> {
        let upgrade = headers.get(UPGRADE)?.to_str().ok()?;
        if !upgrade.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket")) {
            return None;
        }
        headers.get(SEC_WEBSOCKET_KEY).cloned()
    }

    /// Answers the handshake with the response's WebSocket, if it has one.
    pub(crate) fn finish(self, mut response: Response) -> http::Response<Body> {
        let Some(end) = WebSocket::take(&mut response) else { return prepare(response) };
        let accept_unmasked = response.extensions().get::<AcceptUnmasked>().is_some();
        let role = Role::Server { accept_unmasked };
        tokio::spawn(async move {
            // A client that went away in the middle of the handshake has nothing to be told.
            if let Ok(upgraded) = self.on_upgrade.await {
                drive(TokioIo::new(upgraded), role, end).await;
            }
        });
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.body_mut() = Body::empty();
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        if self.is_peer && accept_unmasked {
            headers.insert(forwarded::UNMASKED, HeaderValue::from_static("true"));
        }
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::try_from(derive_accept_key(self.key.as_bytes())) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }
}
