//! TLS with certificates that somebody finds: a handshake waits for its host's, a handshake that validates waits for nothing, and
//! carries no request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use skep_exchange::{Body, Request, Response};
use skep_gateway::{Answering, Certify, Handler, Listener, Readying, Server, ServerLimits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const HOST: &str = "one.example";

struct Hello;

impl Handler for Hello {
    fn handle(self: Arc<Self>, _: Request) -> Answering {
        Box::pin(std::future::ready(Response::new(Body::full("hello"))))
    }
}

/// Has a certificate for one host, once it is told to have it.
#[derive(Debug)]
struct Finds {
    key: Arc<CertifiedKey>,
    found: Mutex<bool>,
    asked: Notify,
    now: Notify,
}

impl ResolvesServerCert for Finds {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let validates = hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == b"acme-tls/1"));
        (validates || *self.found.lock().unwrap()).then(|| Arc::clone(&self.key))
    }
}

struct Shared(Arc<Finds>);

impl Certify for Shared {
    fn ready(&self, host: &str) -> Option<Readying> {
        assert_eq!(host, HOST);
        let finds = Arc::clone(&self.0);
        let found = *finds.found.lock().unwrap();
        (!found).then(|| -> Readying {
            Box::pin(async move {
                finds.asked.notify_one();
                finds.now.notified().await;
            })
        })
    }

    fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.0) as Arc<dyn ResolvesServerCert>
    }
}

struct Running {
    address: SocketAddr,
    finds: Arc<Finds>,
    roots: RootCertStore,
    _stop: watch::Sender<bool>,
}

impl Running {
    async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = Arc::new(CertifiedKey::from_der(vec![certificate.clone()], key, &provider).unwrap());
        let finds = Arc::new(Finds { key, found: Mutex::new(false), asked: Notify::new(), now: Notify::new() });
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let listener = Listener::bind("127.0.0.1", 0).await.unwrap();
        let address = listener.address().unwrap();
        let listener = listener.with_certificates(Arc::new(Shared(Arc::clone(&finds)))).unwrap();
        // As the platform does: the socket goes to another thread's runtime.
        let listener = listener.share().unwrap().listen().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = Server::new(Hello, ServerLimits::default());
        tokio::spawn(async move { server.serve(listener, stopped, Duration::ZERO).await });
        Self { address, finds, roots, _stop: stop }
    }

    async fn connect(&self, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(HOST).unwrap(), stream).await
    }

    /// What a connection answers to a request until it ends.
    async fn ask(&self, stream: &mut TlsStream<TcpStream>) -> String {
        // A connection that is closed already takes no request.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: one.example\r\nConnection: close\r\n\r\n").await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }
}

#[tokio::test]
async fn a_handshake_waits_for_its_certificate() {
    let running = Running::start().await;
    let finding = async {
        running.finds.asked.notified().await;
        *running.finds.found.lock().unwrap() = true;
        running.finds.now.notify_one();
    };
    let (stream, ()) = tokio::join!(running.connect(&["http/1.1"]), finding);
    assert!(running.ask(&mut stream.unwrap()).await.ends_with("hello"));
    let stream = running.connect(&["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn a_handshake_without_a_certificate_is_refused() {
    let running = Running::start().await;
    running.finds.now.notify_one();
    running.connect(&["http/1.1"]).await.unwrap_err();
}

#[tokio::test]
async fn a_handshake_that_validates_waits_for_nothing_and_carries_nothing() {
    let running = Running::start().await;
    let mut stream = running.connect(&["acme-tls/1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    assert_eq!(running.ask(&mut stream).await, "");
}
