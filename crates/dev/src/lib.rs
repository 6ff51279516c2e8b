//! The development server: builds a project, serves it, and has a saved file live before a hand has left the keyboard.
//!
//! One thread serves requests and the debugger's port, one builds ([`builder`]), each isolate has its own. Files that a
//! build has read are watched ([`watch`]); a request that comes during a reload waits for it ([`live`]); a broken build
//! leaves the version before it in place. Static assets are asked before the isolate ([`served`]), and change without it. Limits
//! are those of production.

#![forbid(unsafe_code)]

mod assets;
mod builder;
mod inspector;
mod keys;
mod live;
mod log;
mod page;
mod port;
mod printer;
mod serve;
mod served;
mod services;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_bundle::Project;
use skep_exchange::wake;
use skep_gateway::{BindError, Listener, Server, ServerLimits, TlsError, self_signed};
use skep_isolate::MemoryCache;
use skep_observe::Observer;
use skep_outbound::{AddressPolicy, Client};
use skep_worker::Version;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch as channel};

use crate::builder::Builder;
use crate::inspector::InspectorHandler;
use crate::keys::{Key, Keyboard};
use crate::live::LiveSender;
use crate::log::{RequestLog, TerminalObserver};
use crate::serve::DevHandler;
use crate::services::DevServices;
use crate::watch::Watcher;

pub use printer::Printer;

/// The port that is tried first when nobody names one: wrangler's.
pub const DEFAULT_PORT: u16 = 8787;
/// The debugger's port that is tried first: Node's.
pub const DEFAULT_INSPECTOR_PORT: u16 = 9229;
/// What responses may be cached in memory, in bytes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// How long requests may take to finish after the server was told to stop. Ctrl-C ends at once.
const GRACE: Duration = Duration::from_millis(100);

/// How a project is served.
#[derive(Clone)]
pub struct Options {
    /// What is built.
    pub build: skep_bundle::Options,
    /// The address to listen on, in place of the configuration's and `localhost`.
    pub host: Option<String>,
    /// The port, in place of the configuration's and [`DEFAULT_PORT`]; 0 takes any free one.
    pub port: Option<u16>,
    /// Whether to speak TLS with a certificate that signs itself, in place of the configuration's word.
    pub https: Option<bool>,
    /// The debugger's port, in place of the configuration's and [`DEFAULT_INSPECTOR_PORT`]; 0 takes any free one.
    pub inspector_port: Option<u16>,
    /// Whether `/__scheduled` runs the scheduled handler.
    pub test_scheduled: bool,
    /// When the command began, to say how long it took.
    pub begun: Instant,
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The address cannot be listened on.
    #[error("{0}")]
    Bind(String),
    /// The project's configuration cannot be read, or its script is not there.
    #[error(transparent)]
    Project(#[from] skep_bundle::BuildError),
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system refuses something that every system has.
    #[error("could not start: {0}")]
    System(#[from] std::io::Error),
}

/// Serves a project until it is told to stop: by a key, by SIGINT or by SIGTERM. V8 must be initialised.
///
/// # Errors
/// When it cannot start: that is for a configuration too that cannot be read, and a script that is not there. Code that cannot be
/// built is no error: it may be mended while the server runs.
pub fn run(options: Options, printer: &Printer) -> Result<(), DevError> {
    let _gathering = wake::gather();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(wake::flush).build()?;
    tokio.spawn(wake::Hub::run());
    let result = tokio.block_on(serve(options, printer));
    // What is still being handled ends with the process.
    tokio.shutdown_background();
    printer.close();
    result
}

/// What the build thread tells when it has read the project.
struct Opened {
    worker: String,
    dev: skep_bundle::config::Dev,
}

async fn serve(options: Options, printer: &Printer) -> Result<(), DevError> {
    let (live_sender, live) = LiveSender::new();
    let (worker_sender, worker) = channel::channel("Worker".to_owned());
    let opened = spawn_builder(&options, live_sender, printer)?;
    // The configuration may name the port.
    let dev = match opened.await {
        Ok(Ok(opened)) => {
            worker_sender.send_replace(opened.worker);
            opened.dev
        }
        Ok(Err(error)) => {
            error.warnings.iter().for_each(|warning| printer.error_line(&printer.paint("33", &warning.to_string())));
            return Err(error.into());
        }
        // The thread that builds has said why it ended.
        Err(_) => skep_bundle::config::Dev::default(),
    };
    let listening = listen(&options, &dev).await?;
    let inspector = listen_inspector(&options, &dev).await;
    live::settled(&mut live.clone()).await;
    announce(&options, &listening, inspector.as_ref(), printer);
    let (stop, stopped) = channel::channel(false);
    let handler = DevHandler {
        live: live.clone(),
        log: RequestLog::new(printer.clone()),
        test_scheduled: options.test_scheduled,
    };
    let server = Server::new(handler, ServerLimits::default());
    let serving = server.serve(listening.listener, stopped.clone(), GRACE);
    let debugging = async {
        if let Some(inspector) = inspector {
            let handler = InspectorHandler { live, worker };
            Server::new(handler, ServerLimits::default()).serve(inspector.listener, stopped, GRACE).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let url = listening.url.clone();
    tokio::select! {
        () = serving => {}
        () = debugging => {}
        outcome = until_told(&url, printer) => outcome?,
    }
    drop(stop);
    Ok(())
}

/// Waits until a person or the system wants the server to stop.
async fn until_told(url: &str, printer: &Printer) -> Result<(), DevError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let keyboard = Keyboard::open(printer);
    let (_keyboard, mut keys) = match keyboard {
        Some((keyboard, keys)) => {
            printer.line(&printer.paint("2", "[b] open the browser  [d] debugger  [c] clear  [x] exit"));
            (Some(keyboard), keys)
        }
        None => (None, mpsc::channel(1).1),
    };
    loop {
        let key = tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            Some(key) = keys.recv() => key,
        };
        match key {
            Key::Exit => return Ok(()),
            Key::Clear => printer.line("\u{1b}[2J\u{1b}[3J\u{1b}[H"),
            Key::Browser => open_browser(url, printer),
            Key::Debugger => {
                printer.line("Open chrome://inspect in Chrome, or attach VS Code to the debugger's port above")
            }
        }
    }
}

fn open_browser(url: &str, printer: &Printer) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let spawned = std::process::Command::new(program)
        .arg(url)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    if spawned.is_err() {
        printer.error_line(&format!("{program} could not be started: open {url} yourself"));
    }
}

/// Starts the thread that builds. Gives what it learns of the project.
fn spawn_builder(
    options: &Options,
    live: LiveSender,
    printer: &Printer,
) -> Result<oneshot::Receiver<Result<Opened, skep_bundle::BuildError>>, DevError> {
    let (sender, receiver) = oneshot::channel();
    let outbound = Client::new(AddressPolicy::with_loopback(), tokio::runtime::Handle::current());
    let cache = Arc::new(MemoryCache::new(CACHE_BYTES));
    let observer: Arc<dyn Observer> = Arc::new(TerminalObserver { printer: printer.clone() });
    let colors = printer.colors();
    let isolate = move |version: Arc<Version>, services: Arc<DevServices>| skep_isolate::Options {
        version,
        outbound: outbound.clone(),
        cache: Arc::clone(&cache) as Arc<dyn skep_isolate::CacheStore>,
        observer: Arc::clone(&observer),
        services,
        colors,
        inspector: true,
        code: skep_isolate::Code::Compile,
        witness: Arc::new(skep_isolate::NoWitness),
    };
    let opened = move |project: Result<&Project, skep_bundle::BuildError>| {
        let opened = project.map(|project| {
            let config = project.config();
            Opened { worker: config.name.clone().unwrap_or_else(|| "Worker".to_owned()), dev: config.dev.clone() }
        });
        // The server may be stopping.
        drop(sender.send(opened));
    };
    let builder = Builder {
        options: options.build.clone(),
        live,
        printer: printer.clone(),
        isolate: Box::new(isolate),
        opened: Box::new(opened),
    };
    let complaints = printer.clone();
    std::thread::Builder::new().name("build".to_owned()).spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("build").enable_all().build();
        match runtime {
            Ok(runtime) => {
                let watcher = Watcher::new(|complaint| complaints.error_line(complaint));
                runtime.block_on(builder.run(watcher));
            }
            Err(error) => complaints.error_line(&format!("the build could not start: {error}")),
        }
    })?;
    Ok(receiver)
}

