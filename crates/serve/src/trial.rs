//! Starting an upload once, in an isolate that is thrown away, and again before it is deployed, where its requests will go.

use std::sync::Arc;

use skep_control::{Preparation, Started, Trial, TrialFailure, Trials};
use skep_isolate::{Code, Isolate, MemoryCache, Options};
use skep_outbound::Client;
use skep_pool::Pool;
use skep_worker::Version;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Trials at once: each is a thread with a heap.
const AT_ONCE: usize = 2;

pub(crate) struct ThrowAway {
    outbound: Client,
    pool: Arc<Pool>,
    room: Semaphore,
}

impl ThrowAway {
    pub(crate) fn new(outbound: Client, pool: Arc<Pool>) -> Self {
        Self { outbound, pool, room: Semaphore::new(AT_ONCE) }
    }
}

impl Trials for ThrowAway {
    fn start(&self, version: Version) -> Trial<'_> {
        Box::pin(async move {
            let _permit = self.room.acquire().await;
            let options = Options {
                version: Arc::new(version),
                outbound: self.outbound.clone(),
                cache: Arc::new(MemoryCache::new(0)),
                observer: Arc::new(skep_observe::Unobserved),
                services: Arc::new(skep_isolate::NoServices),
                colors: false,
                inspector: false,
                code: Code::Keep,
            };
            let isolate = Isolate::start(options).await.map_err(|error| {
                let failure = error.failure();
                let head = format!("{}: {}", failure.name, failure.message);
                let stack = if failure.stack.is_empty() { &head } else { &failure.stack };
                TrialFailure(format!("Uncaught {}", stack.trim_end()))
            })?;
            Ok(Started {
                handlers: isolate.handlers().iter().map(|event| event.handler().to_owned()).collect(),
                code: isolate.code().iter().map(|(name, code)| (name.clone(), code.clone())).collect(),
                startup_time_ms: u64::try_from(isolate.startup_cpu().as_millis()).unwrap_or(u64::MAX),
            })
        })
    }

    fn prepare(&self, worker: Uuid, version: Uuid) -> Preparation<'_> {
        Box::pin(self.pool.prepare(worker, version))
    }
}
