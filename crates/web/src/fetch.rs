//! One hop of `fetch()`: the request goes out, the answer's head comes back, its body is a resource.

use std::borrow::Cow;
use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use deno_core::convert::{ByteString, Uint8Array};
use deno_core::{CancelFuture as _, CancelHandle, OpState, Resource, ResourceId, ToV8, op2};
use deno_error::JsErrorBox;
use http::header::{CONTENT_LENGTH, HOST, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Uri};
use skep_exchange::{Body, Request, Response, WebSocket};
use skep_observe::{OpenSpan, shown_url};
use skep_outbound::OutboundError;

use crate::Host;
use crate::body::{BodyResource, Encoder, pump};
use crate::events::Events;
use crate::websocket::WebSocketResource;

pub(crate) type Answer = (Response, bool);
type Answering = Pin<Box<dyn Future<Output = Result<Answer, JsErrorBox>>>>;

/// A request that is on its way.
struct Pending(RefCell<Option<Answering>>);

impl Resource for Pending {
    fn name(&self) -> Cow<'_, str> {
        "fetch".into()
    }
}

/// Closing it cancels the request.
struct Cancel(Rc<CancelHandle>);

impl Resource for Cancel {
    fn name(&self) -> Cow<'_, str> {
        "fetchCancel".into()
    }

    fn close(self: Rc<Self>) {
        self.0.cancel();
    }
}

/// A request that was started: the resource to await, and the one that cancels it when it is closed.
#[derive(ToV8)]
pub(crate) struct Started {
    request: ResourceId,
    cancel: ResourceId,
}

/// Keeps an answer that is to come, with what cancels it.
pub(crate) fn pend(
    state: &mut OpState,
    answering: impl Future<Output = Result<Answer, JsErrorBox>> + 'static,
) -> Started {
    let cancel = CancelHandle::new_rc();
    let canceled = cancel.clone();
    let pending = async move {
        answering.or_cancel(canceled).await.map_err(|_| JsErrorBox::new("AbortError", "The request was aborted"))?
    };
    let request = state.resource_table.add(Pending(RefCell::new(Some(Box::pin(pending)))));
    let cancel = state.resource_table.add(Cancel(cancel));
    Started { request, cancel }
}

