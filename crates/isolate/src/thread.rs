//! The isolate's thread: takes commands, runs turns, and ends when a limit stops it or nobody holds it any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use skep_exchange::rpc::{Ending, Opening};
use skep_exchange::wake::{self, CrossingContext};
use skep_exchange::{Failure, Reply, Request};
use skep_web::services::{Entrypoint, Services};
use skep_web::{EventId, Finished};
use skep_worker::{Event, LimitExceeded};
use tokio::sync::{mpsc, oneshot};

use crate::Options;
use crate::helpers::{self, Helpers};
use crate::inspector::Inspector;
use crate::life::Life;
use crate::limits::Verdict;
use crate::runtime::{RunEvent, Runtime};
use crate::watchdog;

/// Stack of an isolate's thread in bytes: V8 uses one mebibyte at most and stops deep recursion there; our own code needs
/// little. Pages that are not used cost nothing.
const STACK: usize = 4 * 1024 * 1024;
/// Threads that an isolate may have for work that it need not wait for, such as making keys.
const MOST_HELPERS: usize = 2;
/// How often events are looked at whose `waitUntil()` may take too long.
const WAIT_UNTIL_TICK: Duration = Duration::from_secs(1);

/// What a thread is told.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all commands are of the large kind: a box would cost each of them"
)]
pub(crate) enum Command {
    /// Without an entrypoint: for the default export.
    Fetch {
        event: EventId,
        request: Request,
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
}

/// Starts a thread with an isolate. It ends when the sender of `commands` is dropped, and `life` with it.
pub(crate) fn spawn(
    options: Options,
    services: Arc<dyn Services>,
    commands: mpsc::Receiver<Command>,
    started: oneshot::Sender<Result<Started, StartError>>,
    life: Arc<Life>,
) -> Result<(), StartError> {
    let name: String = format!("isolate {}", options.version.worker).chars().take(15).collect();
    let helpers = Arc::new(Helpers::default());
    std::thread::Builder::new()
        .name(name)
        .stack_size(STACK)
        .spawn(move || {
            watchdog::give_way();
            let _gathering = wake::gather();
            let result = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .enable_io()
                .max_blocking_threads(MOST_HELPERS)
                .on_thread_start(helpers::enter(&helpers))
                .on_thread_stop(helpers::leave(&helpers))
                .on_thread_park(wake::flush)
                .build();
            match result {
                Ok(tokio) => tokio.block_on(run(options, services, commands, started, &life, &helpers)),
                Err(error) => drop(started.send(Err(StartError::Thread(error.to_string())))),
            }
            life.leave();
        })
        .map(drop)
        .map_err(|error| StartError::Thread(error.to_string()))
}

async fn run(
    options: Options,
    services: Arc<dyn Services>,
    mut commands: mpsc::Receiver<Command>,
    started: oneshot::Sender<Result<Started, StartError>>,
    life: &Arc<Life>,
    helpers: &Arc<Helpers>,
) {
    let mut runtime = match Runtime::start(&options, services, life, helpers).await {
        Ok(runtime) => runtime,
        Err(error) => {
            drop(started.send(Err(error)));
            return;
        }
    };
    let inspector = options.inspector.then(|| Inspector::new(runtime.inspector()));
    let (handlers, startup_cpu) = (runtime.handlers().to_vec(), runtime.startup_cpu());
    let code = runtime.take_code();
    if started.send(Ok(Started { handlers, inspector, startup_cpu, code })).is_err() {
        return;
    }
    let mut tick = tokio::time::interval(WAIT_UNTIL_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut crossing = CrossingContext::default();
    let verdict = std::future::poll_fn(|context| {
        // Asked again after a tick, or it would not wake this thread for the next one.
        while tick.poll_tick(context).is_ready() {
            runtime.end_late_events();
        }
        turn(&mut runtime, &mut commands, &mut crossing, context)
    })
    .await;
    life.end();
    commands.close();
    if let Some(verdict) = verdict {
        fail_open_events(&runtime, verdict);
    }
    refuse(&mut commands);
}

/// One round: commands in, then what is ready. Ready when the thread is to end, with the limit that ends it if one does.
fn turn(
    runtime: &mut Runtime,
    commands: &mut mpsc::Receiver<Command>,
    crossing: &mut CrossingContext,
    context: &mut Context<'_>,
) -> Poll<Option<Verdict>> {
    runtime.begin_turns();
    let mut open = true;
    while runtime.verdict().is_none() {
        match commands.poll_recv(&mut Context::from_waker(crossing.waker(context))) {
            Poll::Ready(Some(command)) => {
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
    runtime.end_turns();
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

/// Gives back the requests that nobody has looked at.
fn refuse(commands: &mut mpsc::Receiver<Command>) {
    while let Ok(command) = commands.try_recv() {
        match command {
            Command::Fetch { request, waiter, .. } => drop(waiter.send(Reply::NotStarted(Box::new(request)))),
            Command::Rpc { opening, waiter, .. } => drop(waiter.send(Ending::NotStarted(opening))),
            // Dropping the waiter says the same.
            Command::Run { .. } | Command::Cancel(_) => {}
        }
    }
}
