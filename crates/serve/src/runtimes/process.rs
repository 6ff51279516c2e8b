//! One process that runs Workers, from its start to its end.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_deliver::{Alert, Severity};
use skep_link::{Channel, Kind, Peer, Table, ToRuntime, ToSupervisor};
use time::OffsetDateTime;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::dispatch::died;
use crate::runtimes::clients::{Left, Waiting, as_http};
use crate::runtimes::figures::Question;
use crate::runtimes::{Role, Runtimes};

/// A variable of the environment that names the program of the processes: for tools such as valgrind, to which `/proc/self/exe` is the tool.
const PROGRAM: &str = "SKEP_RUNTIME_PROGRAM";
/// The verb of the process.
const VERB: &str = "runtime";
/// Variables of the environment that it gets. Secrets are none of its business.
const ENVIRONMENT: [&str; 6] = ["PATH", "LANG", "TZ", "RUST_BACKTRACE", "LD_LIBRARY_PATH", "TMPDIR"];
/// How long it may take to start.
const START: Duration = Duration::from_secs(30);
/// How long it may take a process to make room for what it is sent. One that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much longer than its grace it may take to stop.
const MORE: Duration = Duration::from_secs(5);

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Runtime {
    id: u64,
    /// The kernel's number.
    process: Option<u32>,
    question: Question,
    channel: Arc<Channel>,
    table: Arc<Table>,
    calls: Peer,
    requests: Peer,
}

impl Runtime {
    /// Its number: no other process ever has it.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The kernel's number of it.
    pub(super) fn process(&self) -> Option<u32> {
        self.process
    }

    /// Where it says how it does.
    pub(super) fn question(&self) -> &Question {
        &self.question
    }

    /// Where it is asked.
    pub(crate) fn calls(&self) -> &Peer {
        &self.calls
    }

    /// Where it is handed requests.
    pub(crate) fn requests(&self) -> &Peer {
        &self.requests
    }

    /// Has it finish what it handles, for as long as `grace` at most, and end.
    pub(super) async fn stop(&self, grace: Duration) {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        // One that is gone has ended.
        drop(self.channel.send(&ToRuntime::Stop { grace }, None).await);
    }
}

/// How a process ended.
pub(super) enum Ended {
    /// As it was told.
    Stopped,
    /// Otherwise.
    Died(Death),
}

/// What is known of a death.
#[derive(Debug)]
pub(super) struct Death {
    process: Option<u32>,
    lived: Duration,
    /// The signal or the status, in words.
    pub(super) cause: String,
    /// Nobody outside has killed it, as far as can be known.
    pub(super) by_itself: bool,
    /// It had started.
    pub(super) ready: bool,
    /// The versions whose code ran.
    pub(super) running: Vec<Uuid>,
    left: Left,
}

impl fmt::Display for Death {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, lived, cause, left, .. } = self;
        let process = process.map(|process| format!(" {process}")).unwrap_or_default();
        write!(
            formatter,
            "The process{process} that runs Workers ended after {:.1} s ({cause}); another one takes its place. Connections: {} idle ones go on, {} were told that their request is lost, {} broke off",
            lived.as_secs_f64(),
            left.idle,
            left.told,
            left.broken
        )
    }
}

impl Death {
    /// What people are told.
    pub(super) fn alert(&self) -> Alert {
        Alert {
            kind: "runtime.died".to_owned(),
            severity: Severity::Critical,
            account: None,
            worker: None,
            title: format!("A process that runs Workers ended ({})", self.cause),
            text: self.to_string(),
            at: OffsetDateTime::now_utc(),
            // Those that die again and again for the same reason are told of once in an hour.
            key: format!("runtime.died/{}", self.cause),
        }
    }
}

