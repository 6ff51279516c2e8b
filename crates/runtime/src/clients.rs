//! The threads that serve requests, and the connections that they are given.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use skep_exchange::wake;
use skep_gateway::{Connections, Doing, Server, ServerLimits, Track};
use skep_link::{CONNECTIONS, Channel, Kind, State, Table, ToSupervisor};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::calls::{self, Calls};
use crate::dispatch::{self, Dispatch};

/// The largest body of a call in bytes: an upload that is tried.
const LARGEST_CALL: u64 = 1 << 30;
/// Connections that are over and told of together.
const CLOSED_TOGETHER: usize = 1024;

/// A connection for a thread.
enum Given {
    Client(TcpStream, SocketAddr, Box<dyn Track>),
    Peer(UnixStream, Kind),
}

/// The threads.
pub(crate) struct Threads {
    threads: Vec<Thread>,
    next: AtomicUsize,
    table: Arc<Table>,
    closed: Arc<Closed>,
}

struct Thread {
    given: mpsc::Sender<Given>,
    finish: oneshot::Sender<Duration>,
    finished: oneshot::Receiver<()>,
}

impl Threads {
    /// Starts so many.
    pub(crate) fn start(
        count: usize,
        dispatch: &Arc<Dispatch>,
        calls: &Arc<Calls>,
        table: &Arc<Table>,
        channel: &Arc<Channel>,
    ) -> io::Result<Self> {
        let threads = (0..count.max(1)).map(|_| {
            let (given, receiver) = mpsc::channel(CONNECTIONS);
            let ((finish, finishing), (done, finished)) = (oneshot::channel(), oneshot::channel());
            let (dispatch, calls) = (Arc::clone(dispatch), Arc::clone(calls));
            std::thread::Builder::new().name("skep-gateway".to_owned()).spawn(move || {
                if let Err(error) = run(dispatch, calls, receiver, finishing) {
                    // Its connections are closed with it.
                    drop(error);
                }
                // The process is ending if nobody waits for it.
                let _ = done.send(());
            })?;
            Ok(Thread { given, finish, finished })
        });
        let threads = threads.collect::<io::Result<_>>()?;
        let closed = Arc::new(Closed::default());
        tokio::spawn(Arc::clone(&closed).tell(Arc::clone(channel)));
        Ok(Self { threads, next: AtomicUsize::new(0), table: Arc::clone(table), closed })
    }

    /// Takes a client's connection.
    pub(crate) fn client(&self, stream: TcpStream, number: u32, address: SocketAddr) {
        let track = InTable { number, table: Arc::clone(&self.table), closed: Arc::clone(&self.closed) };
        self.give(Given::Client(stream, address, Box::new(track)));
    }

    /// Says that a client's connection cannot be served: the supervisor closes it.
    pub(crate) fn refuse(&self, number: u32) {
        self.closed.add(number);
    }

    /// Takes a connection of the supervisor.
    pub(crate) fn peer(&self, stream: UnixStream, kind: Kind) {
        self.give(Given::Peer(stream, kind));
    }

    fn give(&self, given: Given) {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        // A thread that has ended, or has more than it can take, closes what it is given.
        drop(self.threads[next].given.try_send(given));
    }

    /// Finishes what is being handled, for as long as `grace` at most.
    pub(crate) async fn finish(self, grace: Duration) {
        let mut finished = Vec::new();
        for thread in self.threads {
            let _ = thread.finish.send(grace);
            finished.push(thread.finished);
        }
        for finished in finished {
            let _ = finished.await;
        }
    }
}

/// One thread.
fn run(
    dispatch: Arc<Dispatch>,
    calls: Arc<Calls>,
    mut given: mpsc::Receiver<Given>,
    mut finish: oneshot::Receiver<Duration>,
) -> io::Result<()> {
    let _gathering = wake::gather();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(wake::flush).build()?;
    runtime.spawn(wake::Hub::run());
    runtime.block_on(async {
        let requests = Server::new(dispatch::Shared(dispatch), ServerLimits::default()).connections();
        let limits = ServerLimits { request_body: LARGEST_CALL, ..ServerLimits::default() };
        let calls = Server::new(calls::Shared(calls), limits).connections();
        let grace = loop {
            tokio::select! {
                given = given.recv() => match given {
                    // A connection that this thread cannot have is closed.
                    Some(given) => drop(serve(&requests, &calls, given)),
                    None => break Duration::ZERO,
                },
                grace = &mut finish => break grace.unwrap_or_default(),
            }
        };
        tokio::join!(requests.finish(grace), calls.finish(grace));
        Ok(())
    })
}

fn serve(requests: &Connections, calls: &Connections, given: Given) -> io::Result<()> {
    match given {
        Given::Client(stream, address, track) => {
            stream.set_nonblocking(true)?;
            // Where the kernel does not say, no number that it says later is the right one.
            let written = skep_link::written(stream.as_fd()).unwrap_or(1 << 40);
            requests.serve(tokio::net::TcpStream::from_std(stream)?, address, written, track);
        }
        Given::Peer(stream, kind) => {
            stream.set_nonblocking(true)?;
            let stream = tokio::net::UnixStream::from_std(stream)?;
            match kind {
                Kind::Requests => requests.serve_peer(stream),
                Kind::Calls => calls.serve_peer(stream),
            }
        }
    }
    Ok(())
}

/// A client's connection in the shared memory.
struct InTable {
    number: u32,
    table: Arc<Table>,
    closed: Arc<Closed>,
}

impl Track for InTable {
    fn doing(&self, doing: Doing) {
        let state = match doing {
            Doing::Nothing => State::Idle,
            Doing::Handling => State::Asked,
            Doing::Answering => State::Answering,
            Doing::NothingAfter(written) => State::IdleAfter(written),
        };
        self.table.set(self.number, state);
    }
}

impl Drop for InTable {
    fn drop(&mut self) {
        // From here on nobody goes on with it.
        self.table.set(self.number, State::Answering);
        self.closed.add(self.number);
    }
}

/// Connections that are over, of which the supervisor is to be told: it has them too, and they end with its descriptor.
#[derive(Default)]
struct Closed {
    numbers: Mutex<Vec<u32>>,
    some: Notify,
}

impl Closed {
    fn add(&self, number: u32) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        self.some.notify_one();
    }

    async fn tell(self: Arc<Self>, channel: Arc<Channel>) {
        loop {
            self.some.notified().await;
            let numbers = std::mem::take(&mut *self.numbers.lock().unwrap_or_else(PoisonError::into_inner));
            for numbers in numbers.chunks(CLOSED_TOGETHER) {
                if channel.send(&ToSupervisor::Closed(numbers.to_vec()), None).await.is_err() {
                    return;
                }
            }
        }
    }
}
