//! The process that runs Workers. It has no database, no master key and no socket that listens: the supervisor gives it connections, and what it
//! knows of Workers it is told or asks for ([`skep_link`]). When it dies, another one goes on.
//!
//! Requests are served by threads of their own, one for each core. What else there is to do has another runtime, and never holds up a
//! request.

#![forbid(unsafe_code)]

mod calls;
mod clients;
mod dispatch;
mod eyes;
mod machine;
mod metering;
mod supervisor;
mod trial;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_isolate::{Mark, Witness};
use skep_link::{Channel, Row, Setup, Table, ToRuntime, ToSupervisor};
use skep_meter::Meter;
use skep_outbound::{AddressPolicy, Client};
use skep_pool::{Capacity, Directory, Environment, Observers, Places, Pool};
use skep_sandbox::Needs;
use skep_store::Files;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::calls::Calls;
use crate::clients::Threads;
use crate::dispatch::Dispatch;
use crate::eyes::Eyes;
use crate::metering::Metering;
use crate::supervisor::Supervisor;

/// Threads for what is not a request.
const THREADS: usize = 2;
/// What is read of the system: how names are resolved (`nsswitch.conf(5)`), the seed of random numbers, the time zone, the process's own
/// memory, the cores that it may use.
const READ: [&str; 19] = [
    "/etc/resolv.conf",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/nsswitch.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/usr",
    "/lib",
    "/lib64",
    "/dev/urandom",
    "/proc/self",
    "/proc/meminfo",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
];
/// How often it is looked at what is not worth its memory.
const TEND: Duration = Duration::from_secs(2);

/// Where the process says what a person should read.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// Why the process does not run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nobody told it what to do.
    #[error("this command is for `skep serve`, which starts it: standard input is no connection to it")]
    NoSupervisor,
    /// The system refuses something that every system has.
    #[error("could not start: {0}")]
    System(#[from] io::Error),
}

/// Runs Workers until the supervisor, whose end of a channel is the standard input, says so or is gone. Must be called on the main thread,
/// before the process has any other one.
///
/// # Errors
/// When it cannot start.
pub fn run(tell: Tell) -> Result<(), RuntimeError> {
    let channel = io::stdin().as_fd().try_clone_to_owned()?;
    let (setup, table) = first_message(&channel).map_err(|_| RuntimeError::NoSupervisor)?;
    // No thread but this one has been started, so none is left out.
    let sandbox = if setup.sandbox {
        skep_sandbox::enter(&Needs { read: needed(&setup) }).to_string()
    } else {
        "Sandbox: off, as the settings say".to_owned()
    };
    skep_isolate::initialize();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("skep-runtime")
        .on_thread_start(skep_isolate::let_requests_go_first)
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(channel, setup, table, sandbox, tell));
    runtime.shutdown_background();
    result
}

