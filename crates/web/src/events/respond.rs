//! The ops that answer a fetch event.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use deno_core::convert::{ByteString, Uint8Array};
use deno_core::{OpState, ResourceId, op2, v8};
use deno_error::JsErrorBox;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use skep_exchange::{Body, Response, StatusText, WebSocket};

use super::{EventId, Events};
use crate::body::{Encoder, Pumped, pump};
use crate::websocket::WebSocketResource;

/// Answers with status 200, one header and a text: what most handlers do.
#[op2(fast)]
pub(crate) fn op_respond_text(
    state: &mut OpState,
    #[smi] event: u32,
    #[string] content_type: String,
    #[string] text: String,
) -> Result<(), JsErrorBox> {
    let mut response = Response::new(Body::full(text));
    response.headers_mut().insert(CONTENT_TYPE, content_type_value(&content_type)?);
    state.borrow_mut::<Events>().answer(event, response)
}

fn content_type_value(content_type: &str) -> Result<HeaderValue, JsErrorBox> {
    match content_type {
        "application/json" => Ok(HeaderValue::from_static("application/json")),
        "text/plain;charset=UTF-8" => Ok(HeaderValue::from_static("text/plain;charset=UTF-8")),
        other => HeaderValue::try_from(other).map_err(|error| JsErrorBox::type_error(error.to_string())),
    }
}

/// Answers with a body that is in hand, or with none, or with a WebSocket.
#[op2]
#[allow(clippy::too_many_arguments, reason = "one call of an op carries a whole response")]
pub(crate) fn op_respond(
    state: &mut OpState,
    #[smi] event: u32,
    #[smi] status: u16,
    #[string] status_text: String,
    #[scoped] headers: Vec<ByteString>,
    data: Option<Uint8Array>,
    #[smi] encode: u8,
    #[smi] web_socket: ResourceId,
) -> Result<(), JsErrorBox> {
    let (mut response, encoder) = head(status, &status_text, headers, encode)?;
    if let Some(data) = data {
        let body = encoder.encode_all(Bytes::from(data.0)).map_err(|error| JsErrorBox::generic(error.to_string()))?;
        *response.body_mut() = Body::full(body);
    }
    if web_socket != 0 {
        let resource = state.resource_table.take::<WebSocketResource>(web_socket).map_err(JsErrorBox::from_err)?;
        take_websocket(resource)?.attach(&mut response);
    }
    state.borrow_mut::<Events>().answer(event, response)
}

fn take_websocket(resource: Rc<WebSocketResource>) -> Result<WebSocket, JsErrorBox> {
    Rc::try_unwrap(resource).ok().and_then(WebSocketResource::into_websocket).ok_or_else(|| {
        JsErrorBox::type_error("The WebSocket is being read: it cannot be returned in a response any more")
    })
}

/// Answers with a body that streams from a resource. `length` is the number of bytes, negative if it is not known.
#[op2]
#[allow(clippy::too_many_arguments, reason = "one call of an op carries a whole response")]
pub(crate) fn op_respond_stream(
    state: &mut OpState,
    #[smi] event: u32,
    #[smi] status: u16,
    #[string] status_text: String,
    #[scoped] headers: Vec<ByteString>,
    #[smi] rid: ResourceId,
    #[smi] encode: u8,
    #[number] length: i64,
) -> Result<(), JsErrorBox> {
    let resource = state.resource_table.take_any(rid).map_err(JsErrorBox::from_err)?;
    let (mut response, encoder) = head(status, &status_text, headers, encode)?;
    let length = u64::try_from(length).ok().or(resource.size_hint().1).filter(|_| encoder.is_plain());
    let (sender, body) = Body::checked_channel(length);
    *response.body_mut() = body;
    let events = state.borrow_mut::<Events>();
    events.answer(event, response)?;
    let sent = Rc::<Cell<u64>>::default();
    if let Some(state) = events.open.get_mut(&event) {
        state.streaming = true;
        state.streamed = Some(Rc::clone(&sent));
    }
    let spawner = state.borrow::<deno_core::V8TaskSpawner>().clone();
    deno_core::unsync::spawn(async move {
        let pumped = pump(resource, sender, encoder, &sent).await;
        // The isolate's state is at hand on the isolate's own turn only.
        spawner.spawn(move |scope| {
            let state = deno_core::JsRuntime::op_state_from(scope);
            let listener = state.borrow().try_borrow::<StreamedListener>().cloned();
            if let Some(StreamedListener(listener)) = listener {
                let abandoned = v8::Boolean::new(scope, matches!(pumped, Pumped::Abandoned)).into();
                let event = v8::Integer::new_from_unsigned(scope, event).into();
                let receiver = v8::undefined(scope).into();
                v8::Local::new(scope, listener).call(scope, receiver, &[event, abandoned]);
            }
            state.borrow_mut().borrow_mut::<Events>().streamed(EventId(event), pumped);
        });
    });
    Ok(())
}

/// The function of JavaScript's dispatcher that is told when a response was streamed: the event's number, and whether its
/// client went away.
#[derive(Clone)]
pub struct StreamedListener(pub v8::Global<v8::Function>);

/// The head of a response, and the encoder that its `content-encoding` asks for.
fn head(
    status: u16,
    status_text: &str,
    headers: Vec<ByteString>,
    encode: u8,
) -> Result<(Response, Encoder), JsErrorBox> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() =
        StatusCode::from_u16(status).map_err(|error| JsErrorBox::range_error(error.to_string()))?;
    if !status_text.is_empty() {
        response.extensions_mut().insert(StatusText(status_text.to_owned()));
    }
    let mut headers = headers.into_iter();
    while let (Some(name), Some(value)) = (headers.next(), headers.next()) {
        let invalid = |error: &dyn std::fmt::Display| {
            JsErrorBox::type_error(format!("invalid header \"{}\": {error}", String::from_utf8_lossy(&name)))
        };
        let name = HeaderName::from_bytes(&name).map_err(|error| invalid(&error))?;
        let value = HeaderValue::from_bytes(&value).map_err(|error| invalid(&error))?;
        response.headers_mut().append(name, value);
    }
    let encoder = match response.headers().get(CONTENT_ENCODING) {
        Some(encoding) if encode == 1 => Encoder::new(encoding.as_bytes()),
        _ => Encoder::Plain,
    };
    if !encoder.is_plain() {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    Ok((response, encoder))
}
