//! Live tails: a session is made with a token, and its address, which nobody can guess, is watched through a WebSocket.
//! <https://developers.cloudflare.com/api/resources/workers/subresources/scripts/subresources/tail/>

use std::time::SystemTime;

use http::header::{HOST, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use skep_exchange::{AcceptUnmasked, Body, Message, Response, WebSocket};
use skep_observe::{Filter, Filters, Refused};
use skep_store::Permission;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::answer::Answer;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

/// What is spoken on the WebSocket: one event as JSON for each message.
const PROTOCOL: &str = "trace-v1";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    vec![
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}/tails", reads, "The sessions that watch a Worker", list),
        endpoint!(POST "/accounts/{account_id}/workers/scripts/{script_name}/tails", reads, "Make a session that watches a Worker: the answer has the address of its WebSocket", create),
        endpoint!(DELETE "/accounts/{account_id}/workers/scripts/{script_name}/tails/{tail_id}", reads, "End a session", end),
        endpoint!(GET "/skep/v1/tails/{tail_id}", Access::Bearer, "The events of a session, as a WebSocket with the protocol trace-v1", watch),
    ]
}

fn shown(id: Uuid, expires: SystemTime, url: Option<String>) -> Value {
    let expires = OffsetDateTime::from(expires).format(&Rfc3339).unwrap_or_default();
    let mut shown = json!({ "id": id, "expires_at": expires });
    if let Some(url) = url {
        shown["url"] = url.into();
    }
    shown
}

async fn list(call: Call) -> ApiResult {
    let sessions = call.control.runtime.tails.list(call.account(), call.worker_name());
    let shown: Vec<Value> = sessions.into_iter().map(|(id, expires)| shown(id, expires, None)).collect();
    Ok(Answer::ok(shown))
}

#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    filters: Vec<Filter>,
}

async fn create(mut call: Call) -> ApiResult {
    let sent: Sent = call.json().await?;
    // Wrangler asks for the session before it knows whether there is such a Worker.
    call.worker().await?;
    let filters =
        Filters::new(sent.filters, call.client.as_deref()).map_err(|error| ApiError::bad(error.to_string()))?;
    let made = call.control.runtime.tails.create(call.account(), call.worker_name(), filters);
    let (id, expires) =
        made.map_err(|refused: Refused| ApiError::new(StatusCode::TOO_MANY_REQUESTS, 10057, refused.to_string()))?;
    let host = call.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or(&call.control.addresses.domain);
    let scheme = if call.control.addresses.scheme == "https" { "wss" } else { "ws" };
    let url = format!("{scheme}://{host}/skep/v1/tails/{id}");
    Ok(Answer::ok(shown(id, expires, Some(url))))
}

async fn end(call: Call) -> ApiResult {
    let id = Uuid::parse_str(call.parameter("tail_id")).ok();
    let ended = id.is_some_and(|id| call.control.runtime.tails.end(call.account(), call.worker_name(), id));
    if ended { Ok(Answer::done()) } else { Err(ApiError::not_found(10007, Refused::Gone.to_string())) }
}

async fn watch(call: Call) -> ApiResult {
    // A browser lets any page open a WebSocket anywhere, and says which page it was.
    call.site.check_origin()?;
    let id = Uuid::parse_str(call.parameter("tail_id")).map_err(|_| ApiError::authentication())?;
    let (ours, theirs) = WebSocket::pair();
    let connection = call.control.runtime.tails.connect(id, ours.sender).map_err(|_| ApiError::authentication())?;
    let mut receiver = ours.receiver;
    tokio::spawn(async move {
        // What a viewer says changes nothing; when it goes, the session is over.
        while receiver.next().await.is_some_and(|message| !matches!(message, Message::Close { .. })) {}
        drop(connection);
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let offered = call.headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.to_str().ok());
    if offered.is_some_and(|offered| offered.split(',').any(|protocol| protocol.trim() == PROTOCOL)) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    // Wrangler sends its first frame without a mask.
    response.extensions_mut().insert(AcceptUnmasked);
    theirs.attach(&mut response);
    Ok(Answer::Raw(Box::new(response)))
}