/// A socket, and how to reach it.
struct Listening {
    listener: Listener,
    address: std::net::SocketAddr,
    url: String,
}

async fn listen(options: &Options, dev: &skep_bundle::config::Dev) -> Result<Listening, DevError> {
    let host = options
        .host
        .clone()
        .or_else(|| dev.ip.map(|address| address.to_string()))
        .unwrap_or_else(|| "localhost".to_owned());
    let port = options.port.or(dev.port).unwrap_or(DEFAULT_PORT);
    let https = options.https.unwrap_or(dev.https);
    let host = if host == "*" { "0.0.0.0".to_owned() } else { host };
    let listener = match Listener::bind(&host, port).await {
        Ok(listener) => listener,
        Err(error @ BindError::InUse { .. }) => return Err(DevError::Bind(port::in_use(&error, &host, port))),
        Err(error) => return Err(DevError::Bind(error.to_string())),
    };
    let address = listener.address()?;
    let shown = if host == "0.0.0.0" || host == "::" { "localhost".to_owned() } else { host.clone() };
    let shown = if shown.contains(':') { format!("[{shown}]") } else { shown };
    let scheme = if https { "https" } else { "http" };
    let listener =
        if https { listener.with_tls(self_signed(vec![shown.clone(), "localhost".to_owned()])?) } else { listener };
    Ok(Listening { listener, address, url: format!("{scheme}://{shown}:{}", address.port()) })
}

/// The debugger's socket. Another one's port is no reason not to run: the next free one serves as well.
async fn listen_inspector(options: &Options, dev: &skep_bundle::config::Dev) -> Option<Listening> {
    let wanted = options.inspector_port.or(dev.inspector_port).unwrap_or(DEFAULT_INSPECTOR_PORT);
    let mut listener = Listener::bind("127.0.0.1", wanted).await;
    if listener.is_err() {
        listener = Listener::bind("127.0.0.1", 0).await;
    }
    let listener = listener.ok()?;
    let address = listener.address().ok()?;
    Some(Listening { listener, address, url: format!("ws://{address}") })
}

fn announce(options: &Options, listening: &Listening, inspector: Option<&Listening>, printer: &Printer) {
    let time = options.begun.elapsed().as_millis();
    let url = printer.paint("36", &listening.url);
    printer.line(&format!("Ready on {url} ({time} ms)"));
    if let Some(inspector) = inspector {
        printer.line(&printer.paint("2", &format!("Debugger listening on {}", inspector.address)));
    }
    if !listening.address.ip().is_loopback() {
        printer.line(&printer.paint("2", &format!("Listening on {}: other machines can reach it", listening.address)));
    }
}
