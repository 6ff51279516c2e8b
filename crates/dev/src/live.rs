//! Which version takes requests now.

use std::sync::Arc;

use tokio::sync::watch;

use crate::page::Problem;
use crate::served::Served;

/// What the development server serves.
#[derive(Clone)]
pub(crate) enum Live {
    /// A build is running: requests wait for it.
    Building,
    /// What the last build gave takes requests.
    Ready(Arc<Served>),
    /// The project cannot be built or started. What was there before, if anything was, still takes requests.
    Broken { problem: Arc<Problem>, previous: Option<Arc<Served>> },
}

/// The writing end: who builds.
pub(crate) struct LiveSender {
    sender: watch::Sender<Live>,
    last: Option<Arc<Served>>,
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

    /// What a build gave is live. A version before it finishes what it is handling.
    pub(crate) fn ready(&mut self, served: Served) {
        let served = Arc::new(served);
        self.last = Some(Arc::clone(&served));
        self.sender.send_replace(Live::Ready(served));
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
