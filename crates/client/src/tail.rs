//! The live log: a tail is opened with filters, and its events come over a WebSocket, one JSON document each.
//! What an event holds: <https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/#tailitems>

mod pretty;

use std::time::Duration;

use ::http::{HeaderValue, Method};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use url::{Host, Url};

use crate::api::{Api, Root, Sent, segment};
use crate::error::{Error, Result};

pub use pretty::pretty;

/// The protocol that the events are in.
const PROTOCOL: &str = "trace-v1";
/// How often the platform is asked whether it is still there, and how long it may take to answer.
const PING: Duration = Duration::from_secs(10);
/// What that question says.
const PING_TEXT: &[u8] = b"skep tail ping";
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// How an event ended, as a filter says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The handler returned.
    Ok,
    /// Anything went wrong.
    Error,
    /// The client went away.
    Canceled,
}

impl Status {
    const fn outcomes(self) -> &'static [&'static str] {
        match self {
            Self::Ok => &["ok"],
            Self::Error => &["exception", "exceededCpu", "exceededMemory", "unknown"],
            Self::Canceled => &["canceled"],
        }
    }
}

/// Which events are wanted: those that pass every filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters {
    /// The share of events: above 0, up to 1.
    pub sampling_rate: Option<f64>,
    /// How they ended.
    pub status: Vec<Status>,
    /// Methods of requests.
    pub methods: Vec<String>,
    /// A header that requests have, and what its value must hold.
    pub header: Option<(String, Option<String>)>,
    /// Addresses of clients; `self` is the caller's own.
    pub ips: Vec<String>,
    /// A text that console lines hold.
    pub search: Option<String>,
    /// The version that ran.
    pub version: Option<String>,
}

impl Filters {
    fn body(&self) -> Value {
        let mut filters = Vec::new();
        if let Some(rate) = self.sampling_rate {
            filters.push(json!({ "sampling_rate": rate }));
        }
        if !self.status.is_empty() {
            let outcomes: Vec<&str> = self.status.iter().flat_map(|status| status.outcomes()).copied().collect();
            filters.push(json!({ "outcome": outcomes }));
        }
        if !self.methods.is_empty() {
            filters.push(json!({ "method": self.methods }));
        }
        match &self.header {
            Some((key, Some(query))) => filters.push(json!({ "header": { "key": key, "query": query } })),
            Some((key, None)) => filters.push(json!({ "header": { "key": key } })),
            None => {}
        }
        if !self.ips.is_empty() {
            filters.push(json!({ "client_ip": self.ips }));
        }
        if let Some(text) = &self.search {
            filters.push(json!({ "query": text }));
        }
        if let Some(version) = &self.version {
            filters.push(json!({ "scriptVersion": version }));
        }
        json!({ "filters": filters })
    }
}

