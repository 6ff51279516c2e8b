//! What those who run Workers are told, each of them in the same order: first everything there is, then what changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skep_link::wire::{Gate, Notice, Place};
use skep_link::{CallError, Peer};
use skep_observe::Tails;
use skep_pool::Directory;
use skep_store::Change;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::canary;

/// Workers in one notice.
const TOGETHER: usize = 1000;
/// Notices in one call.
const MOST: usize = 256;
/// Notices that may wait for a process. One that is further behind is stuck.
const MOST_WAITING: usize = 100_000;
/// How long a process may take to hear a notice. One that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known, and who is told.
pub(crate) struct Feed {
    directory: Arc<Directory>,
    tails: Tails,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    queues: HashMap<u64, Queue>,
    places: HashMap<Uuid, Place>,
    /// By account, and by Worker where it is one's own.
    gates: HashMap<(String, Option<String>), Gate>,
}

struct Queue {
    items: mpsc::Sender<Item>,
    /// The version that the process is for.
    own: Option<Uuid>,
}

enum Item {
    Notice(Notice),
    Barrier(oneshot::Sender<()>),
}

/// What one process is to be told.
pub(crate) struct Notices {
    /// Workers that were there when it joined.
    workers: std::vec::IntoIter<Uuid>,
    directory: Arc<Directory>,
    items: mpsc::Receiver<Item>,
}

impl Feed {
    pub(crate) fn new(directory: Arc<Directory>, tails: Tails) -> Arc<Self> {
        let feed = Arc::new(Self { directory, tails: tails.clone(), told: Mutex::default() });
        let watched = Arc::downgrade(&feed);
        tails.on_watched(move |account, worker, on| {
            if let Some(feed) = watched.upgrade() {
                let (account, worker) = (account.to_owned(), worker.to_owned());
                feed.told().tell(&Notice::Watched { account, worker, on });
            }
        });
        feed
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Workers have changed: in the order of the commits.
    pub(crate) fn changed(&self, changes: &[Change]) {
        let mut told = self.told();
        self.directory.apply(changes);
        told.tell(&Notice::Changes(changes.to_vec()));
    }

    /// A version runs elsewhere from now on.
    pub(crate) fn place(&self, version: Uuid, place: &Place) {
        let mut told = self.told();
        match place {
            Place::Here => drop(told.places.remove(&version)),
            place => drop(told.places.insert(version, place.clone())),
        }
        told.tell(&Notice::Runs { version, place: place.clone() });
    }

    /// What becomes of requests of an account, or of one of its Workers, from now on. Nothing: they are served.
    pub(crate) fn limit(&self, account: &str, worker: Option<&str>, gate: Option<&Gate>) {
        let mut told = self.told();
        let key = (account.to_owned(), worker.map(str::to_owned));
        match gate {
            Some(gate) => drop(told.gates.insert(key.clone(), gate.clone())),
            None => drop(told.gates.remove(&key)),
        }
        told.tell(&Notice::Limited { account: key.0, worker: key.1, gate: gate.cloned() });
    }

    /// Where a version runs.
    pub(crate) fn placed(&self, version: Uuid) -> Place {
        self.told().places.get(&version).cloned().unwrap_or(Place::Here)
    }

    /// Everything there is for a process, and all that comes until it leaves.
    pub(crate) fn join(&self, process: u64, own: Option<Uuid>) -> Notices {
        let (items, notices) = mpsc::channel(MOST_WAITING);
        let mut told = self.told();
        let queue = Queue { items, own };
        let workers = self.directory.ids().into_iter();
        let watched = self.tails.watched().into_iter();
        let watched = watched.map(|(account, worker)| Notice::Watched { account, worker, on: true });
        let places = told.places.iter();
        let places = places.map(|(version, place)| Notice::Runs { version: *version, place: place.clone() });
        let gates = told.gates.iter().map(|((account, worker), gate)| Notice::Limited {
            account: account.clone(),
            worker: worker.clone(),
            gate: Some(gate.clone()),
        });
        // There is room: nothing else is in the queue.
        let own_worker = std::iter::once(Notice::Changes(vec![canary::change()]));
        for notice in own_worker.chain(watched).chain(places).chain(gates) {
            queue.tell(&notice);
        }
        told.queues.insert(process, queue);
        Notices { workers, directory: Arc::clone(&self.directory), items: notices }
    }

    /// A process is gone.
    pub(crate) fn leave(&self, process: u64) {
        self.told().queues.remove(&process);
    }

    /// Waits until every process knows what has been told so far, or is gone.
    pub(crate) async fn settled(&self) {
        let barrier = |queue: &Queue| {
            let (heard, hearing) = oneshot::channel();
            queue.items.try_send(Item::Barrier(heard)).ok().map(|()| hearing)
        };
        let waiting: Vec<_> = self.told().queues.values().filter_map(barrier).collect();
        for hearing in waiting {
            // Who is gone hears everything when it is back.
            drop(hearing.await);
        }
    }
}

impl Told {
    /// Who has no room for it loses the queue, and is ended for that: the next process is told everything.
    fn tell(&mut self, notice: &Notice) {
        self.queues.retain(|_, queue| queue.tell(notice));
    }
}

impl Queue {
    /// Gives whether there was room.
    fn tell(&self, notice: &Notice) -> bool {
        let own = matches!(notice, Notice::Runs { version, .. } if self.own == Some(*version));
        own || self.items.try_send(Item::Notice(notice.clone())).is_ok()
    }
}

/// Tells a process something. Gives whether it has heard.
async fn tell(to: &Peer, notices: &Vec<Notice>) -> bool {
    let told = tokio::time::timeout(PATIENCE, to.call::<()>("notices", notices)).await;
    matches!(told, Ok(Ok(()) | Err(CallError::Refused(_))))
}

impl Notices {
    /// Tells a process everything, for ever. Calls `joined` when it knows all there was when it joined. Ends when the process is gone, or does
    /// not hear.
    pub(crate) async fn deliver(mut self, to: &Peer, joined: oneshot::Sender<()>) {
        // As they are now: what has changed since the process joined comes once more below.
        loop {
            let live = |id| self.directory.live(id).map(|worker| Change::Worker(Box::new(worker)));
            let some: Vec<Change> = self.workers.by_ref().take(TOGETHER).filter_map(live).collect();
            if some.is_empty() && self.workers.len() == 0 {
                break;
            }
            if !tell(to, &vec![Notice::Changes(some)]).await {
                return;
            }
        }
        let mut joined = Some(joined);
        let mut items = Vec::new();
        let mut notices = Vec::new();
        loop {
            if joined.is_some() && self.items.is_empty() {
                // Who waits for it may be gone.
                let _ = joined.take().map(|joined| joined.send(()));
            }
            if self.items.recv_many(&mut items, MOST).await == 0 {
                return;
            }
            let mut heard = Vec::new();
            for item in items.drain(..) {
                match item {
                    Item::Notice(notice) => notices.push(notice),
                    Item::Barrier(barrier) => heard.push(barrier),
                }
            }
            if !notices.is_empty() {
                if !tell(to, &notices).await {
                    return;
                }
                notices.clear();
            }
            for heard in heard {
                let _ = heard.send(());
            }
        }
    }
}
