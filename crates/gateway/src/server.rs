//! Listeners and connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Method, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use skep_exchange::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::error_page::{self, Page};
use crate::handler::{Answering, Handler};
use crate::ray::{self, CF_RAY};
use crate::request::{Origin, Refused};
use crate::response::{self, Upgrade};
use crate::tls::{Certify, Tls, TlsError};
use crate::tracked::{Requests, Track, Tracked};

/// What a client may use of a server.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Connections at once. More wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Duration,
    /// The largest header block in bytes.
    pub header_bytes: usize,
    /// The largest request body in bytes.
    pub request_body: u64,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_timeout: Duration::from_secs(30),
            header_bytes: 64 * 1024,
            request_body: 100 * 1024 * 1024,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has it.
    #[error("port {port} on {host} is in use by another program")]
    InUse {
        /// The address.
        host: String,
        /// The port.
        port: u16,
    },
    /// It takes more rights than we have.
    #[error(
        "no permission to listen on {host} port {port}: ports below 1024 need the capability CAP_NET_BIND_SERVICE. Use a higher port."
    )]
    Permission {
        /// The address.
        host: String,
        /// The port.
        port: u16,
    },
    /// It is no address of this machine.
    #[error(
        "cannot listen on {host} port {port}: {reason}. Give an address of this machine, such as 127.0.0.1 or 0.0.0.0."
    )]
    Address {
        /// The address.
        host: String,
        /// The port.
        port: u16,
        /// What the system said.
        reason: String,
    },
}

/// A socket that takes connections.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    tls: Option<Tls>,
}

impl Listener {
    /// Listens on a host (a name or an address) and port; port 0 takes any free one.
    ///
    /// # Errors
    /// When the address is taken, forbidden, or none of this machine.
    pub async fn bind(host: &str, port: u16) -> Result<Self, BindError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let listener = TcpListener::bind((bare, port)).await.map_err(|error| {
            let host = host.to_owned();
            match error.kind() {
                io::ErrorKind::AddrInUse => BindError::InUse { host, port },
                io::ErrorKind::PermissionDenied => BindError::Permission { host, port },
                _ => BindError::Address { host, port, reason: error.to_string() },
            }
        })?;
        Ok(Self { listener, tls: None })
    }

    /// The same socket, speaking TLS.
    #[must_use]
    pub fn with_tls(self, tls: Arc<ServerConfig>) -> Self {
        Self { tls: Some(Tls::Fixed(tls)), ..self }
    }

    /// The same socket, speaking TLS with certificates that somebody finds for each host.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn with_certificates(self, certify: Arc<dyn Certify>) -> Result<Self, TlsError> {
        Ok(Self { tls: Some(Tls::certified(certify)?), ..self })
    }

    /// The same socket for another thread: connections go to whichever takes them first.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn share(&self) -> io::Result<SharedListener> {
        let listener = std::net::TcpListener::from(self.listener.as_fd().try_clone_to_owned()?);
        Ok(SharedListener { listener, tls: self.tls.clone() })
    }

    /// The next connection, and where it comes from. It does not speak TLS yet.
    ///
    /// # Errors
    /// When the process has no file descriptor left, or the connection was reset while it waited: the next one may do better.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.listener.accept().await
    }

    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A socket on its way to another thread.
#[derive(Debug)]
pub struct SharedListener {
    listener: std::net::TcpListener,
    tls: Option<Tls>,
}

impl SharedListener {
    /// The socket, for the runtime of the calling thread.
    ///
    /// # Errors
    /// When the runtime cannot take it.
    pub fn listen(self) -> io::Result<Listener> {
        Ok(Listener { listener: TcpListener::from_std(self.listener)?, tls: self.tls })
    }
}

/// What a client sends first that speaks HTTP/2 without TLS. RFC 9113, section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often a socket is looked at that has sent a part of the preface.
const PREFACE_POLL: Duration = Duration::from_millis(10);

/// Serves requests from a listener.
pub struct Server {
    handler: Arc<dyn Handler>,
    limits: ServerLimits,
    http: Arc<Http>,
}

/// Both versions of HTTP. Which one a client speaks is found out here and not by hyper, whose search has no time-out.
struct Http {
    one: auto::Builder<TokioExecutor>,
    two: auto::Builder<TokioExecutor>,
}

