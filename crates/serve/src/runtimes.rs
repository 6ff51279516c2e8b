//! The processes that run Workers: started, given connections, told what they must know, and replaced when they die.
//!
//! One process serves all Workers. A version whose code ran again and again when it died has a process of its own ([`suspects`]). This process
//! runs none of their code: it holds every client's connection, so that a death costs only the requests that were being handled.

mod clients;
mod feed;
mod figures;
mod process;
mod suspects;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use skep_gateway::Connections;
use skep_link::wire::{self, Place};
use skep_link::{CallError, Setup};
use skep_observe::{Level, Tails};
use skep_pool::{Directory, Worker};
use skep_store::{Actor, Change, Store};
use tokio::sync::watch;
use uuid::Uuid;

use crate::Tell;
use crate::delivery::Delivery;
use crate::runtimes::clients::Waiting;
use crate::runtimes::feed::Feed;
use crate::runtimes::figures::Figures;
use crate::runtimes::process::Ended;
use crate::runtimes::suspects::{MOST_OWN, Suspects, Verdict};

pub(crate) use clients::Clients;
pub(crate) use figures::Told;
pub(crate) use process::Runtime;

/// How long who needs a process waits for one that is being started.
const START: Duration = Duration::from_secs(15);
/// How long it is waited before a process is started again that did not even start, the first time and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// The processes.
pub(crate) struct Runtimes {
    setup: Setup,
    store: Store,
    tails: Tails,
    tell: Tell,
    feed: Arc<Feed>,
    /// Who answers what a process wants: set once, before the first one is started.
    doors: OnceLock<Doors>,
    clients: Clients,
    /// Who tells people: set before the first process is started.
    delivery: OnceLock<Arc<Delivery>>,
    next: AtomicU64,
    restarts: AtomicU64,
    figures: Mutex<Figures>,
    main: watch::Sender<Option<Arc<Runtime>>>,
    own: Mutex<HashMap<Uuid, watch::Receiver<Option<Arc<Runtime>>>>>,
    suspects: Mutex<Suspects>,
    stopping: watch::Sender<Option<Duration>>,
}

/// Where the connections go that a process asks for.
pub(crate) struct Doors {
    pub(crate) requests: Connections,
    pub(crate) calls: Connections,
}

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Every version.
    All,
    /// One version of a Worker.
    One(Uuid),
}

impl Runtimes {
    /// No process yet. `waiting` is for [`Self::run`].
    pub(crate) fn new(
        setup: Setup,
        store: Store,
        directory: Arc<Directory>,
        tails: Tails,
        tell: Tell,
    ) -> (Arc<Self>, Waiting) {
        let (clients, waiting) = Clients::new();
        let runtimes = Self {
            setup,
            store,
            tails: tails.clone(),
            tell,
            feed: Feed::new(directory, tails),
            doors: OnceLock::new(),
            clients,
            delivery: OnceLock::new(),
            next: AtomicU64::new(1),
            restarts: AtomicU64::new(0),
            figures: Mutex::default(),
            main: watch::Sender::new(None),
            own: Mutex::default(),
            suspects: Mutex::default(),
            stopping: watch::Sender::new(None),
        };
        (Arc::new(runtimes), waiting)
    }

    /// Has people told when a process dies.
    pub(crate) fn tell_people(&self, delivery: &Arc<Delivery>) {
        // There is one such call.
        drop(self.delivery.set(Arc::clone(delivery)));
    }

    /// Workers have changed: in the order of the commits.
    pub(crate) fn changed(&self, changes: &[Change]) {
        self.feed.changed(changes);
    }

    /// Waits until every process knows what has changed.
    pub(crate) async fn settled(&self) {
        self.feed.settled().await;
    }

    /// What becomes of requests of an account, or of one of its Workers, from now on. Nothing: they are served.
    pub(crate) fn limit(&self, account: &str, worker: Option<&str>, gate: Option<&wire::Gate>) {
        self.feed.limit(account, worker, gate);
    }

    /// Where clients' connections are held.
    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The process that serves all Workers; waited for, if it is being started.
    pub(crate) async fn current(&self) -> Option<Arc<Runtime>> {
        self.started(self.main.subscribe()).await
    }

    /// The process of a version that has one of its own.
    pub(crate) async fn own(self: &Arc<Self>, version: Uuid) -> Option<Arc<Runtime>> {
        if self.feed.placed(version) != Place::Own {
            return self.current().await;
        }
        let receiver = {
            let mut own = lock(&self.own);
            let runtimes = self;
            let receiver = own.entry(version).or_insert_with(|| {
                let (sender, receiver) = watch::channel(None);
                tokio::spawn(Arc::clone(runtimes).keep(Role::One(version), sender, None));
                receiver
            });
            receiver.clone()
        };
        self.started(receiver).await
    }

