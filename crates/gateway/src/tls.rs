//! TLS: certificates from files, and for development one that signs itself.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

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
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: rustls::pki_types::pem::Error| TlsError::File { path, reason: error.to_string() }
    };
    let certificates =
        CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed(chain))?;
    config(certificates, PrivateKeyDer::from_pem_file(key).map_err(failed(key))?)
}

fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
