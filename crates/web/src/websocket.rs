//! WebSockets as resources: JavaScript's end of a connection.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use deno_core::convert::{OptionUndefined, Uint8Array};
use deno_core::{AsyncRefCell, CancelHandle, CancelTryFuture as _, OpState, RcRef, Resource, ResourceId, ToV8, op2};
use deno_error::JsErrorBox;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use skep_exchange::{ABNORMAL_CLOSURE, Message, WebSocket, WebSocketReceiver, WebSocketSender};

use crate::Host;
use crate::events::Events;
use crate::fetch::{js_error, request};

/// One end of a connection.
pub(crate) struct WebSocketResource {
    sender: WebSocketSender,
    receiver: AsyncRefCell<WebSocketReceiver>,
    cancel: CancelHandle,
}

impl WebSocketResource {
    pub(crate) fn new(WebSocket { sender, receiver }: WebSocket) -> Self {
        Self { sender, receiver: AsyncRefCell::new(receiver), cancel: CancelHandle::default() }
    }

    /// The end itself, to pass it on.
    pub(crate) fn into_websocket(self) -> Option<WebSocket> {
        Some(WebSocket { sender: self.sender, receiver: self.receiver.into_inner() })
    }
}

impl Resource for WebSocketResource {
    fn name(&self) -> Cow<'_, str> {
        "webSocket".into()
    }

    fn close(self: Rc<Self>) {
        self.cancel.cancel();
    }
}

/// Two ends that are connected: one for JavaScript, one for a response.
#[derive(ToV8)]
pub(crate) struct Pair {
    ours: ResourceId,
    theirs: ResourceId,
}

/// Makes a connection within the machine.
#[op2]
pub(crate) fn op_websocket_pair(state: &mut OpState) -> Pair {
    let (ours, theirs) = WebSocket::pair();
    Pair {
        ours: state.resource_table.add(WebSocketResource::new(ours)),
        theirs: state.resource_table.add(WebSocketResource::new(theirs)),
    }
}

fn send(state: &OpState, rid: ResourceId, message: Message) -> Result<(), JsErrorBox> {
    let Ok(resource) = state.resource_table.get::<WebSocketResource>(rid) else {
        // Closed: what is sent after that goes nowhere, as the standard has it.
        return Ok(());
    };
    match resource.sender.send(message) {
        Ok(()) | Err(skep_exchange::SendError::Closed) => Ok(()),
        Err(error @ skep_exchange::SendError::Full) => Err(JsErrorBox::generic(error.to_string())),
    }
}

/// Sends a text message.
#[op2(fast)]
pub(crate) fn op_websocket_send_text(
    state: &OpState,
    #[smi] rid: ResourceId,
    #[string] text: String,
) -> Result<(), JsErrorBox> {
    send(state, rid, Message::Text(text))
}

/// Sends a binary message.
#[op2]
pub(crate) fn op_websocket_send_binary(
    state: &OpState,
    #[smi] rid: ResourceId,
    data: Uint8Array,
) -> Result<(), JsErrorBox> {
    send(state, rid, Message::Binary(Bytes::from(data.0)))
}

/// Begins to close a connection.
#[op2(fast)]
pub(crate) fn op_websocket_close(
    state: &OpState,
    #[smi] rid: ResourceId,
    #[smi] code: u16,
    #[string] reason: String,
) -> Result<(), JsErrorBox> {
    send(state, rid, Message::Close { code, reason })
}

/// The bytes that wait to be sent.
#[op2(fast)]
pub(crate) fn op_websocket_buffered(state: &OpState, #[smi] rid: ResourceId) -> f64 {
    state.resource_table.get::<WebSocketResource>(rid).map_or(0.0, |resource| resource.sender.buffered() as f64)
}

/// What arrived: a text, bytes, or a close with its code and reason.
#[derive(ToV8)]
pub(crate) struct Received {
    text: OptionUndefined<String>,
    bytes: OptionUndefined<Uint8Array>,
    code: OptionUndefined<u16>,
    reason: OptionUndefined<String>,
}

/// Waits for the next message. The last one has a `code`.
#[op2]
pub(crate) async fn op_websocket_next(
    state: Rc<RefCell<OpState>>,
    #[smi] rid: ResourceId,
) -> Result<Received, JsErrorBox> {
    let resource = state.borrow().resource_table.get::<WebSocketResource>(rid).map_err(JsErrorBox::from_err)?;
    let cancel = RcRef::map(&resource, |resource| &resource.cancel);
    let next = async {
        let mut receiver = RcRef::map(&resource, |resource| &resource.receiver).borrow_mut().await;
        Ok::<_, JsErrorBox>(receiver.next().await)
    };
    let (mut text, mut bytes, mut close) = (None, None, None);
    match next.try_or_cancel(cancel).await? {
        Some(Message::Text(message)) => text = Some(message),
        Some(Message::Binary(message)) => bytes = Some(message.to_vec().into()),
        Some(Message::Close { code, reason }) => close = Some((code, reason)),
        None => close = Some((ABNORMAL_CLOSURE, "WebSocket disconnected".to_owned())),
    }
    let (code, reason) = close.unzip();
    Ok(Received { text: text.into(), bytes: bytes.into(), code: code.into(), reason: reason.into() })
}

/// A connection that was opened.
#[derive(ToV8)]
pub(crate) struct Opened {
    rid: ResourceId,
    protocol: String,
}

/// Opens a connection, for `new WebSocket(url)`.
#[op2]
pub(crate) async fn op_websocket_connect(
    state: Rc<RefCell<OpState>>,
    #[smi] event: u32,
    #[string] url: String,
    #[scoped] protocols: Vec<String>,
) -> Result<Opened, JsErrorBox> {
    let (client, connections) = {
        let mut state = state.borrow_mut();
        let connections = state.borrow_mut::<Events>().count_subrequest(event)?;
        (state.borrow::<Host>().outbound.clone(), connections)
    };
    let mut request = request(b"GET", &url, Vec::new())?;
    if !protocols.is_empty() {
        let value = protocols.join(", ").parse().map_err(|_| JsErrorBox::type_error("invalid WebSocket protocol"))?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    let _permit = connections.acquire_owned().await.map_err(|error| JsErrorBox::generic(error.to_string()))?;
    let mut response = client.open_websocket(request).await.map_err(|error| js_error(&error))?;
    let Some(end) = WebSocket::take(&mut response) else {
        let refused = skep_outbound::OutboundError::NotAWebSocket(response.status().as_u16());
        return Err(js_error(&refused));
    };
    let protocol = response
        .headers()
        .get(SEC_WEBSOCKET_PROTOCOL)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let rid = state.borrow_mut().resource_table.add(WebSocketResource::new(end));
    Ok(Opened { rid, protocol })
}
