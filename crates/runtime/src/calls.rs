//! What the supervisor wants of this process.

use std::sync::Arc;

use http::StatusCode;
use skep_exchange::{Body, Request, Response};
use skep_gateway::{Answering, Handler};
use skep_link::answer;
use skep_link::wire::{self, Notice};
use skep_pool::{Gate, Place, Pool};
use uuid::Uuid;

use crate::eyes::Eyes;
use crate::machine;
use crate::trial::Trials;

/// Answers the supervisor.
pub(crate) struct Calls {
    pool: Arc<Pool>,
    eyes: Arc<Eyes>,
    trials: Trials,
}

/// The same for each thread of the gateway.
pub(crate) struct Shared(pub(crate) Arc<Calls>);

impl Handler for Shared {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        let calls = Arc::clone(&self.0);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            calls.answer(parts.uri.path().trim_start_matches('/'), body).await
        })
    }
}

impl Calls {
    pub(crate) fn new(pool: Arc<Pool>, eyes: Arc<Eyes>, trials: Trials) -> Self {
        Self { pool, eyes, trials }
    }

    async fn answer(&self, name: &str, body: Body) -> Response {
        match name {
            "notices" => {
                let hear = async |notices| {
                    self.hear(notices);
                    Ok(())
                };
                answer(body, hear).await
            }
            "trial" => answer(body, async |version| self.trial(version).await).await,
            "prepare" => {
                let prepare = async |(worker, version)| {
                    self.pool.prepare(worker, version).await;
                    Ok(())
                };
                answer(body, prepare).await
            }
            "scheduled" => answer(body, async |(worker, cron, due)| self.scheduled(worker, cron, due).await).await,
            "tail" => answer(body, async |(worker, events, of)| self.tail(worker, events, of).await).await,
            "counts" => {
                let read = |versions: Vec<Uuid>| versions.into_iter().map(|version| self.eyes.read(version)).collect();
                answer(body, async |versions| Ok::<Vec<wire::Counts>, _>(read(versions))).await
            }
            "usage" => answer(body, async |()| Ok(self.usage())).await,
            _ => {
                let mut response = Response::new(Body::full("there is no such call"));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }

    fn hear(&self, notices: Vec<Notice>) {
        for notice in notices {
            match notice {
                Notice::Changes(changes) => {
                    self.pool.directory().apply(&changes);
                    self.eyes.changed(&changes);
                }
                Notice::Watched { account, worker, on } => self.eyes.watch(&account, &worker, on),
                Notice::Limited { account, worker, gate } => {
                    let gate = gate.map(|wire::Gate { per_second, reason, until }| Gate { per_second, reason, until });
                    self.pool.gates().set(&account, worker.as_deref(), gate);
                }
                Notice::Runs { version, place } => {
                    let place = match place {
                        wire::Place::Here => Place::Here,
                        wire::Place::Own => Place::Own,
                        wire::Place::Nowhere { reason } => Place::Nowhere(reason.into()),
                    };
                    self.pool.place(version, place);
                }
            }
        }
    }

    async fn trial(&self, version: wire::Version) -> Result<Result<wire::Started, String>, String> {
        let version = version.try_into().map_err(|error: skep_worker::CompatibilityError| error.to_string())?;
        Ok(self.trials.start(version).await)
    }

    /// Runs a handler. What goes wrong in it is a part of the answer.
    async fn scheduled(&self, worker: Uuid, cron: String, due: i64) -> Result<Result<(), String>, String> {
        let Some(worker) = self.pool.directory().worker(worker) else { return Err("the Worker is gone".to_owned()) };
        Ok(self.pool.scheduled(&worker, &cron, due).await)
    }

    /// The same for a tail handler.
    async fn tail(&self, worker: Uuid, events: String, of: Vec<String>) -> Result<Result<(), String>, String> {
        let Some(worker) = self.pool.directory().worker(worker) else { return Err("the Worker is gone".to_owned()) };
        Ok(self.pool.tail(&worker, &events, &of).await)
    }

    fn usage(&self) -> wire::Usage {
        let usage = self.pool.usage();
        wire::Usage {
            versions: usage.versions,
            isolates: usage.isolates,
            spares: usage.spares,
            waiting: usage.waiting,
            busy: usage.busy,
            queued: usage.line.events,
            queue_delay: usage.line.waited,
            cold_starts: usage.starts.cold,
            cold_start_time: usage.starts.cold_time,
            more_isolates: usage.starts.more,
            memory: machine::memory(),
        }
    }
}
