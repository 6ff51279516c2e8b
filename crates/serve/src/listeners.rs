//! The sockets that the platform listens on, and where their connections go.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use skep_gateway::{BindError, Certify, Connections, Listener, Server, ServerLimits, speaks_http2};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ServeError;
use crate::certificates::OnDemand;
use crate::dispatch::{Dispatch, OfClients};
use crate::metrics::{self, Metrics};
use crate::plain::{self, Plain};
use crate::runtimes::Runtimes;
use crate::settings::Settings;

/// How long a client may take to say which version of HTTP it speaks.
const FIRST_BYTES: Duration = Duration::from_secs(30);
/// How long it is waited when there is no room for a connection.
const PAUSE: Duration = Duration::from_millis(5);

/// Who answers what comes to each kind of socket.
#[derive(Clone)]
pub(crate) struct Handlers {
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) plain: Arc<Plain>,
    pub(crate) metrics: Arc<Metrics>,
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

    /// The same sockets, speaking TLS if there are certificates.
    pub(crate) fn with_certificates(
        self,
        settings: &Settings,
        on_demand: Option<Arc<OnDemand>>,
    ) -> Result<Self, ServeError> {
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
        Ok(Self { main, ..self })
    }

    /// Takes connections until `stopped` says so, then finishes what is being handled here, for as long as `grace` at most.
    pub(crate) fn serve(
        self,
        handlers: &Handlers,
        runtimes: &Arc<Runtimes>,
        stopped: &watch::Receiver<bool>,
        grace: Duration,
    ) -> Vec<JoinHandle<()>> {
        let limits = ServerLimits::default();
        let own = |server: Server, listener: Listener| {
            let stopped = stopped.clone();
            tokio::spawn(async move { server.serve(listener, stopped, grace).await })
        };
        let workers = || Server::new(OfClients(Arc::clone(&handlers.dispatch)), limits);
        let main = self.main.into_iter().map(|listener| {
            if listener.is_secure() {
                return own(workers(), listener);
            }
            let here = Arc::new(workers().connections());
            tokio::spawn(give(listener, here, Arc::clone(runtimes), stopped.clone(), grace))
        });
        let http = self.http.into_iter();
        let http = http.map(|listener| own(Server::new(plain::Shared(Arc::clone(&handlers.plain)), limits), listener));
        let told = self.metrics.into_iter();
        let told =
            told.map(|listener| own(Server::new(metrics::Shared(Arc::clone(&handlers.metrics)), limits), listener));
        main.chain(http).chain(told).collect()
    }
}

/// Gives the connections of a socket without TLS to who runs Workers. HTTP/2 is spoken here: a connection of it has a state that dies with a
/// process.
async fn give(
    listener: Listener,
    here: Arc<Connections>,
    runtimes: Arc<Runtimes>,
    mut stopped: watch::Receiver<bool>,
    grace: Duration,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Who can tell is gone: that says the same.
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        match accepted {
            Ok((stream, client)) => drop(tokio::spawn(one(stream, client, Arc::clone(&here), Arc::clone(&runtimes)))),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    drop(listener);
    here.finish(grace).await;
}

async fn one(stream: TcpStream, client: SocketAddr, here: Arc<Connections>, runtimes: Arc<Runtimes>) {
    match tokio::time::timeout(FIRST_BYTES, speaks_http2(&stream)).await {
        Ok(Ok(true)) => here.serve_here(stream, client, true),
        Ok(Ok(false)) => {
            if let Ok(stream) = stream.into_std() {
                runtimes.clients().take(stream, client);
            }
        }
        // A client that says nothing has nothing to be told.
        Ok(Err(_)) | Err(_) => {}
    }
}