#[derive(Deserialize)]
struct Opened {
    id: String,
    url: String,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open tail.
pub struct Tail {
    api: Api,
    worker: String,
    id: String,
    socket: WebSocketStream<Box<dyn Stream>>,
    pings: Interval,
    /// When a ping was sent that has no answer yet.
    asked: Option<Instant>,
}

impl Api {
    /// Opens a tail of a Worker.
    ///
    /// # Errors
    /// When there is no such Worker, or its events cannot be reached.
    pub async fn tail(&self, worker: &str, filters: &Filters) -> Result<Tail> {
        let path = format!("/workers/scripts/{}/tails", segment(worker));
        let opened: Opened = self.send(Method::POST, Root::Account, &path, Sent::Json(filters.body())).await?;
        let socket = match connect(self, &opened.url).await {
            Ok(socket) => socket,
            Err(error) => {
                // Nobody listens to it; it expires by itself if it cannot be removed.
                let _ = remove(self, worker, &opened.id).await;
                return Err(error);
            }
        };
        let mut pings = tokio::time::interval_at(Instant::now() + PING, PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Tail { api: self.clone(), worker: worker.to_owned(), id: opened.id, socket, pings, asked: None })
    }
}

async fn remove(api: &Api, worker: &str, id: &str) -> Result<()> {
    let path = format!("/workers/scripts/{}/tails/{}", segment(worker), segment(id));
    api.send::<Value>(Method::DELETE, Root::Account, &path, Sent::Nothing).await.map(drop)
}

async fn connect(api: &Api, address: &str) -> Result<WebSocketStream<Box<dyn Stream>>> {
    let wrong = |reason: String| Error::Unreachable { url: without_path(address), reason };
    let url = Url::parse(address).map_err(|error| wrong(error.to_string()))?;
    let secure = match url.scheme() {
        "wss" | "https" => true,
        "ws" | "http" => false,
        scheme => return Err(wrong(format!("the platform names an address of the scheme {scheme}"))),
    };
    let host = url.host().ok_or_else(|| wrong("the address has no host".to_owned()))?;
    let port = url.port().unwrap_or(if secure { 443 } else { 80 });
    // RFC 6761, section 6.3: names below localhost are this machine, whether or not the resolver knows.
    let target = match &host {
        Host::Domain(name) if name.ends_with(".localhost") => "localhost".to_owned(),
        Host::Ipv6(address) => address.to_string(),
        host => host.to_string(),
    };
    let mut request = address.into_client_request().map_err(|error| wrong(error.to_string()))?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
    let connecting = async {
        let stream = TcpStream::connect((target.as_str(), port)).await.map_err(|error| wrong(error.to_string()))?;
        let stream: Box<dyn Stream> = if secure {
            let name = host.to_string().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(name).map_err(|error| wrong(error.to_string()))?;
            let connector = TlsConnector::from(api.http.tls.clone());
            Box::new(connector.connect(name, stream).await.map_err(|error| wrong(error.to_string()))?)
        } else {
            Box::new(stream)
        };
        let (socket, _) =
            tokio_tungstenite::client_async(request, stream).await.map_err(|error| wrong(error.to_string()))?;
        Ok(socket)
    };
    let connected = tokio::time::timeout(CONNECT, connecting).await;
    connected.unwrap_or_else(|_| Err(wrong(format!("no answer within {} s", CONNECT.as_secs()))))
}

/// The path of a tail lets whoever knows it read the log.
fn without_path(address: &str) -> String {
    let end = address.find("://").and_then(|start| address[start + 3..].find('/').map(|end| start + 3 + end));
    address[..end.unwrap_or(address.len())].to_owned()
}

impl Tail {
    /// The next event; nothing when the platform has ended the tail.
    ///
    /// # Errors
    /// When the connection breaks: a new tail may be opened.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => return event(text.as_bytes()).map(Some),
                    Some(Ok(Message::Binary(bytes))) => return event(&bytes).map(Some),
                    Some(Ok(Message::Pong(_))) => self.asked = None,
                    Some(Ok(Message::Close(frame))) => {
                        let is_clean = frame.as_ref().is_none_or(|frame| frame.code == CloseCode::Normal);
                        let reason = frame.map(|frame| frame.reason.to_string()).filter(|reason| !reason.is_empty());
                        return if is_clean { Ok(None) } else { Err(self.lost(reason.as_deref().unwrap_or("closed"))) };
                    }
                    Some(Ok(_)) => {}
                    Some(Err(SocketError::ConnectionClosed)) | None => return Err(self.lost("the connection ended")),
                    Some(Err(error)) => return Err(self.lost(&error.to_string())),
                },
                _ = self.pings.tick() => {
                    if self.asked.is_some() {
                        return Err(self.lost(&format!("no sign of life within {} s", PING.as_secs())));
                    }
                    self.asked = Some(Instant::now());
                    let ping = Message::Ping(Bytes::from_static(PING_TEXT));
                    self.socket.send(ping).await.map_err(|error| self.lost(&error.to_string()))?;
                }
            }
        }
    }

    fn lost(&self, reason: &str) -> Error {
        Error::Unreachable { url: self.api.url().to_string(), reason: format!("the tail broke off: {reason}") }
    }

    /// Ends the tail.
    ///
    /// # Errors
    /// When the platform cannot be told: then the tail expires by itself.
    pub async fn close(mut self) -> Result<()> {
        // It may have broken off already.
        let _ = self.socket.close(None).await;
        remove(&self.api, &self.worker, &self.id).await
    }
}

fn event(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid(format!("the platform sent an event that is not JSON ({error}): update skep")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_sent_as_wrangler_sends_them() {
        assert_eq!(Filters::default().body(), json!({ "filters": [] }));
        let filters = Filters {
            sampling_rate: Some(0.5),
            status: vec![Status::Ok, Status::Error],
            methods: vec!["GET".to_owned()],
            header: Some(("x-a".to_owned(), Some("b".to_owned()))),
            ips: vec!["self".to_owned()],
            search: Some("text".to_owned()),
            version: Some("v".to_owned()),
        };
        assert_eq!(
            filters.body(),
            json!({ "filters": [
                { "sampling_rate": 0.5 },
                { "outcome": ["ok", "exception", "exceededCpu", "exceededMemory", "unknown"] },
                { "method": ["GET"] },
                { "header": { "key": "x-a", "query": "b" } },
                { "client_ip": ["self"] },
                { "query": "text" },
                { "scriptVersion": "v" },
            ] })
        );
        let key = Filters { header: Some(("x-a".to_owned(), None)), ..Filters::default() };
        assert_eq!(key.body(), json!({ "filters": [{ "header": { "key": "x-a" } }] }));
    }

    #[test]
    fn the_address_of_a_tail_is_a_secret() {
        assert_eq!(without_path("wss://x.example:1/tails/secret"), "wss://x.example:1");
        assert_eq!(without_path("ws://x"), "ws://x");
    }
}