/// Starts a request. The body is `data`, or streams from the resource `rid` if that is not 0.
#[op2]
#[allow(clippy::too_many_arguments, reason = "one call of an op carries a whole request")]
pub(crate) fn op_fetch_start(
    state: &mut OpState,
    #[smi] event: u32,
    #[scoped] method: ByteString,
    #[string] url: String,
    #[scoped] headers: Vec<ByteString>,
    data: Option<Uint8Array>,
    #[smi] rid: ResourceId,
) -> Result<Started, JsErrorBox> {
    let connections = state.borrow_mut::<Events>().count_subrequest(event)?;
    let mut request = request(&method, &url, headers)?;
    *request.body_mut() = body(state, data, rid)?;
    set_length(&mut request);
    let span = request_span(state, event, "fetch", &mut request);
    let client = state.borrow::<Host>().outbound.clone();
    let upgrade =
        request.headers().get(UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"));
    Ok(pend(state, async move {
        let _permit = connections.acquire_owned().await.map_err(|error| JsErrorBox::generic(error.to_string()))?;
        let answer = if upgrade {
            client.open_websocket(request).await.map(|response| (response, false)).map_err(|error| js_error(&error))
        } else {
            client
                .fetch(request)
                .await
                .map(|answer| (answer.response, answer.decoded))
                .map_err(|error| js_error(&error))
        };
        end_span(span, &answer);
        answer
    }))
}

/// A request of a traced event begins: whoever is asked is told of the trace.
pub(crate) fn request_span(state: &OpState, event: u32, name: &str, request: &mut Request) -> Option<OpenSpan> {
    let span = state.borrow::<Events>().span(event, name, true)?;
    span.propagate(request.headers_mut());
    let host = request.uri().host().unwrap_or_default();
    Some(
        span.with("http.request.method", request.method().as_str())
            .with("url.full", &*shown_url(&request.uri().to_string()))
            .with("server.address", host),
    )
}

/// It is answered, or not.
pub(crate) fn end_span(span: Option<OpenSpan>, answer: &Result<Answer, JsErrorBox>) {
    let Some(mut span) = span else { return };
    match answer {
        Ok((response, _)) => {
            let status = response.status();
            span.tell("http.response.status_code", status.as_u16());
            // For who asks, also what he did wrong is an error.
            // <https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status>
            span.end((status.is_client_error() || status.is_server_error()).then(String::new));
        }
        Err(error) => span.end(Some(error.to_string())),
    }
}

/// An error of the network, as the standard has it: a TypeError.
pub(crate) fn js_error(error: &OutboundError) -> JsErrorBox {
    match error {
        OutboundError::Transport(_) => JsErrorBox::generic(error.to_string()),
        _ => JsErrorBox::type_error(error.to_string()),
    }
}

pub(crate) fn request(method: &[u8], url: &str, headers: Vec<ByteString>) -> Result<Request, JsErrorBox> {
    let invalid = |error: &dyn std::fmt::Display| JsErrorBox::type_error(error.to_string());
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::from_bytes(method).map_err(|error| invalid(&error))?;
    let without_fragment = url.split('#').next().unwrap_or_default();
    *request.uri_mut() = without_fragment.parse::<Uri>().map_err(|_| invalid(&OutboundError::Url(url.to_owned())))?;
    let mut headers = headers.into_iter();
    while let (Some(name), Some(value)) = (headers.next(), headers.next()) {
        let name = HeaderName::from_bytes(&name).map_err(|error| invalid(&error))?;
        // Both follow from the URL and the body.
        if name == HOST || name == CONTENT_LENGTH {
            continue;
        }
        request.headers_mut().append(name, HeaderValue::from_bytes(&value).map_err(|error| invalid(&error))?);
    }
    Ok(request)
}

pub(crate) fn body(state: &mut OpState, data: Option<Uint8Array>, rid: ResourceId) -> Result<Body, JsErrorBox> {
    if let Some(data) = data {
        return Ok(Body::full(Bytes::from(data.0)));
    }
    if rid == 0 {
        return Ok(Body::empty());
    }
    let resource = state.resource_table.take_any(rid).map_err(JsErrorBox::from_err)?;
    let (sender, body) = Body::checked_channel(resource.size_hint().1);
    deno_core::unsync::spawn(async move { pump(resource, sender, Encoder::Plain, &Cell::new(0)).await });
    Ok(body)
}

/// POST, PUT and PATCH without a body say that it has no bytes. RFC 9110, section 8.6.
pub(crate) fn set_length(request: &mut Request) {
    if request.body().is_empty() && matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// What a `data:` URL holds.
#[derive(ToV8)]
pub(crate) struct Data {
    mime_type: String,
    bytes: Uint8Array,
}

/// Decodes a `data:` URL. <https://fetch.spec.whatwg.org/#data-urls>
#[op2]
pub(crate) fn op_data_url(#[string] url: String) -> Result<Data, JsErrorBox> {
    let invalid = || JsErrorBox::type_error("The data: URL cannot be decoded");
    let url = deno_fetch::data_url::DataUrl::process(&url).map_err(|_| invalid())?;
    let (bytes, _) = url.decode_to_vec().map_err(|_| invalid())?;
    Ok(Data { mime_type: url.mime_type().to_string(), bytes: bytes.into() })
}

/// The answer to a request.
#[derive(ToV8)]
pub(crate) struct Fetched {
    status: u16,
    status_text: String,
    headers: Vec<ByteString>,
    body: ResourceId,
    decoded: bool,
    web_socket: ResourceId,
}

/// Waits for the answer to a request.
#[op2]
pub(crate) async fn op_fetch_finish(
    state: Rc<RefCell<OpState>>,
    #[smi] rid: ResourceId,
) -> Result<Fetched, JsErrorBox> {
    let pending = state.borrow_mut().resource_table.take::<Pending>(rid).map_err(JsErrorBox::from_err)?;
    let answer = pending.0.borrow_mut().take().ok_or_else(|| JsErrorBox::generic("the request is awaited already"))?;
    let (mut response, decoded) = answer.await?;
    let status = response.status();
    let mut headers = Vec::with_capacity(response.headers().len() * 2);
    for (name, value) in response.headers() {
        headers.push(ByteString::from(name.as_str()));
        headers.push(ByteString::from(value.as_bytes()));
    }
    let mut state = state.borrow_mut();
    let web_socket = match WebSocket::take(&mut response) {
        Some(end) => state.resource_table.add(WebSocketResource::new(end)),
        None => 0,
    };
    let body = state.resource_table.add(BodyResource::new(response.into_body()));
    let status_text = status.canonical_reason().unwrap_or_default().to_owned();
    Ok(Fetched { status: status.as_u16(), status_text, headers, body, decoded, web_socket })
}
