//! From a request to who answers it: a Worker, the supervisor, or a page that says what is known.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::header::{CONTENT_TYPE, HOST};
use http::uri::Scheme;
use http::{HeaderValue, StatusCode};
use skep_exchange::{Body, Failure, Request, Response};
use skep_gateway::{Answering, Handler, Page, broken_body, error_page};
use skep_link::{CallError, ForVersion, Setup};
use skep_pool::{Answered, Choice, Found, Place, Pool, Worker, choose};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::Tell;
use crate::supervisor::Supervisor;

/// A version that cannot be loaded is told of so often at most, however many ask for it.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Answers every request that comes to this process.
pub(crate) struct Dispatch {
    pool: Arc<Pool>,
    supervisor: Arc<Supervisor>,
    /// Where the supervisor is asked, and no request is held up.
    runtime: Handle,
    /// What an address of a Worker looks like.
    example: String,
    ready: AtomicBool,
    tell: Tell,
    /// Versions that could not be loaded, and when that was told.
    told: Mutex<HashMap<Uuid, Instant>>,
}

/// The same for each thread of the gateway.
pub(crate) struct Shared(pub(crate) Arc<Dispatch>);

impl Handler for Shared {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        Arc::clone(&self.0).dispatch(request)
    }
}

impl Dispatch {
    pub(crate) fn new(
        pool: Arc<Pool>,
        supervisor: Arc<Supervisor>,
        runtime: Handle,
        setup: &Setup,
        tell: Tell,
    ) -> Self {
        let scheme = if setup.secure { "https" } else { "http" };
        let port = setup.port.map(|port| format!(":{port}")).unwrap_or_default();
        let example = format!("{scheme}://<worker>.<account>.{}{port}", setup.domain);
        Self { pool, supervisor, runtime, example, ready: AtomicBool::new(true), tell, told: Mutex::default() }
    }

    /// The platform is stopping.
    pub(crate) fn not_ready(&self) {
        self.ready.store(false, Ordering::Relaxed);
    }

    fn dispatch(self: Arc<Self>, mut request: Request) -> Answering {
        // Only the supervisor can say so.
        if let Some(to) = ForVersion::take(request.headers_mut()) {
            return Box::pin(async move { self.given(to, request).await });
        }
        let uri = request.uri();
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let found = self.pool.directory().find(secure, uri.host().unwrap_or_default(), uri.path());
        let Some(found) = found else { return self.platform(request) };
        let Found::Worker(worker) = found else {
            return Box::pin(async move { self.preview(found, request).await });
        };
        let client = request.headers().get("cf-connecting-ip").map(HeaderValue::as_bytes);
        let choice = Choice { worker: &worker.name, headers: request.headers(), client };
        let Some(version) = choose(worker.deployment(), choice) else {
            return Box::pin(std::future::ready(not_deployed(&worker)));
        };
        match self.pool.loaded(version) {
            Some(loaded) => match self.pool.answer(&loaded, request) {
                Answered::Here(response) => Box::pin(std::future::ready(response)),
                Answered::Later(answering) => {
                    Box::pin(answering.map(|answer| answer.unwrap_or_else(|failure| error_page(&failure, None))))
                }
            },
            None => Box::pin(async move { self.first(&worker, version, request).await }),
        }
    }

    /// A request for a version that this process was started for.
    async fn given(&self, ForVersion { worker, version }: ForVersion, request: Request) -> Response {
        match self.pool.directory().worker(worker) {
            Some(worker) => self.first(&worker, version, request).await,
            None => not_found("The Worker is gone."),
        }
    }

    /// Hands a request to the supervisor.
    async fn hand_on(&self, request: Request) -> Response {
        let answered = self.supervisor.requests().forward(request).await;
        answered.unwrap_or_else(|error| {
            if let CallError::Body(error) = &error {
                return broken_body(error);
            }
            let message = "The platform is stopping.";
            Page { status: StatusCode::SERVICE_UNAVAILABLE, title: "Stopping", message, detail: None }.response()
        })
    }