    /// Waits until there is a process.
    async fn started(&self, mut place: watch::Receiver<Option<Arc<Runtime>>>) -> Option<Arc<Runtime>> {
        if self.stopping.borrow().is_some() {
            return None;
        }
        let there = tokio::time::timeout(START, place.wait_for(Option::is_some)).await;
        there.ok()?.ok()?.clone()
    }

    /// Every process there is.
    fn all(&self) -> Vec<Arc<Runtime>> {
        let own = lock(&self.own);
        let own = own.values().filter_map(|receiver| receiver.borrow().clone());
        self.main.borrow().clone().into_iter().chain(own).collect()
    }

    /// Asks the process that serves all Workers something.
    ///
    /// # Errors
    /// When there is none, it dies meanwhile, or refuses.
    pub(crate) async fn ask<A: DeserializeOwned>(&self, name: &str, question: &impl Serialize) -> Result<A, CallError> {
        let none = || CallError::Gone("no process that runs Workers could be started".to_owned());
        self.current().await.ok_or_else(none)?.calls().call(name, question).await
    }

    /// Asks every process there is, all at once. Those that do not answer, or not soon, are left out.
    pub(crate) async fn ask_all<A: DeserializeOwned>(&self, name: &str, question: &impl Serialize) -> Vec<(u64, A)> {
        let all = self.all();
        let asked = all.iter().map(|runtime| async {
            let answer = runtime.calls().call(name, question).await;
            answer.ok().map(|answer| (runtime.id(), answer))
        });
        figures::in_time(asked).await
    }

    /// Runs a Worker's scheduled handler where the version of the largest share runs. Gives the handler's own error.
    ///
    /// # Errors
    /// When it did not run.
    pub(crate) async fn scheduled(
        self: &Arc<Self>,
        worker: &Worker,
        cron: &str,
        due: i64,
    ) -> Result<Result<(), String>, CallError> {
        self.largest(worker).await?.calls().call("scheduled", &(worker.id, cron, due)).await
    }

    /// Runs a Worker's tail handler in the same way: with events, a JSON list, and the names of the Workers `of` which they are.
    ///
    /// # Errors
    /// When it did not run.
    pub(crate) async fn tail(
        self: &Arc<Self>,
        worker: &Worker,
        events: &str,
        of: &[String],
    ) -> Result<Result<(), String>, CallError> {
        self.largest(worker).await?.calls().call("tail", &(worker.id, events, of)).await
    }

    /// The process in which the version of a Worker's largest share runs.
    async fn largest(self: &Arc<Self>, worker: &Worker) -> Result<Arc<Runtime>, CallError> {
        let largest = worker.deployment().iter().max_by(|one, other| one.percentage.total_cmp(&other.percentage));
        let runtime = match largest {
            Some(share) => self.own(share.version_id).await,
            None => self.current().await,
        };
        runtime.ok_or_else(|| CallError::Gone("no process that runs Workers could be started".to_owned()))
    }

    /// What all processes have and do. It is known within a second, also when one hangs.
    pub(crate) async fn usage(&self) -> Told {
        figures::all(&self.all(), &self.figures).await
    }

