//! One version of a Worker inside one V8 isolate on one thread of its own: events in, responses out, limits held.
//!
//! **Boundary:** no V8 or deno_core type crosses this crate's public API. [`Isolate::start`] loads a version and gives a
//! handle that any thread may use; what goes wrong comes back as a [`Failure`] or a [`StartError`]. When a limit stops an
//! isolate it is over for good ([`Isolate::is_over`]): whoever holds it starts another one ([`Slot`] does).

mod blank;
mod creep;
mod entry;
mod environment;
mod helpers;
mod inspector;
mod life;
mod limits;
mod line;
mod loader;
mod loopback;
mod meter;
mod queue;
mod rates;
mod runtime;
mod slot;
mod spare;
mod thread;
mod watchdog;
mod witness;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use skep_exchange::rpc::{Ending, Opening};
use skep_exchange::{Failure, Reply, Request, wake};
use skep_observe::{Details, EventRecord, Exception, Gather, Observer, Source, Trigger};
use skep_web::EventId;
use skep_worker::{Event, LimitExceeded, Version};
use tokio::sync::{mpsc, oneshot};

use crate::inspector::Inspector;
use crate::life::Life;
use crate::limits::Guard;
use crate::line::Line;
use crate::queue::{Load, Queue};
use crate::runtime::RunEvent;
use crate::thread::Command;

pub use inspector::{InspectorMessage, InspectorSession};
pub use rates::Rates;
pub use skep_web::events::Finished;
pub use skep_web::services::{
    Entrypoint, NoServices, RateLimit, ServiceFuture, ServiceTarget, Services, ended, no_such_worker,
};
pub use skep_web::{CacheStore, MemoryCache};
pub use slot::{Permit, Slot, Start, Supply, Taking, Usage};
pub use spare::Spare;
pub use thread::StartError;
pub use witness::{Mark, NoWitness, Witness};

/// Events that may wait for an isolate's thread. Who sends more waits.
const MOST_WAITING: usize = 1024;

/// Prepares V8. Must be called on the main thread, before the process has any other thread (memory protection keys are
/// inherited from it).
pub fn initialize() {
    small_pages();
    // A Worker's garbage is collected on its own thread, which pays for it, and not on threads that all of them share.
    let refused = deno_core::v8_set_flags(
        ["", "--single-threaded-gc", "--no-memory-pool-share-memory-on-teardown"].map(str::to_owned).to_vec(),
    );
    assert_eq!(refused.len(), 1, "V8 knows its flags: {refused:?}");
    // V8's own threads, which still compile, inherit how this one is scheduled.
    watchdog::give_way();
    deno_core::JsRuntime::init_platform(None);
    watchdog::take_turns();
}

