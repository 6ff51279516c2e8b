//! What those who run Workers want of this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use skep_exchange::{Body, Request, Response};
use skep_gateway::{Answering, Handler};
use skep_link::answer;
use skep_link::wire::{Opened, Seen};
use skep_meter::Counted;
use skep_observe::Tails;
use skep_pool::Source as _;
use uuid::Uuid;

use crate::canary::Canary;
use crate::metering::Metering;
use crate::series::Series;
use crate::source::Stored;

/// Answers them.
pub(crate) struct Calls {
    pub(crate) source: Arc<Stored>,
    pub(crate) canary: Arc<Canary>,
    pub(crate) tails: Tails,
    pub(crate) metering: Arc<Metering>,
    pub(crate) series: Arc<Series>,
    /// Events that somebody watched and that found no room in their process.
    pub(crate) missed: Arc<AtomicU64>,
}

/// The same, for many connections.
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
    async fn answer(&self, name: &str, body: Body) -> Response {
        match name {
            "version" => answer(body, async |(worker, version)| self.version(worker, version).await).await,
            "preview" => answer(body, async |preview| self.source.previewed(preview).await).await,
            "asset" => {
                let found =
                    async |(hash, encoding)| self.source.asset(hash, encoding).await.map_err(|error| error.to_string());
                answer(body, found).await
            }
            "events" => {
                let see = async |events| {
                    self.see(events);
                    Ok(())
                };
                answer(body, see).await
            }
            "metered" => answer(body, async |counted| self.counted(counted).await).await,
            "doing" => {
                let see = async |counted| {
                    self.series.take(&counted);
                    Ok(())
                };
                answer(body, see).await
            }
            _ => {
                let mut response = Response::new(Body::full("there is no such call"));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }

    async fn version(&self, worker: Uuid, version: Uuid) -> Result<Option<Opened>, String> {
        match self.canary.version(worker, version).await {
            Some(opened) => opened.map(Some),
            None => self.source.opened(worker, version).await,
        }
    }

    /// Takes what was counted. How Workers do is seen also while nothing can be written down.
    async fn counted(&self, counted: Counted) -> Result<(), String> {
        self.series.take(&counted);
        self.metering.take(counted.batch, Duration::from_millis(counted.age_ms)).await
    }

    fn see(&self, events: Vec<Seen>) {
        for Seen { account, source, record, missed, missed_failures } in events {
            let channel = self.tails.channel(&account, &source.worker);
            self.missed.fetch_add(missed, Ordering::Relaxed);
            channel.missed(missed, missed_failures);
            channel.send(&source, record);
        }
    }
}