impl Http {
    fn new(limits: &ServerLimits) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes.max(8192));
        http.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
        Self { one: http.clone().http1_only(), two: http.http2_only() }
    }

    fn of(&self, second: bool) -> &auto::Builder<TokioExecutor> {
        if second { &self.two } else { &self.one }
    }
}

/// Whether a client without TLS speaks HTTP/2: its first bytes say so, and stay where they are.
///
/// # Errors
/// When it says nothing, or the connection breaks.
pub async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut begin = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut begin).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(&begin[..length]) {
            return Ok(false);
        }
        if length == PREFACE.len() {
            return Ok(true);
        }
        // A socket that has something to read does not tell when it has more.
        tokio::time::sleep(PREFACE_POLL).await;
    }
}

impl Server {
    /// A server that hands requests to a handler.
    pub fn new(handler: impl Handler, limits: ServerLimits) -> Self {
        let http = Arc::new(Http::new(&limits));
        Self { handler: Arc::new(handler), limits, http }
    }

    /// Serves until `stop` changes, then finishes what is being handled, for as long as `grace` at most.
    pub async fn serve(&self, listener: Listener, mut stop: watch::Receiver<bool>, grace: Duration) {
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let accepted = async {
                let permit = Arc::clone(&room).acquire_owned().await.ok()?;
                let (stream, client) = listener.listener.accept().await.ok()?;
                Some((stream, client, permit))
            };
            let (stream, client, permit) = tokio::select! {
                accepted = accepted => match accepted {
                    Some(accepted) => accepted,
                    // Out of file descriptors, or a connection that was reset while it waited: others may do better.
                    None => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        continue;
                    }
                },
                () = until(&mut stop) => break,
            };
            let connection = self.connection(stream, client, listener.tls.clone(), graceful.watcher());
            tokio::spawn(async move {
                connection.await;
                drop(permit);
            });
        }
        drop(listener);
        let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
    }

    fn connection(
        &self,
        stream: TcpStream,
        client: SocketAddr,
        tls: Option<Tls>,
        watcher: Watcher,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (handler, limits, http) = (Arc::clone(&self.handler), self.limits, Arc::clone(&self.http));
        async move {
            // A socket that cannot be told so is only slower.
            let _ = stream.set_nodelay(true);
            match tls {
                None => {
                    if let Ok(Ok(second)) = tokio::time::timeout(limits.header_timeout, speaks_http2(&stream)).await {
                        let origin = Origin::new(client, false, limits.request_body);
                        serve_connection(http.of(second), stream, handler, origin, watcher).await;
                    }
                }
                Some(tls) => {
                    if let Some(stream) = tls.accept(stream, limits.handshake_timeout).await {
                        let second = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        let origin = Origin::new(client, true, limits.request_body);
                        serve_connection(http.of(second), stream, handler, origin, watcher).await;
                    }
                }
            }
        }
    }
}

async fn serve_connection(
    http: &auto::Builder<TokioExecutor>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handler: Arc<dyn Handler>,
    origin: Origin,
    watcher: Watcher,
) {
    let service = service_fn(move |request| {
        let begun = begin(Arc::clone(&handler), request, &origin);
        async move { Ok::<_, Infallible>(begun.finish().await) }
    });
    let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
    // A connection that breaks has no one left to tell.
    let _ = watcher.watch(connection.into_owned()).await;
}

/// Connections that somebody else accepts, on one thread's runtime.
pub struct Connections {
    handler: Arc<dyn Handler>,
    limits: ServerLimits,
    http: Arc<Http>,
    /// Nothing once they are to finish.
    graceful: Mutex<Option<GracefulShutdown>>,
}

impl Server {
    /// For connections that somebody else accepts.
    pub fn connections(&self) -> Connections {
        let (handler, http) = (Arc::clone(&self.handler), Arc::clone(&self.http));
        Connections { handler, limits: self.limits, http, graceful: Mutex::new(Some(GracefulShutdown::new())) }
    }
}

