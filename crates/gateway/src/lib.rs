//! HTTP in: listeners, TLS, requests and responses streamed both ways, WebSockets, error pages.
//!
//! The gateway knows nothing of Workers: it hands each request to a [`Handler`] and sends what comes back. HTTP/1.1 and
//! HTTP/2 are hyper's; what is added is the request's URL, the client's address, limits, and upgrades.

#![forbid(unsafe_code)]

mod error_page;
mod handler;
mod ray;
mod request;
mod response;
mod server;
mod tls;
mod tracked;

pub use error_page::{Page, broken_body, error_page};
pub use handler::{Answering, Handler};
pub use server::{BindError, Connections, Listener, Server, ServerLimits, SharedListener, speaks_http2};
pub use tls::{Certify, Readying, TlsError, certificate, certified_key, self_signed};
pub use tracked::{Doing, Track};
