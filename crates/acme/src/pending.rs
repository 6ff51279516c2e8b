//! What answers the challenges that are open: files for HTTP-01, certificates for TLS-ALPN-01.

use std::sync::Arc;

use papaya::HashMap;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use crate::certificate::provider;

/// The protocol, in ALPN, of a handshake that only validates. RFC 8737, section 6.2.
pub const ACME_TLS: &[u8] = b"acme-tls/1";
/// Where HTTP-01 looks. RFC 8555, section 8.3.
const HTTP_PREFIX: &str = "/.well-known/acme-challenge/";

/// The answers that are open.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// By host and token.
    http: HashMap<(String, String), String>,
    /// By host.
    tls: HashMap<String, Arc<CertifiedKey>>,
}

impl Pending {
    /// What a request of HTTP-01 is answered with.
    pub(crate) fn http(&self, host: &str, path: &str) -> Option<String> {
        let token = path.strip_prefix(HTTP_PREFIX)?;
        self.http.pin().get(&(host.to_owned(), token.to_owned())).cloned()
    }

    /// The certificate for a handshake of TLS-ALPN-01.
    pub(crate) fn tls(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.tls.pin().get(host).cloned()
    }

    /// Answers HTTP-01 until what it gives is dropped.
    pub(crate) fn publish_http(self: &Arc<Self>, host: &str, token: &str, authorization: &str) -> Published {
        let key = (host.to_owned(), token.to_owned());
        self.http.pin().insert(key.clone(), authorization.to_owned());
        Published { pending: Arc::clone(self), what: What::Http(key) }
    }

    /// Answers TLS-ALPN-01 until what it gives is dropped. `digest` is the SHA-256 hash of the key authorization.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub(crate) fn publish_tls(self: &Arc<Self>, host: &str, digest: &[u8]) -> Result<Published, String> {
        let certified = validating(host, digest).map_err(|error| error.to_string())?;
        self.tls.pin().insert(host.to_owned(), Arc::new(certified));
        Ok(Published { pending: Arc::clone(self), what: What::Tls(host.to_owned()) })
    }
}

/// A certificate that signs itself, for one host, with the extension acmeIdentifier. RFC 8737, section 3.
fn validating(host: &str, digest: &[u8]) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
    let mut parameters = CertificateParams::new([host.to_owned()])?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    // Its critical extension is one that the TLS library does not know: it must not look into the certificate.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], provider().key_provider.load_private_key(key)?))
}

/// An answer, while it is held.
pub(crate) struct Published {
    pending: Arc<Pending>,
    what: What,
}

enum What {
    Http((String, String)),
    Tls(String),
}

impl Drop for Published {
    fn drop(&mut self) {
        match &self.what {
            What::Http(key) => drop(self.pending.http.pin().remove(key)),
            What::Tls(host) => drop(self.pending.tls.pin().remove(host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_for_its_host_and_token_and_while_it_is_held() {
        let pending = Arc::new(Pending::default());
        let published = pending.publish_http("a.example", "token", "token.thumbprint");
        let found = |host: &str, path: &str| pending.http(host, path);
        assert_eq!(found("a.example", "/.well-known/acme-challenge/token").as_deref(), Some("token.thumbprint"));
        assert_eq!(found("b.example", "/.well-known/acme-challenge/token"), None);
        assert_eq!(found("a.example", "/.well-known/acme-challenge/other"), None);
        assert_eq!(found("a.example", "/token"), None);
        drop(published);
        assert_eq!(found("a.example", "/.well-known/acme-challenge/token"), None);
    }

    #[test]
    fn a_validating_certificate_is_there_while_it_is_held() {
        let pending = Arc::new(Pending::default());
        let published = pending.publish_tls("a.example", &[7; 32]).unwrap();
        assert!(pending.tls("a.example").is_some());
        assert!(pending.tls("b.example").is_none());
        drop(published);
        assert!(pending.tls("a.example").is_none());
    }
}
