//! What passes between the network and a Worker, and between two Workers: requests and responses with streaming bodies,
//! WebSockets, sessions of calls, and the failure in place of a response. Shared by the gateway, the isolate and the outbound client, so that none of them
//! needs to know another. No sockets and no V8 here.

#![forbid(unsafe_code)]

mod body;
mod drive;
mod failure;
pub mod forwarded;
pub mod rpc;
pub mod wake;
mod websocket;

pub use body::{Body, BodyError, BodySender};
pub use drive::{Role, drive};
pub use failure::{Failure, Reply};
pub use websocket::{ABNORMAL_CLOSURE, Message, NO_STATUS, SendError, WebSocket, WebSocketReceiver, WebSocketSender};

/// The reason phrase of a response, among its extensions, where the Worker gave one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusText(pub String);

/// The `request.cf` of a request, as JSON, among its extensions.
#[derive(Clone, Debug)]
pub struct RequestCf(pub std::sync::Arc<str>);

/// How many Workers have called each other to make a request, among its extensions. None for one from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth(pub u32);

/// Among the extensions of a response with status 101: its client may send frames without a mask, although RFC 6455,
/// section 5.1, forbids it.
#[derive(Clone, Copy, Debug)]
pub struct AcceptUnmasked;

/// A request with a body of ours.
pub type Request = http::Request<Body>;
/// A response with a body of ours. A response with status 101 has a [`WebSocket`] among its extensions.
pub type Response = http::Response<Body>;
