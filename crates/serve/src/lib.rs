//! The platform: the supervisor, which has the sockets, the control plane and the store, and the processes that run Workers, which it starts
//! ([`runtimes`]). State is in one folder; nothing else needs to be installed.
//!
//! A client's plain connection is given to a process that runs Workers, and answered there. TLS and HTTP/2 are spoken here, so that keys
//! stay here and connections survive what runs Workers.

#![forbid(unsafe_code)]

mod calls;
mod canary;
mod certificates;
mod clock;
mod consumers;
mod cron;
mod delivery;
mod dispatch;
mod eyes;
mod first;
mod health;
mod kept;
mod listeners;
mod machine;
mod master_key;
mod metering;
mod metrics;
mod plain;
mod promote;
mod proof;
mod runtimes;
mod series;
mod service;
mod settings;
mod source;
mod stop;
mod traces;
mod trial;
mod unused;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_control::{Addresses, Control};
use skep_gateway::{BindError, Server, ServerLimits, TlsError};
use skep_link::Setup;
use skep_observe::Tails;
use skep_outbound::{AddressPolicy, Client};
use skep_pool::Directory;
use skep_store::{Change, KeyError, Store, StoreError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::calls::Calls;
use crate::canary::Canary;
use crate::certificates::{Expiries, OnDemand};
use crate::consumers::Consumers;
use crate::delivery::{Delivery, OfOutbox};
use crate::dispatch::Dispatch;
use crate::eyes::Eyes;
use crate::first::{Admin, failed};
use crate::health::{Health, Watch};
use crate::listeners::{Handlers, Sockets};
use crate::master_key::Keeper;
use crate::metering::{Metering, OfLedger};
use crate::metrics::{Metrics, Watched};
use crate::plain::Plain;
use crate::runtimes::{Doors, Runtimes};
use crate::series::Series;
use crate::source::Stored;

pub use delivery::{DeliveryError, DeliverySettings};
pub use first::lock;
pub use metering::PlansError;
pub use service::{Service, ServiceError};
pub use settings::{Given, HealthSettings, LogSettings, MasterKey, Settings, SettingsError};

/// The least threads there are.
const THREADS: usize = 2;
/// How long the last traces may take when the platform stops.
const LAST_TRACES: Duration = Duration::from_secs(2);
/// The largest body of a call in bytes: events that somebody watches.
const LARGEST_CALL: u64 = 256 << 20;

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
    /// What is used cannot be written down.
    #[error(transparent)]
    Ledger(#[from] skep_meter::LedgerError),
    /// Traces cannot be told.
    #[error("[traces] of the settings: {0}")]
    Traces(#[from] skep_telemetry::ConfigError),
    /// What is to be told to the outside world cannot be.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// A plan is none.
    #[error(transparent)]
    Plans(#[from] PlansError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Certificates cannot be ordered.
    #[error(transparent)]
    Acme(#[from] skep_acme::SetupError),
    /// The system does not say which DNS servers it has.
    #[error("the system's DNS servers are not known: {0}. Give others with dns_servers")]
    Dns(String),
    /// What runs Workers does not start.
    #[error(
        "the process that runs Workers does not start: the lines above say why. `--sandbox false` starts it without its sandbox"
    )]
    NoRuntime,
    /// The system refuses something that every system has.
    #[error("could not start: {0}")]
    System(#[from] io::Error),
}

/// Where the platform says what a person should read.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// Serves until SIGTERM or SIGINT. It starts this same program as `skep runtime` to run Workers.
///
/// # Errors
/// When it cannot start.
pub fn run(settings: &Settings, begun: Instant, tell: Tell) -> Result<(), ServeError> {
    machine::raise_descriptors();
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.threads.max(THREADS))
        .thread_name("skep-supervisor")
        .enable_all()
        .build()?;
    let result = threads.block_on(serve(settings, begun, tell));
    threads.shutdown_background();
    result
}

async fn serve(settings: &Settings, begun: Instant, tell: Tell) -> Result<(), ServeError> {
    let _lock = lock(&settings.data_dir)?;
    let (keys, place) = master_key::read(settings)?;
    let store = Store::open(&settings.data_dir, keys).await?;
    let keeper = Keeper::new(store.clone(), place, !settings.former_master_keys.is_empty());
    let admin = first::account(&store, settings).await?;
    let sockets = Sockets::bind(settings).await?;
    let address = sockets.address()?;
    let secure = settings.tls.is_some() || settings.acme.is_some();
    let addresses = Addresses {
        domain: settings.domain.clone(),
        scheme: if secure { "https" } else { "http" },
        port: Some(address.port()).filter(|port| *port != if secure { 443 } else { 80 }),
    };

    let directory = Arc::new(Directory::new(&settings.domain));
    let tails = Tails::start()?;
    let setup = setup(settings, &addresses)?;
    let (runtimes, waiting) =
        Runtimes::new(setup, store.clone(), Arc::clone(&directory), tails.clone(), Arc::clone(&tell));
    let consumers = Consumers::new(Arc::clone(&directory), Arc::clone(&runtimes), Arc::clone(&tell));
    let logs = kept::open(settings, &tell)?;
    let exporter = kept::exporter(settings, &tell)?;
    let (keeping, exporting) = (logs.clone(), exporter.clone());
    let (seen, kept) = (tails.clone(), logs.clone());
    let instance = Uuid::new_v4().to_string();
    tails.on_event(move |told| {
        consumers.take(told);
        if let Some(exporter) = &exporting {
            exporter.export(traces::spans(told, &instance));
        }
        if let Some(logs) = &keeping
            && let Some(entry) = kept::entry(told)
        {
            logs.append(entry);
        }
    });
    let delivery = Delivery::start(&settings.delivery, &settings.data_dir, Arc::clone(&tell))?;
    runtimes.tell_people(&delivery);
    let clock = clock::of_machine();
    let metering = Metering::open(settings, store.clone(), Arc::clone(&runtimes), &delivery, &tell, clock).await?;
    let source = Arc::new(Stored(store.clone()));
    let on_demand = match &settings.acme {
        Some(acme) => Some(OnDemand::new(acme, settings, &directory, Arc::clone(&source), &tell)?),
        None => None,
    };
    let (series, missed) = (Series::new(settings.metrics_workers), Arc::default());
    let (changed, listening) = (Arc::new(Notify::new()), Arc::clone(&runtimes));
    let notifying = Arc::clone(&changed);
    let listener = move |changes: &[Change]| {
        listening.changed(changes);
        notifying.notify_one();
    };
    store.subscribe(listener).await?;
    let canary = Arc::new(Canary::new(store.clone()));
    let parts = health::Parts {
        settings: settings.health.clone(),
        data_dir: settings.data_dir.clone(),
        address: base(settings, &addresses),
        memory_limit: settings.capacity.memory,
        store: store.clone(),
        runtimes: Arc::clone(&runtimes),
        series: Arc::clone(&series),
        metering: Arc::clone(&metering),
        delivery: Arc::clone(&delivery),
        canary: Arc::clone(&canary),
        expiries: Expiries::new(settings, on_demand.clone())?,
        tell: Arc::clone(&tell),
    };
    let health = Health::new(parts).map_err(failed(&settings.data_dir))?;
    let runtime = skep_control::Runtime {
        trials: Box::new(trial::Elsewhere(Arc::clone(&runtimes))),
        crons: Box::new(cron::ByHand { runtimes: Arc::clone(&runtimes), directory: Arc::clone(&directory) }),
        proofs: Box::new(proofs(settings, outbound(settings))?),
        rotations: Box::new(keeper.clone()),
        tails: tails.clone(),
        bills: Box::new(OfLedger(Arc::clone(&metering))),
        logs,
        insights: Box::new(Watch { series: Arc::clone(&series), health: Arc::clone(&health) }),
        deliveries: Box::new(OfOutbox(Arc::clone(&delivery))),
    };
    let control = Control::new(store.clone(), runtime, addresses.clone());
    let dispatch = Arc::new(Dispatch {
        control,
        directory: Arc::clone(&directory),
        runtimes: Arc::clone(&runtimes),
        dashboard: settings.dashboard,
    });
    let running = {
        let limits = ServerLimits { request_body: LARGEST_CALL, ..ServerLimits::default() };
        let calls = Calls {
            source,
            canary,
            tails: tails.clone(),
            metering: Arc::clone(&metering),
            series: Arc::clone(&series),
            missed: Arc::clone(&missed),
        };
        let doors = Doors {
            requests: Server::new(dispatch::OfRuntimes(Arc::clone(&dispatch)), ServerLimits::default()).connections(),
            calls: Server::new(calls::Shared(Arc::new(calls)), limits).connections(),
        };
        tokio::spawn(Arc::clone(&runtimes).run(doors, waiting))
    };

    let metrics = Arc::new(Metrics::new(Watched {
        runtimes: Arc::clone(&runtimes),
        directory: Arc::clone(&directory),
        memory_limit: settings.capacity.memory,
        series,
        metering: Arc::clone(&metering),
        delivery: Arc::clone(&delivery),
        missed,
        health: Arc::clone(&health),
    }));
    let plain = Arc::new(Plain { certificates: on_demand.clone(), port: addresses.port });
    let (stop, stopped) = watch::channel(false);
    let handlers = Handlers { dispatch, plain, metrics: Arc::clone(&metrics) };
    // The first request need not wait for the process that answers it.
    if runtimes.current().await.is_none() {
        return Err(ServeError::NoRuntime);
    }
    let listening =
        sockets.with_certificates(settings, on_demand)?.serve(&handlers, &runtimes, &stopped, settings.grace);
    let sweeping = tails.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(2));
        loop {
            ticks.tick().await;
            sweeping.sweep();
        }
    });
    let eyes = Eyes::new(tails, Arc::clone(&runtimes));
    tokio::spawn(health.run());
    tokio::spawn(Arc::clone(&metering).tend());
    tokio::spawn(Arc::clone(&metering).look());
    let (ledger, settled) = (Arc::clone(metering.ledger()), Arc::clone(&metering));
    tokio::spawn(delivery.export(ledger, move || settled.settled()));
    tokio::spawn(unused::run(store.clone(), Arc::clone(&tell)));
    tokio::spawn(promote::run(store.clone(), eyes, changed, Arc::clone(&tell)));
    tokio::spawn(cron::run(Arc::clone(&runtimes), Arc::clone(&directory), store.clone(), Arc::clone(&tell)));
    announce(settings, &addresses, &admin, &directory, begun, &tell);
    tokio::spawn(keeper.after_start(Arc::clone(&tell)));

    stop::until_told().await?;
    tell("Stopping: no new connections; what is being handled may finish");
    metrics.not_ready();
    stop.send_replace(true);
    runtimes.stop(settings.grace);
    drop(running.await);
    runtimes.clients().close_all();
    for listening in listening {
        drop(listening.await);
    }
    // What the processes saw last goes where it belongs.
    let last = move || {
        seen.flush();
        if let Some(logs) = kept {
            logs.flush();
        }
    };
    drop(tokio::task::spawn_blocking(last).await);
    if let Some(exporter) = exporter
        && let Err(error) = exporter.flush(LAST_TRACES).await
    {
        tell(&error.to_string());
    }
    Ok(())
}