    /// How many processes died since the start.
    pub(crate) fn deaths(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Serves all Workers, until [`Self::stop`].
    pub(crate) async fn run(self: Arc<Self>, doors: Doors, waiting: Waiting) {
        // There is one such call.
        drop(self.doors.set(doors));
        let main = self.main.clone();
        self.keep(Role::All, main, Some(waiting)).await;
    }

    /// Has the processes finish what they handle, for as long as `grace` at most, and end.
    pub(crate) fn stop(&self, grace: Duration) {
        self.stopping.send_replace(Some(grace));
    }

    /// Keeps a process running, as long as it is wanted.
    async fn keep(
        self: Arc<Self>,
        role: Role,
        place: watch::Sender<Option<Arc<Runtime>>>,
        mut waiting: Option<Waiting>,
    ) {
        let mut pause = PAUSES.0;
        loop {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            lock(&self.figures).begin(id);
            let ended = process::run(&self, id, role, &place, waiting.as_mut()).await;
            place.send_replace(None);
            lock(&self.figures).end(id);
            self.feed.leave(id);
            match ended {
                Ok(Ended::Stopped) => break,
                Ok(Ended::Died(death)) => {
                    let ready = death.ready;
                    self.died(role, death).await;
                    pause = if ready { PAUSES.0 } else { pause };
                    if ready && self.is_wanted(role) {
                        continue;
                    }
                }
                Err(error) => {
                    // One that dies while it is started is found here too.
                    self.restarts.fetch_add(1, Ordering::Relaxed);
                    (self.tell)(&format!("A process for Workers could not be started: {error}"));
                }
            }
            if !self.is_wanted(role) {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        if let Role::One(version) = role {
            lock(&self.own).remove(&version);
        }
    }

    fn is_wanted(&self, role: Role) -> bool {
        let wanted = match role {
            Role::All => true,
            Role::One(version) => self.feed.placed(version) == Place::Own,
        };
        wanted && self.stopping.borrow().is_none()
    }

    /// Says what a death was, and decides what becomes of those who were there.
    async fn died(self: &Arc<Self>, role: Role, death: process::Death) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let verdicts: Vec<(Uuid, Verdict)> = match role {
            // Who kills it from outside is no Worker.
            _ if !death.by_itself => Vec::new(),
            Role::All => lock(&self.suspects).shared_died(&death.running, now),
            Role::One(version) => {
                lock(&self.suspects).own_died(version, now).map(|verdict| (version, verdict)).into_iter().collect()
            }
        };
        // The next process must not run them; what is written down can wait.
        let verdicts: Vec<(Uuid, String)> =
            verdicts.into_iter().map(|(version, verdict)| (version, self.carry_out(version, verdict))).collect();
        let runtimes = Arc::clone(self);
        tokio::spawn(async move { runtimes.report(&death, &verdicts).await });
    }

    /// Puts a version where it is to run. Gives that in words.
    fn carry_out(self: &Arc<Self>, version: Uuid, verdict: Verdict) -> String {
        let full = lock(&self.own).len() >= MOST_OWN && !lock(&self.own).contains_key(&version);
        let ban = match verdict {
            Verdict::Nowhere(ban) => Some(ban),
            Verdict::Own if full => Some(lock(&self.suspects).still(version, Instant::now())),
            Verdict::Own => None,
        };
        let (place, text, until) = match ban {
            Some(ban) => {
                let reason = format!(
                    "This version has ended the process that it runs in again and again: it is stopped for {} s. Deploy another version",
                    ban.as_secs()
                );
                (Place::Nowhere { reason: reason.clone() }, reason, ban)
            }
            None => {
                let still = lock(&self.suspects).still(version, Instant::now());
                (Place::Own, "It runs in a process of its own from now on".to_owned(), still)
            }
        };
        self.feed.place(version, &place);
        tokio::spawn(Arc::clone(self).come_back(version, place, until));
        text
    }

    /// After a while a version runs where it ran before: one that was nowhere in a process of its own, one from there with all others.
    async fn come_back(self: Arc<Self>, version: Uuid, place: Place, mut after: Duration) {
        loop {
            tokio::time::sleep(after).await;
            if self.feed.placed(version) != place {
                return;
            }
            if place != Place::Own {
                break;
            }
            // Another death may have come.
            after = lock(&self.suspects).still(version, Instant::now());
            if after.is_zero() {
                break;
            }
        }
        let next = if place == Place::Own { Place::Here } else { Place::Own };
        self.feed.place(version, &next);
        if next == Place::Own {
            let still = lock(&self.suspects).still(version, Instant::now()).max(Duration::from_secs(60));
            Box::pin(self.come_back(version, next, still)).await;
        } else {
            let process = lock(&self.own).get(&version).and_then(|receiver| receiver.borrow().clone());
            if let Some(process) = process {
                process.stop(Duration::from_secs(30)).await;
            }
        }
    }

    /// Writes down what is known of a death.
    async fn report(&self, death: &process::Death, verdicts: &[(Uuid, String)]) {
        (self.tell)(&death.to_string());
        if let Some(delivery) = self.delivery.get() {
            delivery.alert(death.alert()).await;
        }
        for version in &death.running {
            let verdict = verdicts.iter().find(|(other, _)| other == version).map(|(_, text)| text.as_str());
            let (account, worker) = match self.store.worker_of_version(*version).await {
                Ok(Some((account, _, worker))) => (account, worker),
                Ok(None) => {
                    (self.tell)(&format!("  An upload that was being tried ran: version {version}"));
                    continue;
                }
                Err(error) => {
                    (self.tell)(&format!("  Version {version} ran; whose it is cannot be read: {error}"));
                    continue;
                }
            };
            let more = verdict.map(|verdict| format!(". {verdict}")).unwrap_or_default();
            (self.tell)(&format!("  Code of the Worker {worker} of account {account} ran, version {version}{more}"));
            let message = format!("The process that runs {worker} ended while its code ran ({}){more}", death.cause);
            self.tails.say(&account, &worker, Level::Error, &message);
            let detail = json!({ "version_id": version, "cause": death.cause, "consequence": verdict });
            let noted =
                self.store.note(&Actor::platform(account.as_str(), "runtime"), "runtime.died", &worker, &detail).await;
            if let Err(error) = noted {
                (self.tell)(&format!("The audit log cannot be written: {error}"));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
