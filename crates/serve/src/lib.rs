//! The platform in one process: the gateway takes requests, the pool runs Workers, the control plane takes deploys, the store
//! keeps what must last. State is in one folder; nothing else needs to be installed.
//!
//! Requests are served by threads of their own, one for each core, that share the listening sockets. The control plane and the
//! store have another runtime: what they do never holds up a request.

#![forbid(unsafe_code)]

mod cron;
mod dispatch;
mod eyes;
mod first;
mod promote;
mod proof;
mod service;
mod settings;
mod stop;
mod trial;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use skep_control::{Addresses, Control};
use skep_exchange::wake;
use skep_gateway::{BindError, Listener, Server, ServerLimits, SharedListener, TlsError};
use skep_observe::Tails;
use skep_outbound::{AddressPolicy, Client};
use skep_pool::{Directory, Environment, Observers, Pool};
use skep_store::{Change, KeyError, Store, StoreError};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, watch};

use crate::dispatch::Dispatch;
use crate::eyes::Eyes;
use crate::first::Admin;

pub use service::{Service, ServiceError};
pub use settings::{Given, MasterKey, Settings, SettingsError};

/// Threads of the control plane.
const CONTROL_THREADS: usize = 2;

/// Why the platform does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// The store cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The master key is none.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// A file of the data directory cannot be used.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another process serves the data directory.
    #[error("{0} is in use by another skep serve: stop that one, or give this one another --data-dir")]
    InUse(String),
    /// The command that prints the master key failed.
    #[error("the command of master_key_command failed: {0}")]
    KeyCommand(String),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system refuses something that every system has.
    #[error("could not start: {0}")]
    System(#[from] io::Error),
}

/// Where the platform says what a person should read.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// Serves until SIGTERM or SIGINT. V8 must be initialised.
///
/// # Errors
/// When it cannot start.
pub fn run(settings: &Settings, begun: Instant, tell: Tell) -> Result<(), ServeError> {
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("skep-control")
        .enable_all()
        .build()?;
    let result = control.block_on(serve(settings, begun, tell));
    control.shutdown_background();
    result
}

async fn serve(settings: &Settings, begun: Instant, tell: Tell) -> Result<(), ServeError> {
    let _lock = first::lock(&settings.data_dir)?;
    let keys = first::master_keys(settings)?;
    let store = Store::open(&settings.data_dir, keys).await?;
    let admin = first::account(&store, settings).await?;
    let (listeners, address) = listen(settings).await?;

    let directory = Arc::new(Directory::new(&settings.domain));
    let listening = Arc::clone(&directory);
    let changed = Arc::new(Notify::new());
    let notifying = Arc::clone(&changed);
    let listener = move |changes: &[Change]| {
        listening.apply(changes);
        notifying.notify_one();
    };
    store.subscribe(listener).await?;
    let outbound = outbound(settings)?;
    let eyes = Eyes::new(Tails::start()?);
    let seeing = Arc::clone(&eyes);
    let observer: Observers = Box::new(move |worker, version| seeing.observer(worker, version));
    let pool = Pool::new(
        Arc::clone(&directory),
        store.clone(),
        Environment { runtime: Handle::current(), outbound: outbound.clone(), observer },
    );
    let secure = settings.tls.is_some();
    let addresses = Addresses {
        domain: settings.domain.clone(),
        scheme: if secure { "https" } else { "http" },
        port: Some(address.port()).filter(|port| *port != if secure { 443 } else { 80 }),
    };
    let runtime = skep_control::Runtime {
        trials: Box::new(trial::ThrowAway::new(outbound.clone(), Arc::clone(&pool))),
        crons: Box::new(cron::ByHand(Arc::clone(&pool))),
        proofs: Box::new(proof::Web(outbound)),
        tails: eyes.tails().clone(),
    };
    let control = Control::new(store.clone(), runtime, addresses.clone());
    let (stop, stopped) = watch::channel(false);
    let dispatch =
        Arc::new(Dispatch::new(Arc::clone(&pool), control, Handle::current(), addresses.clone(), Arc::clone(&tell)));

    let threads = listeners.into_iter().map(|shared| {
        let (dispatch, stopped, grace) = (Arc::clone(&dispatch), stopped.clone(), settings.grace);
        let (done, finished) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("skep-gateway".to_owned()).spawn(move || {
            let served = gateway(shared, dispatch, stopped, grace);
            // The platform is ending if nobody waits for it.
            let _ = done.send(served);
        })?;
        Ok(finished)
    });
    let threads = threads.collect::<io::Result<Vec<_>>>()?;
    let (sweeper, tails) = (Arc::clone(&pool), eyes.tails().clone());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(std::time::Duration::from_secs(10));
        loop {
            ticks.tick().await;
            sweeper.sweep();
            tails.sweep();
        }
    });
    tokio::spawn(promote::run(store.clone(), eyes, changed, Arc::clone(&tell)));
    tokio::spawn(cron::run(Arc::clone(&pool), store.clone(), Arc::clone(&tell)));
    announce(settings, &addresses, &admin, &directory, begun, &tell);

    stop::until_told().await?;
    tell("Stopping: no new connections; what is being handled may finish");
    dispatch.not_ready();
    stop.send_replace(true);
    let deadline = Instant::now() + settings.grace;
    for finished in threads {
        if let Ok(served) = finished.await {
            served?;
        }
    }
    if !pool.close(deadline.saturating_duration_since(Instant::now())).await {
        tell("Stopped before every waitUntil() task was done: they took longer than the grace period");
    }
    Ok(())
}