/// Starts a process, and serves it until it ends.
pub(super) async fn run(
    runtimes: &Arc<Runtimes>,
    id: u64,
    role: Role,
    place: &watch::Sender<Option<Arc<Runtime>>>,
    waiting: Option<&mut Waiting>,
) -> io::Result<Ended> {
    let begun = Instant::now();
    let killed_before = out_of_memory();
    let (runtime, mut child) = start(runtimes, id).await?;
    let process = child.id();
    let mut session = Session { runtimes, runtime, role, place, ready: false, told: false, joining: None, deaf: None };
    session.serve(waiting).await;
    let Session { runtime, ready, told, .. } = session;
    // It may be alive, and only out of its mind.
    let _ = child.start_kill();
    let status = child.wait().await?;
    if told || (role != Role::All && status.success()) {
        return Ok(Ended::Stopped);
    }
    let left = match role {
        Role::All => runtimes.clients.died(&runtime.table, &as_http(&died())),
        Role::One(_) => Left::default(),
    };
    let by_itself =
        !matches!(status.signal(), Some(SIGKILL | SIGTERM | SIGINT | SIGHUP)) || out_of_memory() > killed_before;
    let (cause, running) = (cause(status, by_itself), runtime.table.running());
    Ok(Ended::Died(Death { process, lived: begun.elapsed(), cause, by_itself, ready, running, left }))
}

/// A process that is served.
struct Session<'s> {
    runtimes: &'s Arc<Runtimes>,
    runtime: Arc<Runtime>,
    role: Role,
    place: &'s watch::Sender<Option<Arc<Runtime>>>,
    /// It knows all Workers, and can be given what waits for it.
    ready: bool,
    /// It was told to stop.
    told: bool,
    /// Tells when it knows all Workers. Nothing before it has started, and after that.
    joining: Option<oneshot::Receiver<()>>,
    /// Ends when it does not hear what changes.
    deaf: Option<JoinHandle<()>>,
}

impl Session<'_> {
    /// Until it is gone, or must go.
    async fn serve(&mut self, mut waiting: Option<&mut Waiting>) {
        let runtime = Arc::clone(&self.runtime);
        let mut stopping = self.runtimes.stopping.subscribe();
        let late = tokio::time::sleep(START);
        tokio::pin!(late);
        loop {
            tokio::select! {
                received = runtime.channel.receive() => match received {
                    Ok(Some((message, _))) => if !in_time(self.obey(message)).await {
                        return;
                    },
                    Ok(None) | Err(_) => return,
                },
                joined = or_never(self.joining.as_mut()) => {
                    self.joining = None;
                    if joined.is_ok() && !self.told {
                        self.ready = true;
                        self.place.send_replace(Some(Arc::clone(&runtime)));
                    }
                }
                // Who does not hear what changes must not serve any more.
                _ = or_never(self.deaf.as_mut()) => return,
                number = next(&mut waiting), if self.ready => match number {
                    // Who takes no connections serves nobody: the next one gets them.
                    Some(number) if !in_time(give(self.runtimes, &runtime, number)).await => return,
                    Some(_) => {}
                    None => waiting = None,
                },
                () = &mut late, if !self.ready => return,
                grace = stopped(&mut stopping), if !self.told => {
                    (self.told, self.ready) = (true, false);
                    self.place.send_replace(None);
                    if !in_time(runtime.stop(grace)).await {
                        return;
                    }
                    late.set(tokio::time::sleep(grace + MORE));
                }
            }
        }
    }

    async fn obey(&mut self, message: ToSupervisor) {
        match message {
            ToSupervisor::Ready { sandbox } => {
                // What holds for the first one holds for all.
                if self.runtime.id == 1 {
                    (self.runtimes.tell)(&sandbox);
                }
                if self.deaf.is_none() {
                    let own = match self.role {
                        Role::All => None,
                        Role::One(version) => Some(version),
                    };
                    let (joined, joining) = oneshot::channel();
                    let (notices, runtime) = (self.runtimes.feed.join(self.runtime.id, own), Arc::clone(&self.runtime));
                    self.joining = Some(joining);
                    self.deaf = Some(tokio::spawn(async move { notices.deliver(&runtime.calls, joined).await }));
                }
            }
            ToSupervisor::Open { id, kind } => open(self.runtimes, &self.runtime, id, kind).await,
            ToSupervisor::Closed(numbers) if self.role == Role::All => {
                for number in numbers {
                    self.runtimes.clients.close(number);
                }
            }
            // Only the process of all Workers has clients.
            ToSupervisor::Closed(_) => {}
        }
    }
}