/// Has the kernel give this process memory in small pages. Each isolate's thread uses a little of many places: in huge pages that would
/// cost each of them some mebibytes, and its start the time to clear them. A refusal changes nothing else.
/// <https://man7.org/linux/man-pages/man2/PR_SET_THP_DISABLE.2const.html>
fn small_pages() {
    // SAFETY: a plain system call.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

/// For a thread that starts isolates, or does other work that is no request's: those that serve requests go before it.
pub fn let_requests_go_first() {
    watchdog::let_requests_go_first();
}

/// Whether this process may raise a thread's priority again that it has lowered: as root, or with `RLIMIT_NICE`. Without that, threads whose
/// turns take long have a longer slice and no lower priority.
pub fn may_raise_priority() -> bool {
    watchdog::may_raise_priority()
}

/// Gives memory back to the operating system that is free. Threads of isolates that have ended leave much of it behind, in pieces, in both
/// allocators: Rust's and that of V8's C++. Takes milliseconds.
pub fn release_memory() {
    // SAFETY: both may be called at any time, from any thread.
    unsafe {
        libmimalloc_sys::mi_collect(true);
        libc::malloc_trim(0);
    }
}

/// What becomes of V8's compiled code.
#[derive(Clone, Debug, Default)]
pub enum Code {
    /// Modules are compiled, and that is all.
    #[default]
    Compile,
    /// What compiling them gave is kept for [`Isolate::code`].
    Keep,
    /// What an isolate kept before, by the names of modules. What V8 does not take, because it is of another V8, is compiled
    /// and kept anew.
    Use(Arc<HashMap<String, Bytes>>),
}

/// What an isolate is started with.
#[derive(Clone)]
pub struct Options {
    /// The version to load.
    pub version: Arc<Version>,
    /// The client behind `fetch()` and `WebSocket`.
    pub outbound: skep_outbound::Client,
    /// The store behind `caches`.
    pub cache: Arc<dyn CacheStore>,
    /// Who sees logs and events.
    pub observer: Arc<dyn Observer>,
    /// Who serves bindings to other Workers, assets and rate limits. [`NoServices`] if nobody does.
    pub services: Arc<dyn Services>,
    /// Whether console lines are coloured, for a terminal.
    pub colors: bool,
    /// Whether a debugger may attach.
    pub inspector: bool,
    /// What becomes of the compiled code.
    pub code: Code,
    /// Told when the version's code runs.
    pub witness: Arc<dyn Witness>,
}

/// A handle to one isolate. Cheap to clone; the isolate ends, after its open events, when the last handle is dropped.
#[derive(Clone)]
pub struct Isolate(Arc<Handle>);

struct Handle {
    commands: mpsc::Sender<Command>,
    queue: Arc<Queue>,
    guard: Arc<Guard>,
    life: Arc<Life>,
    next_event: AtomicU32,
    handlers: Vec<Event>,
    inspector: Option<Inspector>,
    startup_cpu: Duration,
    code: HashMap<String, Bytes>,
    observer: Arc<dyn Observer>,
    version: Arc<Version>,
}

impl Isolate {
    /// Starts an isolate on a thread of its own and loads a version into it.
    ///
    /// # Errors
    /// When the version's code throws, exceeds a limit, or there is no room for a thread.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Spare::start_for(&options, None)?.claim(options).await
    }

    /// The kinds of events that the version has handlers for.
    pub fn handlers(&self) -> &[Event] {
        &self.0.handlers
    }

    /// CPU time that loading the version's modules took.
    pub fn startup_cpu(&self) -> Duration {
        self.0.startup_cpu
    }

    /// V8's code cache of each module that was compiled, where [`Options::code`] asks for it.
    pub fn code(&self) -> &HashMap<String, Bytes> {
        &self.0.code
    }

    /// Gives this handle up and waits until the isolate has ended: when every other handle is given up too, and its open
    /// events are over, those included that only `waitUntil()` keeps open.
    pub async fn close(self) {
        let life = Arc::clone(&self.0.life);
        drop(self);
        life.ended().await;
    }

    /// Whether the isolate has ended: a limit stopped it.
    pub fn is_over(&self) -> bool {
        self.0.life.is_over()
    }

    pub(crate) fn load(&self) -> &Load {
        &self.0.queue.load
    }

    pub(crate) fn line(&self) -> Option<&Arc<Line>> {
        self.0.queue.line.as_ref()
    }

    /// Whether its thread has nothing to do and nothing to come.
    pub(crate) fn is_free(&self) -> bool {
        self.0.queue.is_free() && self.load().in_round(queue::now()).is_none()
    }

    /// How long an event would wait. Nothing if nobody knows, or if it is too many already.
    pub(crate) fn expected_wait(&self) -> Option<Duration> {
        let room = self.0.commands.capacity();
        if room == 0 { None } else { queue::expected_wait(self.load(), MOST_WAITING - room) }
    }

    /// Bytes that its JavaScript holds, as far as V8 has counted: the heap after the last full collection, and buffers.
    pub fn memory(&self) -> usize {
        self.0.guard.memory_in_use()
    }

    /// Hands a request to the fetch handler of the default export, at once if there is room. Dropping the future tells the
    /// handler that the client went away.
    pub fn fetch(&self, request: Request) -> impl Future<Output = Reply> + Send + use<> {
        self.fetch_from(None, Box::new(request))
    }

    /// As [`Self::fetch`], for any entrypoint.
    pub fn fetch_at(&self, entrypoint: Entrypoint, request: Request) -> impl Future<Output = Reply> + Send + use<> {
        self.fetch_from(Some(Box::new(entrypoint)), Box::new(request))
    }

    pub(crate) fn fetch_from(
        &self,
        entrypoint: Option<Box<Entrypoint>>,
        request: Box<Request>,
    ) -> impl Future<Output = Reply> + Send + use<> {
        let event = self.next_event();
        let (method, url) = (request.method().clone(), request.uri().clone());
        let (waiter, reply) = oneshot::channel();
        let command = Command::Fetch { event, request, entrypoint, waiter };
        // What is rare is boxed: this future is as small as it can be.
        let unsent = self.0.commands.try_send(command).err().map(Box::new);
        wake::flush_if_due();
        let isolate = self.clone();
        async move {
            if let Some(unsent) = unsent
                && let Err(request) = Box::pin(isolate.send_when_there_is_room(*unsent)).await
            {
                return Reply::NotStarted(request);
            }
            let mut waiting = CancelOnDrop { isolate, event: Some(event) };
            let reply = tokio::select! {
                biased;
                reply = wake::crossing(reply) => reply,
                exceeded = waiting.isolate.0.life.lost() => {
                    let trigger = Trigger::Fetch { method, url, status: None };
                    Ok(Reply::Failure(waiting.isolate.lost(event, trigger, exceeded)))
                }
            };
            waiting.event = None;
            reply
                .unwrap_or_else(|_| Reply::Failure(Failure::unusable("the isolate ended while it handled the request")))
        }
    }

    /// Gives the request back if the isolate is over.
    async fn send_when_there_is_room(&self, unsent: mpsc::error::TrySendError<Command>) -> Result<(), Box<Request>> {
        let unsent = match unsent {
            mpsc::error::TrySendError::Full(command) => match self.0.commands.send(command).await {
                Ok(()) => return Ok(()),
                Err(mpsc::error::SendError(command)) => command,
            },
            mpsc::error::TrySendError::Closed(command) => command,
        };
        match unsent {
            Command::Fetch { request, .. } => Err(request),
            Command::Rpc { .. } | Command::Run { .. } | Command::Cancel(_) => Ok(()),
        }
    }

    /// Has an entrypoint answer a session of calls, which is one event of this isolate. The future ends with the session;
    /// it need not be polled for the calls to be answered.
    pub fn rpc(&self, entrypoint: Entrypoint, opening: Opening) -> impl Future<Output = Ending> + Send + use<> {
        let event = self.next_event();
        let method = opening.method.clone();
        let (waiter, ending) = oneshot::channel();
        let command = Command::Rpc { event, opening: Box::new(opening), entrypoint: Box::new(entrypoint), waiter };
        let unsent = self.0.commands.try_send(command).err().map(Box::new);
        wake::flush_if_due();
        let isolate = self.clone();
        async move {
            let unsent = match unsent.map(|unsent| *unsent) {
                Some(mpsc::error::TrySendError::Full(command)) => {
                    isolate.0.commands.send(command).await.err().map(|mpsc::error::SendError(command)| command)
                }
                Some(mpsc::error::TrySendError::Closed(command)) => Some(command),
                None => None,
            };
            if let Some(Command::Rpc { opening, .. }) = unsent {
                return Ending::NotStarted(opening);
            }
            let ending = tokio::select! {
                biased;
                ending = wake::crossing(ending) => ending,
                exceeded = isolate.0.life.lost() => {
                    Ok(Ending::Failure(isolate.lost(event, Trigger::Rpc { method }, exceeded)))
                }
            };
            ending.unwrap_or_else(|_| Ending::Failure(Failure::unusable("the isolate ended while it handled the call")))
        }
    }

    /// Hands a cron trigger to the scheduled handler. `scheduled_time` is in milliseconds since 1970.
    ///
    /// # Errors
    /// When the handler throws or a limit stops it.
    pub async fn scheduled(&self, cron: &str, scheduled_time: i64) -> Result<Finished, Failure> {
        self.run(RunEvent::Scheduled { cron: cron.to_owned(), scheduled_time }).await
    }

    /// Hands a batch to the queue handler. `messages` is a JSON list of `{ id, timestamp, attempts, contentType, body }`;
    /// what is returned says which to acknowledge: `{ ackAll, retryAll, acks, retries }`, JSON too.
    ///
    /// # Errors
    /// When the handler throws or a limit stops it.
    pub async fn queue(&self, queue: &str, messages: &str) -> Result<Finished, Failure> {
        self.run(RunEvent::Queue { queue: queue.to_owned(), messages: messages.to_owned() }).await
    }

    /// Hands events of other Workers, a JSON list, to the tail handler. `workers` are the names of those Workers, in the same order.
    ///
    /// # Errors
    /// When the handler throws or a limit stops it.
    pub async fn tail(&self, events: &str, workers: &[String]) -> Result<Finished, Failure> {
        self.run(RunEvent::Tail { events: events.to_owned(), workers: workers.to_owned() }).await
    }

    async fn run(&self, run: RunEvent) -> Result<Finished, Failure> {
        let ended = || Failure::unusable("the isolate ended before it handled the event");
        let (waiter, finished) = oneshot::channel();
        let event = self.next_event();
        let trigger = run.trigger();
        let command = Command::Run { event, run, waiter };
        self.0.commands.send(command).await.map_err(|_| ended())?;
        tokio::select! {
            finished = finished => finished.map_err(|_| ended())?,
            exceeded = self.0.life.lost() => Err(self.lost(event, trigger, exceeded)),
        }
    }

    /// What becomes of an event whose isolate does not stop. The thread that should tell the observer cannot.
    fn lost(&self, event: EventId, trigger: Trigger, exceeded: LimitExceeded) -> Failure {
        let failure = Failure::limit(exceeded);
        unanswered(&*self.0.observer, &self.0.version, event, trigger, Details::default(), &failure);
        failure
    }

    /// Opens a session for a debugger, if the isolate was started with one in mind.
    pub fn inspect(&self) -> Option<InspectorSession> {
        self.0.inspector.as_ref()?.open()
    }

    fn next_event(&self) -> EventId {
        loop {
            let id = self.0.next_event.fetch_add(1, Ordering::Relaxed);
            // JavaScript has 0 for "no event", and V8 keeps numbers below 2^30 without allocating.
            if (1..1 << 30).contains(&id) {
                return EventId(id);
            }
            self.0.next_event.store(1, Ordering::Relaxed);
        }
    }
}

