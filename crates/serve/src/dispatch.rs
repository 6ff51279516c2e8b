//! Requests that come to this process: for the platform itself they are answered here, all others are handed to those who run Workers.

use std::sync::Arc;

use http::StatusCode;
use http::uri::Scheme;
use skep_control::Control;
use skep_exchange::{Request, Response};
use skep_gateway::{Answering, Handler, Page, broken_body};
use skep_link::{CallError, ForVersion};
use skep_pool::Directory;

use crate::runtimes::Runtimes;

/// Answers requests.
pub(crate) struct Dispatch {
    pub(crate) control: Arc<Control>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) runtimes: Arc<Runtimes>,
    /// Whether the dashboard is there.
    pub(crate) dashboard: bool,
}

/// Requests of clients whose connections end here: with TLS, in HTTP/2, or for the platform itself at first.
pub(crate) struct OfClients(pub(crate) Arc<Dispatch>);

/// Requests that a process hands on which runs Workers.
pub(crate) struct OfRuntimes(pub(crate) Arc<Dispatch>);

impl Handler for OfClients {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        let dispatch = Arc::clone(&self.0);
        Box::pin(async move {
            let (host, path) = (request.uri().host().unwrap_or_default(), request.uri().path());
            let secure = request.uri().scheme() == Some(&Scheme::HTTPS);
            if dispatch.is_for_platform(secure, host, path) {
                return match is_api(path) {
                    true => dispatch.api(request).await,
                    false => skep_dashboard::answer(&request),
                };
            }
            match dispatch.runtimes.current().await {
                Some(runtime) => forwarded(runtime.requests().forward(request).await),
                None => unavailable(),
            }
        })
    }
}

impl Handler for OfRuntimes {
    fn handle(self: Arc<Self>, mut request: Request) -> Answering {
        let dispatch = Arc::clone(&self.0);
        Box::pin(async move {
            match ForVersion::take(request.headers_mut()) {
                None if is_api(request.uri().path()) => dispatch.api(request).await,
                None if skep_dashboard::is_dashboard(request.uri().path()) => dispatch.page(&request),
                None => unavailable(),
                Some(to) => {
                    let Some(runtime) = dispatch.runtimes.own(to.version).await else {
                        return unavailable();
                    };
                    request.extensions_mut().insert(to);
                    forwarded(runtime.requests().forward(request).await)
                }
            }
        })
    }
}

impl Dispatch {
    /// Whether a request is for the platform itself, and is answered without who runs Workers. Without TLS a Worker's route comes first, as it does
    /// there.
    pub(crate) fn is_for_platform(&self, secure: bool, host: &str, path: &str) -> bool {
        let is_meant = is_api(path) || (self.dashboard && skep_dashboard::is_dashboard(path));
        let is_free = || secure || self.directory.find(secure, host, path).is_none();
        is_meant && self.directory.is_own(host) && is_free()
    }

    /// A call of the API. Those who run Workers know what it has changed before it is answered.
    async fn api(&self, request: Request) -> Response {
        let response = Arc::clone(&self.control).handle(request).await;
        self.runtimes.settled().await;
        response
    }
}

impl Dispatch {
    /// What is at the platform's own host besides the API.
    fn page(&self, request: &Request) -> Response {
        if self.dashboard {
            return skep_dashboard::answer(request);
        }
        let message = "This is a Skep platform without a dashboard. Its API is at /client/v4; Workers answer at addresses of their own.";
        Page { status: StatusCode::NOT_FOUND, title: "Not found", message, detail: None }.response()
    }
}

/// Whether a path is the API's.
fn is_api(path: &str) -> bool {
    path.starts_with("/client/v4/") || path.starts_with("/skep/v1/")
}

fn forwarded(answered: Result<Response, CallError>) -> Response {
    answered.unwrap_or_else(|error| match error {
        CallError::Body(error) => broken_body(&error),
        CallError::Gone(_) | CallError::Refused(_) => died(),
    })
}

/// The page of a request whose process ended.
pub(crate) fn died() -> Response {
    let message = "The process that handled this request ended before it had answered. Whether the request had an effect is not known.";
    Page { status: StatusCode::BAD_GATEWAY, title: "The request was lost", message, detail: None }.response()
}

fn unavailable() -> Response {
    let message = "No process that runs Workers could be started. The platform's log says why.";
    Page { status: StatusCode::SERVICE_UNAVAILABLE, title: "Not available", message, detail: None }.response()
}