/// What a future gives, if there is one.
async fn or_never<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Whether what is done with a process is done soon.
async fn in_time(doing: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(PATIENCE, doing).await.is_ok()
}

/// The next connection that waits for a process.
async fn next(waiting: &mut Option<&mut Waiting>) -> Option<u32> {
    match waiting {
        Some(waiting) => waiting.recv().await,
        None => std::future::pending().await,
    }
}

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Why a process ended, in words.
fn cause(status: ExitStatus, by_itself: bool) -> String {
    let name = |signal: i32| match signal {
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        SIGKILL => "SIGKILL",
        11 => "SIGSEGV",
        SIGTERM => "SIGTERM",
        31 => "SIGSYS",
        _ => "a signal",
    };
    match status.signal() {
        Some(SIGKILL) if by_itself => "the kernel was out of memory".to_owned(),
        Some(signal) => format!("{} ({signal})", name(signal)),
        None => format!("exit status {}", status.code().unwrap_or_default()),
    }
}

/// How many processes the kernel has ended since it started because there was no memory. `proc_vmstat(5)`.
fn out_of_memory() -> u64 {
    let counters = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

async fn stopped(stopping: &mut watch::Receiver<Option<Duration>>) -> Duration {
    let grace = stopping.wait_for(Option::is_some).await.map(|grace| *grace);
    match grace {
        Ok(grace) => grace.unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
}

/// Starts a process, and tells it how it is to be.
async fn start(runtimes: &Runtimes, id: u64) -> io::Result<(Arc<Runtime>, Child)> {
    let table = Table::new()?;
    let (channel, theirs) = Channel::pair()?;
    let channel = Arc::new(channel);
    let environment = ENVIRONMENT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    // The program of this process, also when another one has taken its place on the disk.
    let program = std::env::var_os(PROGRAM).unwrap_or_else(|| OsString::from("/proc/self/exe"));
    let child = Command::new(program)
        .arg(VERB)
        .stdin(Stdio::from(theirs))
        .env_clear()
        .envs(environment)
        // What a terminal sends is for this process, which tells the other one.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    channel.send(&ToRuntime::Setup(runtimes.setup.clone()), Some(table.descriptor())).await?;
    let peer = |kind| {
        let channel = Arc::clone(&channel);
        Peer::new(move || {
            let channel = Arc::clone(&channel);
            Box::pin(async move {
                let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
                channel.send(&ToRuntime::From(kind), Some(theirs.as_fd())).await?;
                ours.set_nonblocking(true)?;
                UnixStream::from_std(ours)
            })
        })
    };
    let (calls, requests) = (peer(Kind::Calls), peer(Kind::Requests));
    let (process, question) = (child.id(), Question::new());
    Ok((Arc::new(Runtime { id, process, question, channel, table, calls, requests }), child))
}

/// Makes a connection that a process asks for. If there is none, it is told by its end.
async fn open(runtimes: &Runtimes, runtime: &Runtime, id: u64, kind: Kind) {
    let opened = async {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        runtime.channel.send(&ToRuntime::Opened { id }, Some(theirs.as_fd())).await?;
        ours.set_nonblocking(true)?;
        UnixStream::from_std(ours)
    };
    let (opened, Some(doors)) = (opened.await, runtimes.doors.get()) else { return };
    if let Ok(stream) = opened {
        match kind {
            Kind::Requests => doors.requests.serve_peer(stream),
            Kind::Calls => doors.calls.serve_peer(stream),
        }
    }
}

/// Gives a client's connection to a process.
async fn give(runtimes: &Runtimes, runtime: &Runtime, number: u32) {
    let Some((stream, address)) = runtimes.clients.give(number) else { return };
    runtime.table.set(number, skep_link::State::Idle);
    // A process that does not take it is dying: the next one gets it.
    drop(runtime.channel.send(&ToRuntime::Client { number, address }, Some(stream.as_fd())).await);
}