/// How the processes are to be that run Workers.
fn setup(settings: &Settings, addresses: &Addresses) -> Result<Setup, ServeError> {
    let capacity = &settings.capacity;
    Ok(Setup {
        data_dir: std::path::absolute(&settings.data_dir)?,
        domain: settings.domain.clone(),
        port: addresses.port,
        secure: addresses.scheme == "https",
        threads: settings.threads,
        allow_loopback: settings.allow_loopback,
        per_worker: capacity.per_worker,
        per_account: capacity.per_account,
        memory: capacity.memory,
        keep_alive: u64::try_from(capacity.keep_alive.as_millis()).unwrap_or(u64::MAX),
        spares: capacity.spares,
        events_per_second: settings.logs.per_second,
        traces: settings.traces.is_some(),
        sandbox: settings.sandbox,
    })
}

/// Looks for proofs of domains.
fn proofs(settings: &Settings, client: Client) -> Result<proof::Proofs, ServeError> {
    let where_to =
        skep_acme::ProofSettings { dns: settings.dns_servers.clone(), ..skep_acme::ProofSettings::default() };
    let proofs = skep_acme::Proofs::new(&where_to, client).map_err(|error| ServeError::Dns(error.to_string()))?;
    Ok(proof::Proofs(proofs))
}

/// The client for the platform's own questions, such as proofs of domains.
fn outbound(settings: &Settings) -> Client {
    let policy = if settings.allow_loopback { AddressPolicy::with_loopback() } else { AddressPolicy::global_only() };
    Client::new(policy, Handle::current())
}

/// The port as it is in addresses.
fn port(addresses: &Addresses) -> String {
    addresses.port.map(|port| format!(":{port}")).unwrap_or_default()
}

/// Where the platform answers.
fn base(settings: &Settings, addresses: &Addresses) -> String {
    format!("{}://{}{}", addresses.scheme, settings.domain, port(addresses))
}

fn announce(
    settings: &Settings,
    addresses: &Addresses,
    admin: &Admin,
    directory: &Directory,
    begun: Instant,
    tell: &Tell,
) {
    let port = port(addresses);
    let base = base(settings, addresses);
    tell(&format!("Ready on {base} ({} ms), {} Workers", begun.elapsed().as_millis(), directory.len()));
    if settings.dashboard {
        tell(&format!("The dashboard is at {base}/dashboard/"));
    }
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
