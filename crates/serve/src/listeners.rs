//! The threads of the gateway, one for each core, and the sockets that they share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use skep_exchange::wake;
use skep_gateway::{BindError, Certify, Listener, Server, ServerLimits, SharedListener};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

use crate::ServeError;
use crate::certificates::OnDemand;
use crate::dispatch::{self, Dispatch};
use crate::metrics::{self, Metrics};
use crate::plain::{self, Plain};
use crate::settings::Settings;

/// Who answers what comes to each kind of socket.
#[derive(Clone)]
pub(crate) struct Handlers {
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) plain: Arc<Plain>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Starts the threads. Each tells when it has ended, after `stopped` says so.
pub(crate) fn start(
    threads: Vec<ThreadListeners>,
    handlers: &Handlers,
    stopped: &watch::Receiver<bool>,
    grace: Duration,
) -> io::Result<Vec<oneshot::Receiver<io::Result<()>>>> {
    let start = |listeners: ThreadListeners| {
        let (handlers, stopped) = (handlers.clone(), stopped.clone());
        let (done, finished) = oneshot::channel();
        std::thread::Builder::new().name("skep-gateway".to_owned()).spawn(move || {
            let served = run(listeners, handlers, stopped, grace);
            // The platform is ending if nobody waits for it.
            let _ = done.send(served);
        })?;
        Ok(finished)
    };
    threads.into_iter().map(start).collect()
}

/// One thread of the gateway.
fn run(
    listeners: ThreadListeners,
    handlers: Handlers,
    stopped: watch::Receiver<bool>,
    grace: Duration,
) -> io::Result<()> {
    let _gathering = wake::gather();
    let runtime: Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(wake::flush).build()?;
    runtime.spawn(wake::Hub::run());
    runtime.block_on(async {
        let limits = ServerLimits::default();
        let workers = Server::new(dispatch::Shared(handlers.dispatch), limits);
        let plain = Server::new(plain::Shared(handlers.plain), limits);
        let metrics = Server::new(metrics::Shared(handlers.metrics), limits);
        let main = listeners.main.into_iter().map(|shared| (&workers, shared));
        let http = listeners.http.into_iter().map(|shared| (&plain, shared));
        let told = listeners.metrics.into_iter().map(|shared| (&metrics, shared));
        let serving = main
            .chain(http)
            .chain(told)
            .map(|(server, shared)| Ok(server.serve(shared.listen()?, stopped.clone(), grace)))
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

/// The sockets that the platform listens on.
#[derive(Default)]
pub(crate) struct Sockets {
    main: Vec<Listener>,
    /// Plain HTTP beside TLS.
    http: Vec<Listener>,
    /// Metrics and health.
    metrics: Vec<Listener>,
}

/// The same for one thread of the gateway.
pub(crate) struct ThreadListeners {
    main: Vec<SharedListener>,
    http: Vec<SharedListener>,
    metrics: Vec<SharedListener>,
}

impl Sockets {
    pub(crate) async fn bind(settings: &Settings) -> Result<Self, BindError> {
        let mut sockets = Self::default();
        for (host, port) in &settings.listen {
            sockets.main.push(Listener::bind(host, *port).await?);
        }
        for (host, port) in &settings.listen_http {
            sockets.http.push(Listener::bind(host, *port).await?);
        }
        for (host, port) in &settings.listen_metrics {
            sockets.metrics.push(Listener::bind(host, *port).await?);
        }
        Ok(sockets)
    }

    /// The first address.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        let none = || io::Error::other("there is no address to listen on: give one with --listen");
        self.main.first().ok_or_else(none)?.address()
    }

    /// The sockets for each thread of the gateway. They speak TLS if there are certificates.
    pub(crate) fn for_threads(
        self,
        settings: &Settings,
        on_demand: Option<Arc<OnDemand>>,
    ) -> Result<Vec<ThreadListeners>, ServeError> {
        let main = match (on_demand, &settings.tls) {
            (Some(certify), _) => {
                let certified =
                    |listener: Listener| listener.with_certificates(Arc::clone(&certify) as Arc<dyn Certify>);
                self.main.into_iter().map(certified).collect::<Result<Vec<_>, _>>()?
            }
            (None, Some((chain, key))) => {
                let tls = skep_gateway::certificate(chain, key)?;
                self.main.into_iter().map(|listener| listener.with_tls(Arc::clone(&tls))).collect()
            }
            (None, None) => self.main,
        };
        let share = |listeners: &[Listener]| listeners.iter().map(Listener::share).collect::<io::Result<Vec<_>>>();
        let threads = (0..settings.threads).map(|_| {
            Ok(ThreadListeners { main: share(&main)?, http: share(&self.http)?, metrics: share(&self.metrics)? })
        });
        Ok(threads.collect::<io::Result<_>>()?)
    }
}
