//! The isolate's thread: takes commands, runs turns, and ends when a limit stops it or nobody holds it any more.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use skep_exchange::rpc::{Ending, Opening};
use skep_exchange::wake::{self, CrossingContext};
use skep_exchange::{Failure, Reply, Request};
use skep_web::services::{Entrypoint, Services};
use skep_web::{EventId, Finished};
use skep_worker::{Event, LimitExceeded};
use tokio::sync::oneshot;

use crate::blank::{Blank, Build};
use crate::creep::Creep;
use crate::helpers::{self, Helpers};
use crate::inspector::Inspector;
use crate::life::Life;
use crate::limits::{Guard, Verdict};
use crate::queue::Queue;
use crate::runtime::{RunEvent, Runtime};
use crate::watchdog;
use crate::{Handle, Isolate, Options, Permit};

/// Stack of an isolate's thread in bytes: V8 uses one mebibyte at most and stops deep recursion there; our own code needs
/// little. Pages that are not used cost nothing.
const STACK: usize = 4 * 1024 * 1024;
/// Threads that an isolate may have for work that it need not wait for, such as making keys.
const MOST_HELPERS: usize = 2;
/// What the kernel tells a thread at once of its sockets: room for tokio's own measure would cost each isolate three pages.
const IO_EVENTS: usize = 64;
/// How often events are looked at whose `waitUntil()` may take too long.
const WAIT_UNTIL_TICK: Duration = Duration::from_secs(1);

/// Ticks without an event after which an isolate rests: its garbage is collected, and it is woken by events only.
const REST: u32 = 2;
/// What must have come to an isolate's memory since it was loaded, or last collected, for a collection while it rests, in bytes: collecting
/// takes as long as handling many events, and who was visited once has left next to nothing.
const WORTH_COLLECTING: usize = 1024 * 1024;

/// What a thread is told.
pub(crate) enum Command {
    /// Without an entrypoint: for the default export.
    Fetch {
        event: EventId,
        request: Box<Request>,
        entrypoint: Option<Box<Entrypoint>>,
        waiter: oneshot::Sender<Reply>,
    },
    Rpc {
        event: EventId,
        opening: Box<Opening>,
        entrypoint: Box<Entrypoint>,
        waiter: oneshot::Sender<Ending>,
    },
    Run {
        event: EventId,
        run: RunEvent,
        waiter: oneshot::Sender<Result<Finished, Failure>>,
    },
    Cancel(EventId),
}

/// Why a version could not be started.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// Its code threw while the modules were loaded.
    #[error("{0}")]
    Exception(Failure),
    /// It exceeded a limit.
    #[error("{0}")]
    Limit(LimitExceeded),
    /// The machine has no room for one more thread.
    #[error("no thread for the isolate: {0}")]
    Thread(String),
}

impl StartError {
    /// What a client gets that asked for this version.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Exception(failure) => Failure { code: skep_worker::ErrorCode::Exception, ..failure.clone() },
            Self::Limit(exceeded) => Failure::limit(*exceeded),
            Self::Thread(_) => Failure::unusable(self.to_string()),
        }
    }
}

/// What a thread tells when its version is loaded.
pub(crate) struct Started {
    pub(crate) handlers: Vec<Event>,
    pub(crate) inspector: Option<Inspector>,
    pub(crate) startup_cpu: Duration,
    pub(crate) code: HashMap<String, Bytes>,
    pub(crate) guard: Arc<Guard>,
}

/// A version for an isolate, and who waits for it.
pub(crate) struct Assignment {
    pub(crate) options: Options,
    pub(crate) services: Arc<dyn Services>,
    pub(crate) queue: Arc<Queue>,
    /// The isolate's own handle, once it has one.
    pub(crate) own: Arc<OnceLock<Weak<Handle>>>,
    /// Dropped when the thread ends.
    pub(crate) permit: Option<Permit>,
    pub(crate) started: oneshot::Sender<Result<Started, StartError>>,
}