/// What the process is to be, and the memory that it shares with the supervisor.
fn first_message(channel: &OwnedFd) -> io::Result<(Setup, Arc<Table>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let received = runtime.block_on(async { Channel::new(channel.try_clone()?)?.receive().await })?;
    match received {
        Some((ToRuntime::Setup(setup), Some(table))) => Ok((setup, Table::open(table)?)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// What is read: modules and assets, what names are resolved with, and what the process itself is.
fn needed(setup: &Setup) -> Vec<PathBuf> {
    let system = READ.iter().map(PathBuf::from);
    system.chain([Files::of(&setup.data_dir).folder().to_owned()]).collect()
}

async fn serve(
    channel: OwnedFd,
    setup: Setup,
    table: Arc<Table>,
    sandbox: String,
    tell: Tell,
) -> Result<(), RuntimeError> {
    let channel = Arc::new(Channel::new(channel)?);
    let supervisor = Supervisor::new(Arc::clone(&channel));
    let directory = Arc::new(Directory::new(&setup.domain));
    let policy = if setup.allow_loopback { AddressPolicy::with_loopback() } else { AddressPolicy::global_only() };
    let outbound = Client::new(policy, Handle::current());
    let meter = Arc::new(Meter::default());
    let metering = Metering::start(Arc::clone(&meter), Arc::clone(&supervisor));
    let eyes = Eyes::start(Arc::clone(&supervisor), Arc::clone(&meter), setup.events_per_second, setup.traces);
    let seeing = Arc::clone(&eyes);
    let observer: Observers = Box::new(move |worker, version| seeing.observer(worker, version));
    let witness: Arc<dyn Witness> = Arc::new(InTable(Arc::clone(&table)));
    let pool = Pool::new(
        Arc::clone(&directory),
        Arc::clone(&supervisor) as Arc<dyn skep_pool::Source>,
        Environment {
            data_dir: setup.data_dir.clone(),
            places: Arc::<Places>::default(),
            witness: Arc::clone(&witness),
            runtime: Handle::current(),
            outbound: outbound.clone(),
            observer,
            meter,
            capacity: Capacity {
                per_worker: setup.per_worker,
                per_account: setup.per_account,
                memory: setup.memory,
                keep_alive: Duration::from_millis(setup.keep_alive),
                spares: setup.spares,
            },
        },
    );
    let dispatch = Arc::new(Dispatch::new(
        Arc::clone(&pool),
        Arc::clone(&supervisor),
        Handle::current(),
        &setup,
        Arc::clone(&tell),
    ));
    let calls = Arc::new(Calls::new(Arc::clone(&pool), Arc::clone(&eyes), trial::Trials::new(outbound, witness)));
    let threads = Threads::start(setup.threads, &dispatch, &calls, &table, &channel)?;
    tokio::spawn(tend(Arc::clone(&pool)));
    channel.send(&ToSupervisor::Ready { sandbox }, None).await?;

    let grace = obey(&channel, &supervisor, &threads).await;
    dispatch.not_ready();
    let deadline = Instant::now() + grace;
    threads.finish(grace).await;
    if !pool.close(deadline.saturating_duration_since(Instant::now())).await && !grace.is_zero() {
        tell("Stopped before every waitUntil() task was done: they took longer than the grace period");
    }
    eyes.flush(deadline.saturating_duration_since(Instant::now())).await;
    metering.flush(deadline.saturating_duration_since(Instant::now())).await;
    Ok(())
}

/// Takes what the supervisor sends, until it says stop or is gone. Gives how long there is to finish.
async fn obey(channel: &Channel, supervisor: &Supervisor, threads: &Threads) -> Duration {
    loop {
        // A supervisor that is gone, or out of its mind, has nothing to finish for.
        let Ok(Some((message, descriptor))) = channel.receive::<ToRuntime>().await else { return Duration::ZERO };
        match (message, descriptor) {
            (ToRuntime::Client { number, address }, Some(descriptor)) => {
                threads.client(std::net::TcpStream::from(descriptor), number, address);
            }
            (ToRuntime::From(kind), Some(descriptor)) => threads.peer(UnixStream::from(descriptor), kind),
            (ToRuntime::Opened { id }, Some(descriptor)) => supervisor.opened(id, UnixStream::from(descriptor)),
            (ToRuntime::Stop { grace }, _) => return Duration::from_millis(grace),
            // Its descriptor found no room here.
            (ToRuntime::Client { number, .. }, None) => threads.refuse(number),
            // Of a connection between the two, who waits for it is told by its end.
            _ => {}
        }
    }
}

async fn tend(pool: Arc<Pool>) {
    let mut ticks = tokio::time::interval(TEND);
    loop {
        ticks.tick().await;
        if pool.tend(machine::memory()) {
            // What is blocked meanwhile is this runtime's, and no request.
            drop(tokio::task::spawn_blocking(skep_isolate::release_memory).await);
        }
    }
}

/// Says in the shared memory what runs.
struct InTable(Arc<Table>);

struct InRow(Row);

impl Witness for InTable {
    fn enter(&self, version: &str) -> Box<dyn Mark> {
        Box::new(InRow(self.0.row(Uuid::parse_str(version).unwrap_or_default())))
    }
}

impl Mark for InRow {
    fn running(&self, running: bool) {
        self.0.running(running);
    }
}