/// Tells the observer of an event that no isolate could answer, and why.
pub(crate) fn unanswered(
    observer: &dyn Observer,
    version: &Version,
    event: EventId,
    trigger: Trigger,
    mut details: Details,
    failure: &Failure,
) {
    let source = Source { worker: version.worker.as_str().into(), version: version.id.as_str().into(), event: event.0 };
    let exception = Exception {
        name: failure.name.clone(),
        message: failure.message.clone(),
        stack: failure.stack.clone(),
        limit: failure.limit,
        timestamp: SystemTime::now(),
    };
    details.exception(&exception);
    observer.exception(&source, exception);
    // It failed: what is wanted only then is wanted.
    let wanted = observer.begins(Some(&details.headers)).and_then(|wanted| match wanted.gather {
        Gather::All => Some(wanted),
        Gather::IfFailed => observer.failed(),
        Gather::Nothing => None,
    });
    details.interval = wanted.as_ref().map_or(0, |wanted| wanted.interval);
    let record = EventRecord {
        trigger,
        outcome: failure.outcome,
        started: SystemTime::now(),
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        subrequests: 0,
        bytes_in: 0,
        bytes_out: 0,
        is_call: false,
        told: None,
        details: wanted.is_some().then(|| Box::new(details)),
    };
    observer.finished(&source, record);
}

/// Tells the isolate that nobody waits for an event any more.
struct CancelOnDrop {
    isolate: Isolate,
    event: Option<EventId>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(event) = self.event {
            // A full queue drops it; the event then learns of it when its response has no reader.
            drop(self.isolate.0.commands.try_send(Command::Cancel(event)));
        }
    }
}