/// Starts a thread with an isolate, and tells when that is made. The thread ends when there will be no assignment, or when the sender
/// of its commands is dropped; `life` ends with it.
///
/// `making` is dropped as soon as the isolate is made.
pub(crate) fn spawn(
    build: Build,
    making: Option<Permit>,
    made: oneshot::Sender<()>,
    assignment: oneshot::Receiver<Assignment>,
    life: Arc<Life>,
) -> Result<(), StartError> {
    let helpers = Arc::new(Helpers::default());
    std::thread::Builder::new()
        .name("isolate".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            watchdog::give_way();
            let _gathering = wake::gather();
            let result = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .enable_io()
                .max_io_events_per_tick(IO_EVENTS)
                .max_blocking_threads(MOST_HELPERS)
                .on_thread_start(helpers::enter(&helpers))
                .on_thread_stop(helpers::leave(&helpers))
                .on_thread_park(wake::flush)
                .build();
            match result {
                Ok(tokio) => tokio.block_on(wait(build, making, made, assignment, &life, &helpers)),
                Err(error) => {
                    if let Ok(assignment) = assignment.blocking_recv() {
                        drop(assignment.started.send(Err(StartError::Thread(error.to_string()))));
                    }
                }
            }
            life.leave();
        })
        .map(drop)
        .map_err(|error| StartError::Thread(error.to_string()))
}

/// Makes the isolate, waits for its version, and runs that.
async fn wait(
    build: Build,
    making: Option<Permit>,
    made: oneshot::Sender<()>,
    assignment: oneshot::Receiver<Assignment>,
    life: &Arc<Life>,
    helpers: &Arc<Helpers>,
) {
    let blank = Blank::new(build, life);
    drop(making);
    // Nobody need wait for it.
    let _ = made.send(());
    let Ok(assignment) = assignment.await else { return };
    match blank {
        Ok(blank) => run(blank, assignment, life, helpers).await,
        Err(error) => drop(assignment.started.send(Err(error))),
    }
}

async fn run(blank: Blank, assignment: Assignment, life: &Arc<Life>, helpers: &Arc<Helpers>) {
    let Assignment { options, services, queue, own, permit, started } = assignment;
    name_thread(&options.version.worker);
    let mark = options.witness.enter(&options.version.id);
    mark.running(true);
    let mut runtime = match Runtime::start(blank, &options, services, &queue, helpers).await {
        Ok(runtime) => runtime,
        Err(error) => {
            drop(started.send(Err(error)));
            return;
        }
    };
    let inspector = options.inspector.then(|| Inspector::new(runtime.inspector()));
    let (handlers, startup_cpu) = (runtime.handlers().to_vec(), runtime.startup_cpu());
    let (code, guard) = (runtime.take_code(), Arc::clone(runtime.guard()));
    queue.load.touch();
    mark.running(false);
    if started.send(Ok(Started { handlers, inspector, startup_cpu, code, guard })).is_err() {
        return;
    }
    let mut tick = tokio::time::interval(WAIT_UNTIL_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut crossing, mut rest, mut creep) = (CrossingContext::default(), Rest::new(&mut runtime), Creep::new());
    let verdict = std::future::poll_fn(|context| {
        let resting = rest.is_over(&queue);
        // An isolate that rests is not woken. Asked again after a tick, or it would not wake this thread for the next one.
        while !resting && tick.poll_tick(context).is_ready() {
            runtime.tell_of_long();
            runtime.end_late_events();
            rest.tick(&mut runtime, &queue);
        }
        mark.running(true);
        let polled = turn(&mut runtime, &queue, &mut crossing, context);
        mark.running(false);
        if resting && polled.is_pending() && !rest.is_over(&queue) {
            // An event came, and may hang: time goes on.
            tick.reset();
            let _ = tick.poll_tick(context);
        }
        if polled.is_pending() {
            creep.look(&mut runtime, &queue, life);
            call_next(&queue, &own);
        }
        polled
    })
    .await;
    life.end();
    queue.close();
    if let Some(verdict) = verdict {
        fail_open_events(&runtime, verdict);
    }
    drop(permit);
    if let Some(line) = &queue.line {
        line.isolate_ended();
    }
}

/// What a thread does when it has nothing to do for a while: it collects garbage once, if there is much, so that an isolate that is kept for
/// the next visit costs as little as it can.
struct Rest {
    /// Ticks without an event.
    ticks: u32,
    events: u64,
    /// The isolate's memory when it was loaded, or last collected here.
    memory: usize,
}

