//! Cloudflare's envelope around every result.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use skep_exchange::{Body, Response};
use skep_store::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::ApiError;

/// What a call answers.
pub(crate) enum Answer {
    /// A result, in the envelope.
    Result { status: StatusCode, result: Value, info: Option<Value>, messages: Vec<String> },
    /// Something else: a file, a WebSocket.
    Raw(Box<Response>),
}

impl Answer {
    pub(crate) fn ok(result: impl Into<Value>) -> Self {
        Self::Result { status: StatusCode::OK, result: result.into(), info: None, messages: Vec::new() }
    }

    /// Nothing to say but that it is done.
    pub(crate) fn done() -> Self {
        Self::ok(Value::Null)
    }

    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        match self {
            Self::Result { result, info, messages, .. } => Self::Result { status, result, info, messages },
            raw @ Self::Raw(_) => raw,
        }
    }

    /// One page of a list. There are more pages when the list is as long as a page may be.
    pub(crate) fn page(items: Vec<Value>, page: Page) -> Self {
        let count = items.len();
        let before = (page.number - 1) * page.size;
        let total = before as usize + count + usize::from(count == page.size as usize);
        let info = json!({ "page": page.number, "per_page": page.size, "count": count, "total_count": total });
        Self::Result { status: StatusCode::OK, result: items.into(), info: Some(info), messages: Vec::new() }
    }

    pub(crate) fn into_response(self) -> Response {
        match self {
            Self::Raw(response) => *response,
            Self::Result { status, result, info, messages } => {
                let messages: Vec<Value> =
                    messages.into_iter().map(|message| json!({ "code": 10100, "message": message })).collect();
                let mut envelope = json!({ "success": true, "errors": [], "messages": messages, "result": result });
                if let Some(info) = info {
                    envelope["result_info"] = info;
                }
                json_response(status, &envelope)
            }
        }
    }
}

impl ApiError {
    pub(crate) fn into_response(self) -> Response {
        let errors = json!([{ "code": self.code, "message": self.message }]);
        json_response(self.status, &json!({ "success": false, "errors": errors, "messages": [], "result": null }))
    }
}

pub(crate) fn json_response(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// From 1 on.
    pub(crate) number: u32,
    /// Entries of a page.
    pub(crate) size: u32,
}

impl Page {
    pub(crate) fn skip(self) -> u32 {
        (self.number - 1).saturating_mul(self.size)
    }
}

/// A time as Cloudflare writes it: RFC 3339, UTC.
pub(crate) fn date(time: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}
