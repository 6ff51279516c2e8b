//! Requests: to what the last build gave, or to one of the paths that the development server answers itself.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use skep_exchange::{Body, Failure, Request, Response};
use skep_gateway::{Answering, Handler, Page, error_page};
use tokio::sync::watch;

use crate::live::{self, Live};
use crate::log::RequestLog;
use crate::page::wants_html;
use crate::served::Served;

/// Paths below this belong to the platform, not to the Worker.
const PLATFORM: &str = "/cdn-cgi/";
/// Runs the scheduled handler. <https://developers.cloudflare.com/workers/runtime-apis/handlers/scheduled/#local-testing>
const SCHEDULED: &str = "/cdn-cgi/handler/scheduled";
/// The same, with `--test-scheduled`.
const TEST_SCHEDULED: &str = "/__scheduled";

/// Answers requests with the live assets and the live version.
pub(crate) struct DevHandler {
    pub(crate) live: watch::Receiver<Live>,
    pub(crate) log: RequestLog,
    pub(crate) test_scheduled: bool,
}

impl Handler for DevHandler {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        let mut line = Line::begin(Arc::clone(&self), &request);
        let path = request.uri().path();
        let ready = match &*self.live.borrow() {
            _ if path.starts_with(PLATFORM) || path == TEST_SCHEDULED => None,
            Live::Ready(served) => Some(Arc::clone(served)),
            Live::Building | Live::Broken { .. } => None,
        };
        let Some(served) = ready else {
            return Box::pin(async move {
                let response = self.respond(request).await;
                line.answered(response.status());
                response
            });
        };
        let html = wants_html(request.headers());
        let answering = served.answer(request);
        Box::pin(async move {
            let response = answering.await.unwrap_or_else(|failure| failed(&failure, html));
            line.answered(response.status());
            response
        })
    }
}

impl DevHandler {
    /// Answers a request for the platform, or one that may have to wait for a version.
    async fn respond(&self, request: Request) -> Response {
        let path = request.uri().path();
        if path == SCHEDULED || (self.test_scheduled && path == TEST_SCHEDULED) {
            let (parts, _) = request.into_parts();
            return self.scheduled(&parts.uri, &parts.headers).await;
        }
        if path.starts_with(PLATFORM) {
            let message = format!("{path} is not a path of the platform. Known: {SCHEDULED}?cron=<expression>");
            return Page { status: StatusCode::NOT_FOUND, title: "Not found", message: &message, detail: None }
                .response();
        }
        let html = wants_html(request.headers());
        match self.waited(request.headers().clone()).await {
            Ok(served) => served.answer(request).await.unwrap_or_else(|failure| failed(&failure, html)),
            Err(response) => response,
        }
    }

    /// What takes a request that came while there was nothing.
    async fn waited(&self, headers: HeaderMap) -> Result<Arc<Served>, Response> {
        match live::settled(&mut self.live.clone()).await {
            Live::Ready(served) => Ok(served),
            Live::Broken { problem, previous } => match previous {
                Some(previous) if !wants_html(&headers) => Ok(previous),
                _ => Err(problem.response(&headers)),
            },
            Live::Building => {
                let message = "The development server is stopping.";
                Err(Page { status: StatusCode::SERVICE_UNAVAILABLE, title: "Stopping", message, detail: None }
                    .response())
            }
        }
    }

    async fn scheduled(&self, uri: &Uri, headers: &HeaderMap) -> Response {
        let query: Vec<(String, String)> = uri
            .query()
            .map(|query| url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
            .unwrap_or_default();
        let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        let time = parameter("time").and_then(|time| time.parse().ok()).unwrap_or(now);
        let served = match self.waited(headers.clone()).await {
            Ok(served) => served,
            Err(response) => return response,
        };
        let Some(slot) = &served.slot else {
            let message = "This project has static assets only, and no scheduled handler.";
            return Page { status: StatusCode::NOT_FOUND, title: "Not found", message, detail: None }.response();
        };
        let (status, outcome) = match slot.scheduled(parameter("cron").unwrap_or_default(), time).await {
            Ok(_) => (StatusCode::OK, "ok"),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "exception"),
        };
        let as_json = parameter("format") == Some("json");
        let test = uri.path() == TEST_SCHEDULED;
        let (kind, text) = match (as_json, test && status.is_success()) {
            (true, _) => ("application/json", format!("{{\"outcome\":\"{outcome}\",\"noRetry\":false}}")),
            (false, true) => ("text/plain;charset=UTF-8", "Ran scheduled event".to_owned()),
            (false, false) => ("text/plain;charset=UTF-8", outcome.to_owned()),
        };
        let mut response = Response::new(Body::full(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

/// What a client gets that ran into an error: in development with all there is to know.
fn failed(failure: &Failure, html: bool) -> Response {
    let head = format!("{}: {}", failure.name, failure.message);
    let detail =
        if failure.stack.starts_with(&head) { failure.stack.clone() } else { format!("{head}\n{}", failure.stack) };
    if html {
        return error_page(failure, Some(detail.trim_end()));
    }
    let mut response = error_page(failure, None);
    let text = format!("Error {}: {}\n\n{}\n", failure.code.number(), failure.code.title(), detail.trim_end());
    *response.body_mut() = Body::full(text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The line of one request: printed when it is answered, or when its client went away first.
struct Line {
    handler: Arc<DevHandler>,
    method: http::Method,
    path: Option<http::uri::PathAndQuery>,
    begun: Instant,
    printed: bool,
}

impl Line {
    fn begin(handler: Arc<DevHandler>, request: &Request) -> Self {
        let path = request.uri().path_and_query().cloned();
        Self { handler, method: request.method().clone(), path, begun: Instant::now(), printed: false }
    }

    fn path(&self) -> &str {
        self.path.as_ref().map_or("/", |path| path.as_str())
    }

    fn answered(&mut self, status: StatusCode) {
        self.printed = true;
        self.handler.log.answered(self.method.as_str(), self.path(), status, self.begun.elapsed());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.printed {
            self.handler.log.canceled(self.method.as_str(), self.path(), self.begun.elapsed());
        }
    }
}