    /// A request of a version that is not in use, or not here.
    async fn first(&self, worker: &Arc<Worker>, version: Uuid, mut request: Request) -> Response {
        if self.pool.places().of(version) == Place::Own {
            request.extensions_mut().insert(ForVersion { worker: worker.id, version });
            return self.hand_on(request).await;
        }
        match self.pool.load(worker, version).await {
            Ok(loaded) => {
                let answer = self.pool.answer(&loaded, request).response().await;
                answer.unwrap_or_else(|failure| error_page(&failure, None))
            }
            Err(failure) => {
                self.cannot_load(worker, version, &failure);
                error_page(&failure, None)
            }
        }
    }

    /// Tells whoever runs the platform of a version that its store does not give: the Worker's author can do nothing about it.
    fn cannot_load(&self, worker: &Worker, version: Uuid, failure: &Failure) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| at.elapsed() < TELL_AGAIN);
        if told.contains_key(&version) {
            return;
        }
        told.insert(version, Instant::now());
        drop(told);
        (self.tell)(&format!("The Worker {} cannot be loaded: {}", worker.name, failure.message));
    }

    /// A version at an address of its own.
    async fn preview(&self, found: Found, request: Request) -> Response {
        let (Found::Worker(worker) | Found::Preview(worker, _) | Found::Alias(worker, _)) = &found;
        let worker = Arc::clone(worker);
        let pool = Arc::clone(&self.pool);
        match self.runtime.spawn(async move { pool.previewed(&found).await }).await {
            Ok(Ok(Some(version))) => self.first(&worker, version, request).await,
            Ok(Ok(None)) => {
                let message = format!("The Worker {} has no version at this address.", worker.name);
                not_found(&message)
            }
            Ok(Err(error)) => error_page(&Failure::unusable(error.to_string()), None),
            Err(_) => error_page(&Failure::unusable("the platform is stopping"), None),
        }
    }

    /// A request for the platform itself: the API, its health, or an address that nobody has.
    fn platform(self: Arc<Self>, request: Request) -> Answering {
        let host = request.uri().host().unwrap_or_default();
        let path = request.uri().path();
        let own = self.pool.directory().is_own(host);
        let of_supervisor = |path: &str| {
            let below = ["/client/v4/", "/skep/v1/", "/dashboard/"];
            path == "/" || path == "/dashboard" || below.iter().any(|below| path.starts_with(below))
        };
        if own && of_supervisor(path) {
            return Box::pin(async move { self.hand_on(request).await });
        }
        let health = if own { self.health(path) } else { None };
        let response = match health {
            Some(health) => health,
            None if own => not_found(
                "This is a Skep platform. Its API is at /client/v4; Workers answer at addresses of their own.",
            ),
            None => {
                let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or(host);
                not_found(&format!(
                    "No Worker answers at {host}. Workers answer at {} once they are deployed, at their routes, and at their custom domains.",
                    self.example
                ))
            }
        };
        Box::pin(std::future::ready(response))
    }

    /// The answer to who asks for the platform's health.
    pub(crate) fn health(&self, path: &str) -> Option<Response> {
        match path {
            "/healthz" => Some(text(StatusCode::OK, "ok\n")),
            "/readyz" if self.ready.load(Ordering::Relaxed) => Some(text(StatusCode::OK, "ready\n")),
            "/readyz" => Some(text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")),
            _ => None,
        }
    }
}

fn not_deployed(worker: &Worker) -> Response {
    not_found(&format!(
        "The Worker {} has no version that is deployed: deploy one with `wrangler versions deploy`.",
        worker.name
    ))
}

fn not_found(message: &str) -> Response {
    Page { status: StatusCode::NOT_FOUND, title: "Not found", message, detail: None }.response()
}

fn text(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
