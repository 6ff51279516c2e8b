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
/// How much of a connection's first request is looked at, in bytes: browsers and commands name the host at its beginning.
const LOOKED_AT: usize = 2048;
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
            let to = To { here, dispatch: Arc::clone(&handlers.dispatch), runtimes: Arc::clone(runtimes) };
            tokio::spawn(give(listener, to, stopped.clone(), grace))
        });
        let http = self.http.into_iter();
        let http = http.map(|listener| own(Server::new(plain::Shared(Arc::clone(&handlers.plain)), limits), listener));
        let told = self.metrics.into_iter();
        let told =
            told.map(|listener| own(Server::new(metrics::Shared(Arc::clone(&handlers.metrics)), limits), listener));
        main.chain(http).chain(told).collect()
    }
}

/// Where connections go.
#[derive(Clone)]
struct To {
    here: Arc<Connections>,
    dispatch: Arc<Dispatch>,
    runtimes: Arc<Runtimes>,
}

/// Gives the connections of a socket without TLS to who runs Workers. HTTP/2 is spoken here: a connection of it has a state that dies with a
/// process. And so is a connection served that begins with a request for the platform itself: whoever wants to know what is wrong with a process
/// must not need it.
async fn give(listener: Listener, to: To, mut stopped: watch::Receiver<bool>, grace: Duration) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Who can tell is gone: that says the same.
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        match accepted {
            Ok((stream, client)) => drop(tokio::spawn(one(stream, client, to.clone()))),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    drop(listener);
    to.here.finish(grace).await;
}

async fn one(stream: TcpStream, client: SocketAddr, to: To) {
    match tokio::time::timeout(FIRST_BYTES, speaks_http2(&stream)).await {
        Ok(Ok(true)) => to.here.serve_here(stream, client, true),
        Ok(Ok(false)) => {
            let mut head = [0; LOOKED_AT];
            // There are some bytes: they were looked at before.
            let length = stream.peek(&mut head).await.unwrap_or(0);
            if first_request(&head[..length]).is_some_and(|(host, path)| to.dispatch.is_for_platform(false, host, path))
            {
                return to.here.serve_here(stream, client, false);
            }
            if let Ok(stream) = stream.into_std() {
                to.runtimes.clients().take(stream, client);
            }
        }
        // A client that says nothing has nothing to be told.
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Host and path of a request in HTTP/1.1, as far as its beginning says them: who answers it looks again. RFC 9112, sections 3 and 5.
/// (Parsers of whole heads promise nothing of one whose end, behind long cookies, is not here.)
fn first_request(head: &[u8]) -> Option<(&str, &str)> {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
    };
    let mut lines = valid.split("\r\n");
    let target = lines.next()?.split(' ').nth(1)?;
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let header = |line: &'_ str| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("host")).is_some();
    let (_, value) = lines.take_while(|line| !line.is_empty()).find(|line| header(line))?.split_once(':')?;
    let host = value.trim();
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(host, _)| host);
    Some((host, path))
}

#[cfg(test)]
mod tests {
    use super::first_request;

    #[test]
    fn the_first_request_says_where_it_goes() {
        let check =
            |head: &str, expect: Option<(&str, &str)>| assert_eq!(first_request(head.as_bytes()), expect, "{head}");
        check("GET /skep/v1/plans?x=1 HTTP/1.1\r\nHost: localhost:8787\r\n\r\n", Some(("localhost", "/skep/v1/plans")));
        check("PUT /a HTTP/1.1\r\naccept: */*\r\nhOsT:  skep.example \r\n", Some(("skep.example", "/a")));
        check("GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", Some(("[::1]", "/")));
        // What comes after the head is a body.
        check("POST / HTTP/1.1\r\na: b\r\n\r\nhost: c", None);
        check("GET / HTTP/1.1\r\nx: y", None);
        check("nonsense", None);
        check("", None);
        assert_eq!(first_request(b"GET /a HTTP/1.1\r\nhost: b\r\nx: \xff\xfe"), Some(("b", "/a")));
    }
}
