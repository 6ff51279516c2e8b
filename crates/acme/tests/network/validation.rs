//! How the test authority looks at the answers to challenges: it connects, and believes nothing else.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authority::sha256;
use crate::der;

/// Where every host is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) http: SocketAddr,
    pub(crate) tls: SocketAddr,
}

pub(crate) async fn validate(
    ports: Ports,
    host: &str,
    kind: &str,
    token: &str,
    authorization: &str,
) -> Result<(), String> {
    match kind {
        "http-01" => http(ports.http, host, token, authorization).await,
        "tls-alpn-01" => tls(ports.tls, host, &sha256(authorization)).await,
        _ => Err(format!("{kind} is not looked at")),
    }
}

/// RFC 8555, section 8.3.
async fn http(address: SocketAddr, host: &str, token: &str, authorization: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let request =
        format!("GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("that is not HTTP")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(format!("the answer is {}", head.lines().next().unwrap_or_default()));
    }
    match body.trim_end() == authorization {
        true => Ok(()),
        false => Err(format!("the answer is \"{body}\"")),
    }
}

/// RFC 8737, section 3.
async fn tls(address: SocketAddr, host: &str, digest: &[u8]) -> Result<(), String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let witness = Arc::new(Witness { certificate: Mutex::default(), provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())?;
    if stream.get_ref().1.alpn_protocol() != Some(b"acme-tls/1") {
        return Err("acme-tls/1 was not agreed on".to_owned());
    }
    let certificate = witness.certificate.lock().expect("nobody panics with it").take();
    der::validates(&certificate.ok_or("there was no certificate")?, host, digest)
}

/// Takes every certificate, and remembers it.
#[derive(Debug)]
struct Witness {
    certificate: Mutex<Option<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.certificate.lock().expect("nobody panics with it") = Some(certificate.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 was not offered".to_owned()))
    }

    /// By the key alone: the certificate has a critical extension that the TLS library does not know.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = der::public_key(certificate).map_err(Error::General)?;
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key.into(), signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
