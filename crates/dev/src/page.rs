//! What is wrong with a project, for a browser and for other clients.

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use skep_exchange::{Body, Response};
use skep_gateway::Page;

/// Why there is no new version.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    /// A few words.
    pub(crate) title: &'static str,
    /// All of it, as the terminal shows it without colours.
    pub(crate) text: String,
}

impl Problem {
    /// The problem as a response: a page that comes again by itself for browsers, plain text for others.
    pub(crate) fn response(&self, headers: &HeaderMap) -> Response {
        if !wants_html(headers) {
            let mut response = Response::new(Body::full(format!("{}\n\n{}\n", self.title, self.text)));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return response;
        }
        let message = "Save the file again when it is mended: this page follows by itself. Until then other clients get the version before it.";
        let page =
            Page { status: StatusCode::INTERNAL_SERVER_ERROR, title: self.title, message, detail: Some(&self.text) };
        let mut response = page.response();
        response.headers_mut().insert("refresh", HeaderValue::from_static("1"));
        response
    }
}

/// Whether a client is a browser that shows a document.
pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}
