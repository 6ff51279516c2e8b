//! A place for one version's isolate: starts it when it is first needed, and another one after a limit ended it.

use std::sync::{Arc, PoisonError, RwLock};

use skep_exchange::rpc::{Ending, Opening};
use skep_exchange::{Failure, Reply, Request, RequestCf, Response};
use skep_observe::{Details, Trigger};
use skep_web::EventId;
use tokio::sync::Mutex;

use crate::{Entrypoint, Finished, InspectorSession, Isolate, Options, StartError, unanswered};

/// Tries of a request that found its isolate ended before it looked at it. Each try starts a new isolate.
const MOST_TRIES: u32 = 3;

/// One version, with an isolate when it is needed.
pub struct Slot {
    options: Options,
    isolate: RwLock<Option<Isolate>>,
    /// Held by who starts an isolate, so that nobody else does.
    starting: Mutex<()>,
}

impl Slot {
    /// A slot without an isolate.
    pub fn new(options: Options) -> Arc<Self> {
        Arc::new(Self { options, isolate: RwLock::new(None), starting: Mutex::new(()) })
    }

    /// The isolate that takes events now, if there is one.
    fn current(&self) -> Option<Isolate> {
        let isolate = self.isolate.read().unwrap_or_else(PoisonError::into_inner);
        isolate.as_ref().filter(|isolate| !isolate.is_over()).cloned()
    }

    /// The isolate that takes events now, started if there is none.
    ///
    /// # Errors
    /// When the version cannot be started.
    pub async fn isolate(&self) -> Result<Isolate, StartError> {
        if let Some(isolate) = self.current() {
            return Ok(isolate);
        }
        let _starting = self.starting.lock().await;
        if let Some(isolate) = self.current() {
            return Ok(isolate);
        }
        let isolate = Isolate::start(self.options.clone()).await?;
        *self.isolate.write().unwrap_or_else(PoisonError::into_inner) = Some(isolate.clone());
        Ok(isolate)
    }

    /// Hands a request to the version's default fetch handler: at once, if there is an isolate.
    ///
    /// # Errors
    /// What the client gets instead of a response.
    pub fn fetch(self: Arc<Self>, request: Request) -> impl Future<Output = Result<Response, Failure>> + Send {
        // What is rare is boxed: this future is as small as it can be.
        let begun = match self.current() {
            Some(isolate) => Ok(isolate.fetch(request)),
            None => Err(Box::new(request)),
        };
        async move {
            let request = match begun {
                Ok(reply) => match reply.await {
                    Reply::Response(response) => return Ok(response),
                    Reply::Failure(failure) => return Err(failure),
                    Reply::NotStarted(request) => request,
                },
                Err(request) => request,
            };
            Box::pin(self.fetch_from_a_new_one(*request, None)).await
        }
    }

    /// As [`Self::fetch`], for any entrypoint.
    ///
    /// # Errors
    /// What the caller gets instead of a response.
    pub async fn fetch_at(&self, entrypoint: Entrypoint, request: Request) -> Result<Response, Failure> {
        self.fetch_from_a_new_one(request, Some(entrypoint)).await
    }

    /// Has an entrypoint of the version answer a session of calls. The future ends with the session.
    ///
    /// # Errors
    /// Why the session broke.
    pub async fn rpc(&self, entrypoint: Entrypoint, mut opening: Opening) -> Result<(), Failure> {
        for _ in 0..MOST_TRIES {
            let isolate = self.isolate().await.map_err(|error| {
                let trigger = Trigger::Rpc { method: opening.method.clone() };
                self.not_started(&error, trigger, Details::default())
            })?;
            match isolate.rpc(entrypoint.clone(), opening).await {
                Ending::Closed => return Ok(()),
                Ending::Failure(failure) => return Err(failure),
                Ending::NotStarted(back) => opening = *back,
            }
        }
        Err(never_started())
    }

    async fn fetch_from_a_new_one(
        &self,
        mut request: Request,
        entrypoint: Option<Entrypoint>,
    ) -> Result<Response, Failure> {
        for _ in 0..MOST_TRIES {
            let isolate = match self.isolate().await {
                Ok(isolate) => isolate,
                Err(error) => {
                    let trigger =
                        Trigger::Fetch { method: request.method().clone(), url: request.uri().clone(), status: None };
                    let cf = request.extensions().get::<RequestCf>().map(|cf| Arc::clone(&cf.0));
                    let headers = std::mem::take(request.headers_mut());
                    return Err(self.not_started(&error, trigger, Details::of_request(headers, cf)));
                }
            };
            let reply = match &entrypoint {
                Some(entrypoint) => isolate.fetch_at(entrypoint.clone(), request).await,
                None => isolate.fetch(request).await,
            };
            match reply {
                Reply::Response(response) => return Ok(response),
                Reply::Failure(failure) => return Err(failure),
                Reply::NotStarted(back) => request = *back,
            }
        }
        Err(never_started())
    }

    /// Hands a cron trigger to the version's scheduled handler. `scheduled_time` is in milliseconds since 1970.
    ///
    /// # Errors
    /// When the handler throws or a limit stops it.
    pub async fn scheduled(&self, cron: &str, scheduled_time: i64) -> Result<Finished, Failure> {
        let isolate = self.isolate().await.map_err(|error| {
            let trigger = Trigger::Scheduled { cron: cron.to_owned(), scheduled_time };
            self.not_started(&error, trigger, Details::default())
        })?;
        isolate.scheduled(cron, scheduled_time).await
    }

    /// What becomes of an event whose version cannot be started.
    fn not_started(&self, error: &StartError, trigger: Trigger, details: Details) -> Failure {
        let failure = error.failure();
        unanswered(&*self.options.observer, &self.options.version, EventId(0), trigger, details, &failure);
        failure
    }

    /// Waits until the isolate, if there is one, has finished its open events. An event that comes later starts another one.
    pub async fn close(&self) {
        let isolate = self.isolate.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(isolate) = isolate {
            isolate.close().await;
        }
    }

    /// Opens a session for a debugger, if the version was started with one in mind.
    pub async fn inspect(&self) -> Option<InspectorSession> {
        self.isolate().await.ok()?.inspect()
    }
}

fn never_started() -> Failure {
    Failure::unusable(
        "The Worker's isolates end before they can handle the request: look at the limits it exceeds in the log",
    )
}
