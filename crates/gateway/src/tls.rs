//! TLS: certificates from files, from somebody who finds them for each host, and for development one that signs itself.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert, WantsServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, ServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

/// The protocols of requests, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// The protocol of a handshake by which a certificate authority validates a host. RFC 8737, section 6.2.
const VALIDATION: &[u8] = b"acme-tls/1";

/// A certificate that is under way. It must end in a bounded time, with a certificate or without.
pub type Readying = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who finds the certificate for each host.
pub trait Certify: Send + Sync {
    /// Called between a client's greeting and the rest of the handshake, with the host that it names: what to wait for before the
    /// certificate is asked for, if there is something. Not called for handshakes of the protocol `acme-tls/1`. It must not block.
    fn ready(&self, host: &str) -> Option<Readying>;

    /// Who gives the certificates. It is also asked in handshakes of `acme-tls/1`, for certificates of challenges.
    fn resolver(&self) -> Arc<dyn ResolvesServerCert>;
}

/// How a listener speaks TLS.
#[derive(Clone)]
pub(crate) enum Tls {
    /// With one configuration for every host.
    Fixed(Arc<ServerConfig>),
    /// With a certificate that may have to be waited for.
    Certified { config: Arc<ServerConfig>, certify: Arc<dyn Certify> },
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Certified { .. } => "Certified",
        })
    }
}

impl Tls {
    /// Certificates that somebody finds.
    pub(crate) fn certified(certify: Arc<dyn Certify>) -> Result<Self, TlsError> {
        let mut config = builder()?.with_cert_resolver(certify.resolver());
        config.alpn_protocols = PROTOCOLS.iter().chain([&VALIDATION]).map(|protocol| protocol.to_vec()).collect();
        Ok(Self::Certified { config: Arc::new(config), certify })
    }

    /// The handshake, of which each part may take so long. Nothing if the client broke it off, or wanted nothing but the handshake.
    pub(crate) async fn accept(self, stream: TcpStream, limit: Duration) -> Option<TlsStream<TcpStream>> {
        let (config, certify) = match self {
            Self::Fixed(config) => return timeout(limit, TlsAcceptor::from(config).accept(stream)).await.ok()?.ok(),
            Self::Certified { config, certify } => (config, certify),
        };
        let start = timeout(limit, LazyConfigAcceptor::new(Acceptor::default(), stream)).await.ok()?.ok()?;
        let hello = start.client_hello();
        let validates = validates(&hello);
        // What validates is a part of getting the certificate: it would wait for itself.
        let readying = hello.server_name().filter(|_| !validates).and_then(|host| certify.ready(host));
        if let Some(readying) = readying {
            readying.await;
        }
        let mut stream = timeout(limit, start.into_stream(config)).await.ok()?.ok()?;
        if stream.get_ref().1.alpn_protocol() == Some(VALIDATION) {
            // No request may follow. A client that is gone already need not be told.
            drop(timeout(limit, stream.shutdown()).await);
            return None;
        }
        Some(stream)
    }
}

/// Whether a handshake only validates: the client offers that protocol and no other. RFC 8737, section 3.
fn validates(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut protocols| protocols.next() == Some(VALIDATION) && protocols.next().is_none())
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate could not be made.
    #[error("could not make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file cannot be read, or is not PEM.
    #[error("{path}: {reason}. It must be a file in PEM, as certificate authorities give them")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library does not take it.
    #[error("could not set up TLS: {0}")]
    Config(#[from] rustls::Error),
}

/// A server configuration with a new certificate for these names. Browsers warn of it; `curl -k` takes it.
///
/// # Errors
/// When the certificate cannot be made.
pub fn self_signed(names: Vec<String>) -> Result<Arc<ServerConfig>, TlsError> {
    let certified = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    config(vec![certified.cert.der().clone()], key)
}

/// A server configuration with a certificate chain and its key, both in PEM (RFC 7468).
///
/// # Errors
/// When a file cannot be read, or the key is not the certificate's.
pub fn certificate(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = read(chain, key)?;
    config(chain, key)
}

/// A certificate chain with its key, both in PEM (RFC 7468), for who gives certificates by himself.
///
/// # Errors
/// When a file cannot be read, or the key is not the certificate's.
pub fn certified_key(chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let (chain, key) = read(chain, key)?;
    Ok(CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider())?)
}

fn read(chain: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: rustls::pki_types::pem::Error| TlsError::File { path, reason: error.to_string() }
    };
    let certificates =
        CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed(chain))?;
    Ok((certificates, PrivateKeyDer::from_pem_file(key).map_err(failed(key))?))
}

fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = builder()?.with_single_cert(chain, key)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}

fn builder() -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_no_client_auth())
}
