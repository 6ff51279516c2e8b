//! What leaves the machine: an HTTP client and a WebSocket client for Workers, behind one policy of addresses.
//!
//! A name is resolved first, then every address is checked against the [`AddressPolicy`], then the connection goes to
//! one of the addresses that passed, never to the name again. So no DNS answer, and no redirect (each hop is a request
//! of its own), can lead to the host's own network. Connections are pooled for the whole process, on the runtime that
//! made the [`Client`]. No proxy is used and no environment variable is read.

#![forbid(unsafe_code)]

mod client;
mod connect;
mod policy;
mod retry;
mod websocket;

pub use client::{Answer, Client, decode};
pub use connect::ConnectError;
pub use policy::AddressPolicy;
pub use retry::{Backoff, Pauses, retry_after};

/// Why a request could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The scheme is neither `http` nor `https` (`ws`, `wss` for WebSockets).
    #[error("cannot fetch \"{0}:\" URLs: only http and https can be fetched")]
    Scheme(String),
    /// The URL has no host, or one that HTTP cannot name.
    #[error("\"{0}\" is not a URL that can be fetched")]
    Url(String),
    /// A header that HTTP does not allow.
    #[error("invalid header: {0}")]
    Header(#[from] http::Error),
    /// The connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or the server broke the protocol.
    #[error("network connection lost: {0}")]
    Transport(String),
    /// The server answered a WebSocket handshake with something else.
    #[error("the server did not accept the WebSocket: it answered with status {0}")]
    NotAWebSocket(u16),
}
