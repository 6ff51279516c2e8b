//! Which version takes requests now.

use std::sync::Arc;

use skep_isolate::Slot;
use tokio::sync::watch;

use crate::page::Problem;

/// What the development server serves.
#[derive(Clone)]
pub(crate) enum Live {
    /// A build is running: requests wait for it.
    Building,
    /// A version takes requests.
    Ready(Arc<Slot>),
    /// The project cannot be built or started. The version before it, if there was one, still takes requests.
    Broken { problem: Arc<Problem>, previous: Option<Arc<Slot>> },
}

/// The writing end: who builds.
pub(crate) struct LiveSender {
    sender: watch::Sender<Live>,
    last: Option<Arc<Slot>>,
}

impl LiveSender {
    pub(crate) fn new() -> (Self, watch::Receiver<Live>) {
        let (sender, receiver) = watch::channel(Live::Building);
        (Self { sender, last: None }, receiver)
    }

    /// A build begins.
    pub(crate) fn building(&self) {
        self.sender.send_replace(Live::Building);
    }

    /// A version is live. The one before it finishes what it is handling.
    pub(crate) fn ready(&mut self, slot: Arc<Slot>) {
        self.last = Some(Arc::clone(&slot));
        self.sender.send_replace(Live::Ready(slot));
    }

    /// Nothing new came of a build: what was live stays.
    pub(crate) fn broken(&self, problem: Problem) {
        self.sender.send_replace(Live::Broken { problem: Arc::new(problem), previous: self.last.clone() });
    }
}

/// Waits while a build runs.
pub(crate) async fn settled(live: &mut watch::Receiver<Live>) -> Live {
    match live.wait_for(|live| !matches!(live, Live::Building)).await {
        Ok(live) => live.clone(),
        // The builder is gone: the server is stopping.
        Err(_) => Live::Building,
    }
}