impl Rest {
    fn new(runtime: &mut Runtime) -> Self {
        Self { ticks: 0, events: 0, memory: runtime.memory() }
    }

    /// Whether nothing is to be done before the next event.
    fn is_over(&self, queue: &Queue) -> bool {
        self.ticks >= REST && self.events == queue.load.events()
    }

    fn tick(&mut self, runtime: &mut Runtime, queue: &Queue) {
        let events = queue.load.events();
        if events != self.events || !runtime.with_events(|events| events.is_empty()) {
            (self.ticks, self.events) = (0, events);
            return;
        }
        self.ticks += 1;
        if self.ticks == REST && runtime.memory() > self.memory + WORTH_COLLECTING {
            runtime.collect_garbage();
            self.memory = runtime.memory();
        }
    }
}

/// A thread that has nothing to do calls the next in line.
fn call_next(queue: &Queue, own: &OnceLock<Weak<Handle>>) {
    if let Some(line) = &queue.line
        && line.len() > 0
        && queue.is_free()
        && let Some(own) = own.get().and_then(Weak::upgrade)
    {
        line.call(&Isolate(own));
    }
}

/// Shows in the system's lists of threads which Worker the calling one runs.
fn name_thread(worker: &str) {
    // Linux takes 15 bytes.
    let name: String = format!("isolate {worker}").chars().take(15).collect();
    let Ok(name) = std::ffi::CString::new(name) else { return };
    // SAFETY: a text with its end, which the kernel copies. A refusal is an error code.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// One round: commands in, then what is ready. Ready when the thread is to end, with the limit that ends it if one does.
fn turn(
    runtime: &mut Runtime,
    queue: &Queue,
    crossing: &mut CrossingContext,
    context: &mut Context<'_>,
) -> Poll<Option<Verdict>> {
    queue.load.begin_round();
    let begin = runtime.begin_turns();
    let (mut open, mut begun) = (true, 0);
    while runtime.verdict().is_none() {
        match queue.poll(&mut Context::from_waker(crossing.waker(context))) {
            Poll::Ready(Some(command)) => {
                begun += u32::from(!matches!(command, Command::Cancel(_)));
                obey(runtime, command);
                wake::flush_if_due();
            }
            Poll::Ready(None) => {
                open = false;
                break;
            }
            Poll::Pending => break,
        }
    }
    let idle = runtime.verdict().is_none() && runtime.poll(context).is_ready();
    let end = runtime.end_turns();
    queue.load.end_round(begun, end.saturating_sub(begin));
    if let Some(verdict) = runtime.verdict() {
        return Poll::Ready(Some(verdict));
    }
    if idle {
        runtime.with_events(|events| {
            events.fail_hung();
            events.record_ended();
        });
    }
    // Nobody can send anything any more; what is open is finished first.
    if !open && runtime.with_events(|events| events.is_empty()) {
        return Poll::Ready(None);
    }
    Poll::Pending
}

fn obey(runtime: &mut Runtime, command: Command) {
    match command {
        Command::Fetch { event, request, entrypoint, waiter } => {
            runtime.fetch(event, request, entrypoint.as_deref(), waiter);
        }
        Command::Rpc { event, opening, entrypoint, waiter } => runtime.rpc(event, *opening, &entrypoint, waiter),
        Command::Run { event, run, waiter } => runtime.run(event, &run, waiter),
        Command::Cancel(event) => runtime.cancel(event),
    }
}

/// A limit ends the isolate, and with it every event that it was handling: the one that ran into the limit, and those
/// that shared the isolate with it.
fn fail_open_events(runtime: &Runtime, verdict: Verdict) {
    runtime.with_events(|events| {
        let open: Vec<EventId> = events.open().collect();
        for event in open {
            let mut failure = Failure::limit(verdict.exceeded);
            if verdict.event.is_some_and(|culprit| culprit != event) {
                failure.message = format!(
                    "The isolate was stopped because another request of this Worker exceeded a limit: {}",
                    failure.message
                );
            }
            events.fail(event, failure);
        }
        events.record_ended();
    });
}
