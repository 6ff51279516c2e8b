//! The supervisor, as a runtime sees it: who is asked for versions, gets what is for the platform itself, and is told what happened.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_link::wire::{self, Preview};
use skep_link::{CallError, Channel, Kind, Opening, Peer, ToSupervisor};
use skep_pool::{Asking, Found, Source, SourceError};
use skep_store::{FileHash, Opened};
use skep_worker::Secret;
use tokio::sync::oneshot;
use uuid::Uuid;

/// The supervisor.
pub(crate) struct Supervisor {
    doors: Arc<Doors>,
    calls: Peer,
    requests: Peer,
}

/// Connections that were asked for.
struct Doors {
    channel: Arc<Channel>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<UnixStream>>>,
}

impl Doors {
    fn open(self: &Arc<Self>, kind: Kind) -> Opening {
        let doors = Arc::clone(self);
        Box::pin(async move {
            let id = doors.next.fetch_add(1, Ordering::Relaxed);
            let (opened, opening) = oneshot::channel();
            doors.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, opened);
            let asked = doors.channel.send(&ToSupervisor::Open { id, kind }, None).await;
            let stream = match asked {
                Ok(()) => opening.await.map_err(|_| io::ErrorKind::BrokenPipe.into()),
                Err(error) => Err(error),
            };
            doors.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            let stream = stream?;
            stream.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(stream)
        })
    }
}

impl Supervisor {
    pub(crate) fn new(channel: Arc<Channel>) -> Arc<Self> {
        let doors = Arc::new(Doors { channel, next: AtomicU64::new(0), waiting: Mutex::default() });
        let peer = |kind| {
            let doors = Arc::clone(&doors);
            Peer::new(move || doors.open(kind))
        };
        let (calls, requests) = (peer(Kind::Calls), peer(Kind::Requests));
        Arc::new(Self { doors, calls, requests })
    }

    /// A connection is there that was asked for.
    pub(crate) fn opened(&self, id: u64, stream: UnixStream) {
        let waiting = self.doors.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(waiting) = waiting {
            // Who asked may have gone.
            drop(waiting.send(stream));
        }
    }

    /// Where requests go that are not for Workers here. Its connections live on the runtime that asks.
    pub(crate) fn requests(&self) -> &Peer {
        &self.requests
    }

    /// Asks the supervisor something.
    pub(crate) async fn call<A: DeserializeOwned>(
        &self,
        name: &str,
        question: &impl Serialize,
    ) -> Result<A, CallError> {
        self.calls.call(name, question).await
    }

    async fn ask<A: DeserializeOwned>(&self, name: &str, question: &impl Serialize) -> Result<A, SourceError> {
        self.call(name, question).await.map_err(|error| SourceError(error.to_string()))
    }
}

impl Source for Supervisor {
    fn version(&self, worker: Uuid, version: Uuid) -> Asking<'_, Option<Opened>> {
        Box::pin(async move {
            let opened: Option<wire::Opened> = self.ask("version", &(worker, version)).await?;
            let Some(wire::Opened { record, secrets }) = opened else { return Ok(None) };
            let record = serde_json::from_str(&record).map_err(|error| SourceError(error.to_string()))?;
            let secrets = secrets.into_iter().map(|(name, text)| (name, Secret::new(text))).collect();
            Ok(Some(Opened { record, secrets }))
        })
    }

    fn preview<'a>(&'a self, found: &'a Found) -> Asking<'a, Option<Uuid>> {
        Box::pin(async move {
            let preview = match found {
                Found::Worker(_) => return Ok(None),
                Found::Preview(worker, digits) => Preview::Prefix(worker.id, *digits),
                Found::Alias(worker, alias) => Preview::Alias(worker.id, alias.to_string()),
            };
            self.ask("preview", &preview).await
        })
    }

    fn asset(&self, hash: String, encoding: String) -> Asking<'_, Option<FileHash>> {
        Box::pin(async move { self.ask("asset", &(hash, encoding)).await })
    }
}