impl Connections {
    /// Serves a client that speaks HTTP/1.1 without TLS, and tells what the connection is doing. So many bytes were written to it before.
    pub fn serve(&self, stream: TcpStream, client: SocketAddr, written: u64, track: Box<dyn Track>) {
        // A socket that cannot be told so is only slower.
        let _ = stream.set_nodelay(true);
        let Some(watcher) = self.watcher() else { return };
        let handler = Arc::clone(&self.handler);
        let (http, origin) = (Arc::clone(&self.http), Origin::new(client, false, self.limits.request_body));
        tokio::spawn(async move {
            let requests = Arc::<Requests>::default();
            let stream = Tracked::new(stream, written, Arc::clone(&requests), track);
            let service = service_fn(move |request: http::Request<Incoming>| {
                let open = requests.begin(hyper::body::Body::size_hint(request.body()).exact());
                let begun = begin(Arc::clone(&handler), request, &origin);
                async move { Ok::<_, Infallible>(open.until_sent(begun.finish().await)) }
            });
            let connection = http.one.serve_connection_with_upgrades(TokioIo::new(stream), service);
            // A connection that breaks has no one left to tell.
            let _ = watcher.watch(connection.into_owned()).await;
        });
    }

    /// Serves a client without TLS whose connection ends with this process, in whichever version of HTTP it speaks.
    pub fn serve_here(&self, stream: TcpStream, client: SocketAddr, second: bool) {
        let _ = stream.set_nodelay(true);
        self.spawn(stream, Origin::new(client, false, self.limits.request_body), second);
    }

    /// Serves another process of the platform, which says where its requests come from.
    pub fn serve_peer(&self, stream: UnixStream) {
        self.spawn(stream, Origin::peer(self.limits.request_body), false);
    }

    fn spawn(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, origin: Origin, second: bool) {
        let Some(watcher) = self.watcher() else { return };
        let (http, handler) = (Arc::clone(&self.http), Arc::clone(&self.handler));
        tokio::spawn(async move { serve_connection(http.of(second), stream, handler, origin, watcher).await });
    }

    fn graceful(&self) -> MutexGuard<'_, Option<GracefulShutdown>> {
        self.graceful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watcher(&self) -> Option<Watcher> {
        self.graceful().as_ref().map(GracefulShutdown::watcher)
    }

    /// Finishes what is being handled, for as long as `grace` at most. Connections that come from now on are closed.
    pub async fn finish(&self, grace: Duration) {
        let graceful = self.graceful().take();
        if let Some(graceful) = graceful {
            let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
        }
    }
}

/// Waits until a server is told to stop.
async fn until(stop: &mut watch::Receiver<bool>) {
    // Who can tell is gone: that says the same.
    drop(stop.wait_for(|stop| *stop).await);
}

/// A request that is being answered.
struct Begun {
    ray: Option<HeaderValue>,
    by: By,
}

/// Who answers a request.
enum By {
    Refusal(Refused),
    Handler {
        answering: Answering,
        upgrade: Option<Upgrade>,
    },
    /// A request by HEAD over HTTP/2.
    Head(Answering),
}

fn begin(handler: Arc<dyn Handler>, mut incoming: http::Request<Incoming>, origin: &Origin) -> Begun {
    let is_peer = origin.is_peer();
    let upgrade = Upgrade::key(incoming.headers()).map(|key| Upgrade {
        on_upgrade: hyper::upgrade::on(&mut incoming),
        key,
        is_peer,
    });
    let head = incoming.method() == Method::HEAD && incoming.version() == Version::HTTP_2;
    match origin.accept(incoming) {
        Ok(request) => {
            let ray = request.headers().get(CF_RAY).cloned();
            let answering = handler.handle(request);
            Begun { ray, by: if head { By::Head(answering) } else { By::Handler { answering, upgrade } } }
        }
        Err(refused) => Begun { ray: Some(ray::new()), by: By::Refusal(refused) },
    }
}

impl Begun {
    async fn finish(self) -> http::Response<Body> {
        let mut response = match self.by {
            By::Refusal(refused) => refuse(refused),
            By::Head(answering) => {
                let mut response = answering.await;
                error_page::name(&mut response, self.ray.as_ref());
                response::without_body(response::prepare(response))
            }
            By::Handler { answering, upgrade: None } => response::prepare(answering.await),
            By::Handler { answering, upgrade: Some(upgrade) } => upgrade.finish(answering.await),
        };
        error_page::name(&mut response, self.ray.as_ref());
        if let Some(ray) = self.ray {
            response.headers_mut().insert(CF_RAY, ray);
        }
        response
    }
}

/// The answer to a request that breaks the rules. The connection is closed: what follows on it cannot be trusted.
fn refuse(refused: Refused) -> http::Response<Body> {
    let (status, title) = match refused {
        Refused::Host | Refused::Target => (StatusCode::BAD_REQUEST, "Bad request"),
        Refused::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "Request body too large"),
    };
    let mut response = Page { status, title, message: &refused.to_string(), detail: None }.response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
