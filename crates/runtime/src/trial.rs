//! Starting an upload once, in an isolate that is thrown away.

use std::sync::Arc;

use serde_bytes::ByteBuf;
use skep_isolate::{Code, Isolate, MemoryCache, Options, Witness};
use skep_link::wire::Started;
use skep_outbound::Client;
use skep_worker::Version;
use tokio::sync::Semaphore;

/// Trials at once: each is a thread with a heap.
const AT_ONCE: usize = 2;

pub(crate) struct Trials {
    outbound: Client,
    witness: Arc<dyn Witness>,
    room: Semaphore,
}

impl Trials {
    pub(crate) fn new(outbound: Client, witness: Arc<dyn Witness>) -> Self {
        Self { outbound, witness, room: Semaphore::new(AT_ONCE) }
    }

    /// Starts a version, and gives what it is. Fails with what the author is to read.
    pub(crate) async fn start(&self, version: Version) -> Result<Started, String> {
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
            witness: Arc::clone(&self.witness),
        };
        let isolate = Isolate::start(options).await.map_err(|error| {
            let failure = error.failure();
            let head = format!("{}: {}", failure.name, failure.message);
            let stack = if failure.stack.is_empty() { &head } else { &failure.stack };
            format!("Uncaught {}", stack.trim_end())
        })?;
        Ok(Started {
            handlers: isolate.handlers().iter().map(|event| event.handler().to_owned()).collect(),
            code: isolate.code().iter().map(|(name, code)| (name.clone(), ByteBuf::from(code.to_vec()))).collect(),
            startup_time_ms: u64::try_from(isolate.startup_cpu().as_millis()).unwrap_or(u64::MAX),
        })
    }
}
