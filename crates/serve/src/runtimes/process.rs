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

use skep_link::{Channel, Kind, Peer, Table, ToRuntime, ToSupervisor};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::dispatch::died;
use crate::runtimes::clients::{Left, Waiting, as_http};
use crate::runtimes::{Role, Runtimes};

/// A variable of the environment that names the program of the processes: for tools such as valgrind, to which `/proc/self/exe` is the tool.
const PROGRAM: &str = "SKEP_RUNTIME_PROGRAM";
/// The verb of the process.
const VERB: &str = "runtime";
/// Variables of the environment that it gets. Secrets are none of its business.
const ENVIRONMENT: [&str; 6] = ["PATH", "LANG", "TZ", "RUST_BACKTRACE", "LD_LIBRARY_PATH", "TMPDIR"];
/// How long it may take to start.
const START: Duration = Duration::from_secs(30);
/// How much longer than its grace it may take to stop.
const MORE: Duration = Duration::from_secs(5);

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Runtime {
    id: u64,
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

/// Starts a process, and serves it until it ends.
pub(super) async fn run(
    runtimes: &Arc<Runtimes>,
    id: u64,
    role: Role,
    place: &watch::Sender<Option<Arc<Runtime>>>,
    mut waiting: Option<&mut Waiting>,
) -> io::Result<Ended> {
    let begun = Instant::now();
    let killed_before = out_of_memory();
    let (runtime, mut child) = start(runtimes, id).await?;
    let pid = child.id();
    let mut stopping = runtimes.stopping.subscribe();
    let (mut ready, mut told) = (false, false);
    let own = match role {
        Role::All => None,
        Role::One(version) => Some(version),
    };
    let late = tokio::time::sleep(START);
    tokio::pin!(late);
    let (joined, mut joining) = oneshot::channel();
    let mut joined = Some(joined);
    loop {
        let next = async {
            match waiting.as_mut() {
                Some(waiting) => waiting.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = runtime.channel.receive::<ToSupervisor>() => match received {
                Ok(Some((ToSupervisor::Ready { sandbox }, _))) => {
                    if id == 1 && !sandbox.is_empty() {
                        (runtimes.tell)(&sandbox);
                    }
                    if let Some(joined) = joined.take() {
                        let (notices, runtime) = (runtimes.feed.join(id, own), Arc::clone(&runtime));
                        let process = pid;
                        tokio::spawn(async move {
                            notices.deliver(&runtime.calls, joined).await;
                            // Who does not hear what changes must not serve any more.
                            kill(process);
                        });
                    }
                }
                Ok(Some((ToSupervisor::Open { id, kind }, _))) => open(runtimes, &runtime, id, kind).await,
                Ok(Some((ToSupervisor::Closed(numbers), _))) if role == Role::All => {
                    for number in numbers {
                        runtimes.clients.close(number);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            },
            heard = &mut joining, if !ready && !told => match heard {
                Ok(()) => {
                    ready = true;
                    place.send_replace(Some(Arc::clone(&runtime)));
                }
                Err(_) => break,
            },
            number = next, if ready => match number {
                Some(number) => give(runtimes, &runtime, number).await,
                None => waiting = None,
            },
            () = &mut late, if !ready => break,
            grace = stopped(&mut stopping), if !told => {
                told = true;
                place.send_replace(None);
                runtime.stop(grace).await;
                late.set(tokio::time::sleep(grace + MORE));
                ready = false;
                // What waits for a process waits in vain.
                waiting = None;
            }
        }
    }
    // It may be alive, and only out of its mind.
    let _ = child.start_kill();
    let status = child.wait().await?;
    if told || (own.is_some() && status.success()) {
        return Ok(Ended::Stopped);
    }
    let left = match role {
        Role::All => runtimes.clients.died(&runtime.table, &as_http(&died())),
        Role::One(_) => Left::default(),
    };
    let by_itself =
        !matches!(status.signal(), Some(SIGKILL | SIGTERM | SIGINT | SIGHUP)) || out_of_memory() > killed_before;
    Ok(Ended::Died(Death {
        process: pid,
        lived: begun.elapsed(),
        cause: cause(status, by_itself),
        by_itself,
        ready,
        running: runtime.table.running(),
        left,
    }))
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

fn kill(process: Option<u32>) {
    let pid = process.and_then(|process| i32::try_from(process).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // One that is gone need not be ended.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
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
    Ok((Arc::new(Runtime { id, channel, table, calls, requests }), child))
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
