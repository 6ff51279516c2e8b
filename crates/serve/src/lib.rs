//! The platform in one process: the gateway takes requests, the pool runs Workers, the control plane takes deploys, the store
//! keeps what must last. State is in one folder; nothing else needs to be installed.
//!
//! Requests are served by threads of their own, one for each core, that share the listening sockets. The control plane and the
//! store have another runtime: what they do never holds up a request.

#![forbid(unsafe_code)]

mod certificates;
mod cron;
mod dispatch;
mod eyes;
mod first;
mod listeners;
mod machine;
mod master_key;
mod metrics;
mod plain;
mod promote;
mod proof;
mod service;
mod settings;
mod stop;
mod trial;
mod unused;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use skep_control::{Addresses, Control};
use skep_gateway::{BindError, TlsError};
use skep_observe::Tails;
use skep_outbound::{AddressPolicy, Client};
use skep_pool::{Directory, Environment, Observers, Pool};
use skep_store::{Change, KeyError, Store, StoreError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::certificates::OnDemand;
use crate::dispatch::Dispatch;
use crate::eyes::Eyes;
use crate::first::Admin;
use crate::listeners::{Handlers, Sockets};
use crate::master_key::Keeper;
use crate::metrics::Metrics;
use crate::plain::Plain;

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
    /// Certificates cannot be ordered.
    #[error(transparent)]
    Acme(#[from] skep_acme::SetupError),
    /// The system does not say which DNS servers it has.
    #[error("the system's DNS servers are not known: {0}. Give others with dns_servers")]
    Dns(String),
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
    let (keys, place) = master_key::read(settings)?;
    let store = Store::open(&settings.data_dir, keys).await?;
    let keeper = Keeper::new(store.clone(), place, !settings.former_master_keys.is_empty());
    let admin = first::account(&store, settings).await?;
    let sockets = Sockets::bind(settings).await?;
    let address = sockets.address()?;

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
        Environment { runtime: Handle::current(), outbound: outbound.clone(), observer, capacity: settings.capacity },
    );
    let secure = settings.tls.is_some() || settings.acme.is_some();
    let addresses = Addresses {
        domain: settings.domain.clone(),
        scheme: if secure { "https" } else { "http" },
        port: Some(address.port()).filter(|port| *port != if secure { 443 } else { 80 }),
    };
    let runtime = skep_control::Runtime {
        trials: Box::new(trial::ThrowAway::new(outbound.clone(), Arc::clone(&pool))),
        crons: Box::new(cron::ByHand(Arc::clone(&pool))),
        proofs: Box::new(proofs(settings, outbound)?),
        rotations: Box::new(keeper.clone()),
        tails: eyes.tails().clone(),
    };
    let control = Control::new(store.clone(), runtime, addresses.clone());
    let (stop, stopped) = watch::channel(false);
    let dispatch =
        Arc::new(Dispatch::new(Arc::clone(&pool), control, Handle::current(), addresses.clone(), Arc::clone(&tell)));

    let on_demand = match &settings.acme {
        Some(acme) => Some(OnDemand::new(acme, settings, &pool, &tell)?),
        None => None,
    };
    let metrics = Arc::new(Metrics::new(Arc::clone(&pool), Arc::clone(&dispatch)));
    let plain = Arc::new(Plain { certificates: on_demand.clone(), port: addresses.port });
    let listeners = sockets.for_threads(settings, on_demand)?;
    let handlers = Handlers { dispatch: Arc::clone(&dispatch), plain, metrics };
    let threads = listeners::start(listeners, &handlers, &stopped, settings.grace)?;
    let (sweeper, tails) = (Arc::clone(&pool), eyes.tails().clone());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(std::time::Duration::from_secs(2));
        loop {
            ticks.tick().await;
            if sweeper.tend(machine::memory()) {
                // What is blocked meanwhile is this runtime's, and no request.
                drop(tokio::task::spawn_blocking(skep_isolate::release_memory).await);
            }
            tails.sweep();
        }
    });
    tokio::spawn(unused::run(store.clone(), Arc::clone(&tell)));
    tokio::spawn(promote::run(store.clone(), eyes, changed, Arc::clone(&tell)));
    tokio::spawn(cron::run(Arc::clone(&pool), store.clone(), Arc::clone(&tell)));
    announce(settings, &addresses, &admin, &directory, begun, &tell);
    tokio::spawn(keeper.after_start(Arc::clone(&tell)));

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

/// Looks for proofs of domains.
fn proofs(settings: &Settings, client: Client) -> Result<proof::Proofs, ServeError> {
    let where_to =
        skep_acme::ProofSettings { dns: settings.dns_servers.clone(), ..skep_acme::ProofSettings::default() };
    let proofs = skep_acme::Proofs::new(&where_to, client).map_err(|error| ServeError::Dns(error.to_string()))?;
    Ok(proof::Proofs(proofs))
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
