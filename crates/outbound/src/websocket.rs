//! The WebSocket client: an HTTP/1.1 upgrade, then messages both ways until one side closes. RFC 6455.

use std::sync::Arc;

use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use http::{HeaderValue, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use skep_exchange::{Body, BodyError, Request, Response, Role, WebSocket, drive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::OutboundError;
use crate::client::Client;

impl Client {
    /// Asks a server for a WebSocket. The scheme may be `ws`, `wss`, `http` or `https`. The answer has a [`WebSocket`]
    /// among its extensions if the server agreed (status 101), else it is the server's ordinary response.
    ///
    /// # Errors
    /// When the URL cannot be fetched, the address is forbidden, the connection fails, or the server breaks the protocol.
    pub async fn open_websocket(&self, request: Request) -> Result<Response, OutboundError> {
        let connector = self.connector.clone();
        let tls = Arc::clone(&self.tls);
        self.on_runtime(async move {
            let uri = request.uri().clone();
            let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| OutboundError::Url(uri.to_string()))?;
            let secure = match uri.scheme_str() {
                Some("wss" | "https") => true,
                Some("ws" | "http") => false,
                other => return Err(OutboundError::Scheme(other.unwrap_or_default().to_owned())),
            };
            let stream = connector.connect(host, uri.port_u16().unwrap_or(if secure { 443 } else { 80 })).await?;
            if !secure {
                return upgrade(stream, &uri, request).await;
            }
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                .map_err(|_| OutboundError::Url(uri.to_string()))?;
            let stream = TlsConnector::from(without_alpn(&tls)).connect(name, stream).await.map_err(transport)?;
            upgrade(stream, &uri, request).await
        })
        .await
    }
}

/// WebSockets need HTTP/1.1: the client may not offer HTTP/2.
fn without_alpn(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols.clear();
    Arc::new(config)
}

async fn upgrade<S>(stream: S, uri: &Uri, mut request: Request) -> Result<Response, OutboundError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(transport)?;
    tokio::spawn(connection.with_upgrades());
    let key = generate_key();
    prepare(&mut request, uri, &key)?;
    let mut response = sender.send_request(request).await.map_err(transport)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response.map(|body| Body::boxed(body.map_err(|error| BodyError::Transport(error.to_string())))));
    }
    let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(OutboundError::Transport(
            "the server answered the WebSocket handshake with a wrong Sec-WebSocket-Accept".to_owned(),
        ));
    }
    let upgraded: Upgraded = hyper::upgrade::on(&mut response).await.map_err(transport)?;
    let (ours, theirs) = WebSocket::pair();
    tokio::spawn(drive(TokioIo::new(upgraded), Role::Client, ours));
    let mut response = response.map(|_| Body::empty());
    theirs.attach(&mut response);
    Ok(response)
}

fn prepare(request: &mut Request, uri: &Uri, key: &str) -> Result<(), OutboundError> {
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::try_from(authority).map_err(http::Error::from)?);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::try_from(key).map_err(http::Error::from)?);
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("Skep"));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| OutboundError::Url(uri.to_string()))?;
    Ok(())
}

fn transport(error: impl std::fmt::Display) -> OutboundError {
    OutboundError::Transport(error.to_string())
}