/// One thread of the gateway.
fn gateway(
    listeners: Vec<SharedListener>,
    dispatch: Arc<Dispatch>,
    stopped: watch::Receiver<bool>,
    grace: std::time::Duration,
) -> io::Result<()> {
    let _gathering = wake::gather();
    let runtime: Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(wake::flush).build()?;
    runtime.spawn(wake::Hub::run());
    runtime.block_on(async {
        let server = Server::new(dispatch::Shared(dispatch), ServerLimits::default());
        let serving = listeners
            .into_iter()
            .map(|shared| Ok(server.serve(shared.listen()?, stopped.clone(), grace)))
            .collect::<io::Result<Vec<_>>>()?;
        let mut serving: Vec<_> = serving.into_iter().map(Box::pin).collect();
        std::future::poll_fn(|context| {
            serving.retain_mut(|serving| serving.as_mut().poll(context).is_pending());
            if serving.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        Ok(())
    })
}

/// The sockets for each thread of the gateway, and the first address.
async fn listen(settings: &Settings) -> Result<(Vec<Vec<SharedListener>>, std::net::SocketAddr), ServeError> {
    let mut bound = Vec::new();
    let tls = settings.tls.as_ref().map(|(cert, key)| skep_gateway::certificate(cert, key)).transpose()?;
    for (host, port) in &settings.listen {
        let listener = Listener::bind(host, *port).await?;
        bound.push(match &tls {
            Some(tls) => listener.with_tls(Arc::clone(tls)),
            None => listener,
        });
    }
    let address = match bound.first() {
        Some(listener) => listener.address()?,
        None => return Err(io::Error::other("there is no address to listen on: give one with --listen").into()),
    };
    let threads = (0..settings.threads).map(|_| bound.iter().map(Listener::share).collect::<io::Result<Vec<_>>>());
    Ok((threads.collect::<io::Result<Vec<_>>>()?, address))
}

/// The client for what Workers fetch. Its connections live on the control plane's runtime.
fn outbound(settings: &Settings) -> Result<Client, ServeError> {
    let policy = if settings.allow_loopback { AddressPolicy::with_loopback() } else { AddressPolicy::global_only() };
    Ok(Client::new(policy, Handle::current()))
}

fn announce(
    settings: &Settings,
    addresses: &Addresses,
    admin: &Admin,
    directory: &Directory,
    begun: Instant,
    tell: &Tell,
) {
    let port = addresses.port.map(|port| format!(":{port}")).unwrap_or_default();
    let base = format!("{}://{}{port}", addresses.scheme, settings.domain);
    tell(&format!("Ready on {base} ({} ms), {} Workers", begun.elapsed().as_millis(), directory.len()));
    tell(&format!("Workers answer at {}://<worker>.{}.{}{port}", addresses.scheme, admin.subdomain, settings.domain));
    if admin.is_new {
        let token = admin.token_file.display();
        tell(&format!("A new account was made; its API token is in {token}"));
        tell("Deploy with wrangler:");
        tell(&format!("  export CLOUDFLARE_API_BASE_URL={base}/client/v4"));
        tell(&format!("  export CLOUDFLARE_API_TOKEN=$(cat {token})"));
        tell(&format!("  export CLOUDFLARE_ACCOUNT_ID={}", admin.account_id));
        tell("  npx wrangler deploy");
    }
}
