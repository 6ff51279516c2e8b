//! A site under test: the gateway with certificates on demand, a port of HTTP for challenges, and clients that visit it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use skep_acme::{Certificates, Challenge, Event, Limits, Settings};
use skep_exchange::{Body, Request, Response};
use skep_gateway::{Answering, Certify, Handler, Listener, Readying, Server, ServerLimits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::authority::Authority;

/// How long a test waits for something that should come soon.
const PATIENCE: Duration = Duration::from_secs(120);
/// The hosts of this domain are known.
pub(crate) const KNOWN: &str = ".site.example";

/// As the platform has it: the gateway asks, this room answers.
struct Wired(Arc<Certificates>);

impl Certify for Wired {
    fn ready(&self, host: &str) -> Option<Readying> {
        self.0.ready(host)
    }

    fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.0) as Arc<dyn ResolvesServerCert>
    }
}

struct Answers {
    certificates: Arc<Certificates>,
    lies: Arc<AtomicBool>,
}

impl Handler for Answers {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        let (host, path) = (request.uri().host().unwrap_or_default(), request.uri().path());
        let mut response = Response::new(Body::full("hello"));
        if path.starts_with("/.well-known/acme-challenge/") {
            match self.certificates.http_challenge(host, path) {
                Some(_) if self.lies.load(Ordering::Relaxed) => response = Response::new(Body::full("something else")),
                Some(body) => response = Response::new(Body::full(body)),
                None => *response.status_mut() = StatusCode::NOT_FOUND,
            }
        }
        Box::pin(std::future::ready(response))
    }
}

/// What a site is made of.
pub(crate) struct Plan<'p> {
    pub(crate) settings: Settings,
    pub(crate) fallback: Option<CertifiedKey>,
    /// The authority whose certificates clients trust.
    pub(crate) root: &'p str,
    /// The ports of HTTP and of TLS: any, if they are 0.
    pub(crate) ports: (u16, u16),
}

impl<'p> Plan<'p> {
    /// A site that orders from an authority, and is quick to try again.
    pub(crate) fn of(authority: &'p Authority, folder: &Path) -> Self {
        let limits = Limits {
            wait: PATIENCE,
            order: PATIENCE,
            poll: Duration::from_millis(10),
            first_pause: Duration::from_millis(200),
            ..Limits::default()
        };
        let settings = Settings {
            contact: Some("owner@site.example".to_owned()),
            root: Some(authority.root_file()),
            challenges: vec![Challenge::TlsAlpn, Challenge::Http],
            limits,
            ..Settings::new(authority.directory_url(), folder)
        };
        Self { settings, fallback: None, root: authority.root(), ports: (0, 0) }
    }
}

/// A site that serves, until this goes out of scope.
pub(crate) struct Site {
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) http: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// Whether it answers HTTP-01 with something else.
    pub(crate) lies: Arc<AtomicBool>,
    events: watch::Receiver<Vec<Event>>,
    connector: TlsConnector,
    _stop: watch::Sender<bool>,
}

/// What a visitor was given.
pub(crate) struct Visit {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) answer: String,
}

impl Site {
    pub(crate) async fn start(plan: Plan<'_>) -> Self {
        let (told, events) = watch::channel(Vec::new());
        let certificates = Certificates::new(
            plan.settings,
            Arc::new(|host| host.ends_with(KNOWN)),
            plan.fallback,
            Arc::new(move |event| told.send_modify(|events| events.push(event))),
            Handle::current(),
        )
        .expect("settings that can be used");
        let lies = Arc::new(AtomicBool::new(false));
        let answers = || Answers { certificates: Arc::clone(&certificates), lies: Arc::clone(&lies) };
        let http = Listener::bind("127.0.0.1", plan.ports.0).await.expect("a port");
        let tls = Listener::bind("127.0.0.1", plan.ports.1).await.expect("a port");
        let (http_address, tls_address) = (http.address().expect("one"), tls.address().expect("one"));
        let tls = tls.with_certificates(Arc::new(Wired(Arc::clone(&certificates)))).expect("TLS");
        let (stop, stopped) = watch::channel(false);
        // A machine that is busy with other tests takes its time.
        let limits = ServerLimits { handshake_timeout: PATIENCE, header_timeout: PATIENCE, ..ServerLimits::default() };
        for listener in [http, tls] {
            let (server, stopped) = (Server::new(answers(), limits), stopped.clone());
            tokio::spawn(async move { server.serve(listener, stopped, Duration::ZERO).await });
        }
        Self {
            certificates,
            http: http_address,
            tls: tls_address,
            lies,
            events,
            connector: connector(plan.root),
            _stop: stop,
        }
    }

    /// Visits a host as a browser does: the certificate is checked up to the root. An error has what was told besides.
    pub(crate) async fn visit(&self, host: &str) -> Result<Visit, String> {
        self.try_visit(host).await.map_err(|error| format!("{error} after {:?}", self.events()))
    }

    async fn try_visit(&self, host: &str) -> Result<Visit, String> {
        let stream = TcpStream::connect(self.tls).await.expect("a connection");
        let name = ServerName::try_from(host.to_owned()).expect("a name");
        let mut stream = self.connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        // Many visits in one task use up what it may do at once, and then a write leaves its last bytes in the buffer.
        stream.flush().await.map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
        let chain = stream.get_ref().1.peer_certificates().expect("a chain").to_vec();
        let chain = chain.into_iter().map(CertificateDer::into_owned).collect();
        Ok(Visit { chain, answer })
    }

    /// Waits until something was told, and gives the first of it.
    pub(crate) async fn told(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut events = self.events.clone();
        let waiting = events.wait_for(|events| events.iter().any(&wanted));
        let Ok(found) = tokio::time::timeout(PATIENCE, waiting).await else {
            panic!("told were only {:?}", self.events());
        };
        found.expect("the site is there").iter().find(|event| wanted(event)).expect("it was found").clone()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }
}

/// What a server of HTTPS answers, headers and body, to a client that trusts one root.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str, root: &str) -> String {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let mut stream = connector(root).connect(name, stream).await.expect("TLS");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// A client that trusts one root.
fn connector(root: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each visit is a whole handshake: a resumed one would show the certificate of the first.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// A certificate that signs itself, and its PEM to trust it with.
pub(crate) fn own_certificate(host: &str) -> (CertifiedKey, String) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider).expect("a key");
    (certified, made.cert.pem())
}
