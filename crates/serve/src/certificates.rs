//! Certificates for the hosts that the platform answers: from files for those that they cover, ordered on demand for others.
//!
//! Who may have a certificate is what the directory knows. A preview's host names a version, and only the store knows whether there is
//! one: it is asked before the first order, so that nobody orders certificates for names that he makes up.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use papaya::HashSet;
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use skep_acme::Certificates;
use skep_gateway::{Certify, Readying};
use skep_pool::{Directory, Found, Source as _};
use tokio::runtime::Handle;

use crate::settings::Settings;
use crate::source::Stored;
use crate::{ServeError, Tell};

/// Hosts of previews that are remembered. When there are more, they are asked for again.
const PREVIEWS: usize = 10_000;

/// Certificates on demand for the platform's hosts.
pub(crate) struct OnDemand {
    certificates: Arc<Certificates>,
    hosts: Arc<Hosts>,
    source: Arc<Stored>,
    /// The control plane's runtime, where the store is asked.
    runtime: Handle,
}

impl OnDemand {
    /// Orders certificates as the settings say, on the calling runtime. The directory knows its Workers already: what is kept of
    /// other hosts is not renewed.
    pub(crate) fn new(
        acme: &skep_acme::Settings,
        settings: &Settings,
        directory: &Arc<Directory>,
        source: Arc<Stored>,
        tell: &Tell,
    ) -> Result<Arc<Self>, ServeError> {
        let given = match &settings.tls {
            Some((chain, key)) => Some(skep_gateway::certified_key(chain, key)?),
            None => None,
        };
        let hosts = Arc::new(Hosts {
            domain: settings.domain.to_ascii_lowercase(),
            directory: Arc::clone(directory),
            given: given.clone(),
            previews: HashSet::new(),
        });
        let (known, tell) = (Arc::clone(&hosts), Arc::clone(tell));
        let certificates = Certificates::new(
            acme.clone(),
            Arc::new(move |host| known.may_have_one(host)),
            given,
            Arc::new(move |event| tell(&event.to_string())),
            Handle::current(),
        )?;
        Ok(Arc::new(Self { certificates, hosts, source, runtime: Handle::current() }))
    }

    /// The answer to a request of HTTP-01, if an order waits for it.
    pub(crate) fn http_challenge(&self, host: &str, path: &str) -> Option<String> {
        self.certificates.http_challenge(host, path)
    }
}

impl Certify for OnDemand {
    fn ready(&self, host: &str) -> Option<Readying> {
        let host = host.to_ascii_lowercase();
        let Some(preview) = self.hosts.unseen_preview(&host) else { return self.certificates.ready(&host) };
        let (source, hosts, certificates) =
            (Arc::clone(&self.source), Arc::clone(&self.hosts), Arc::clone(&self.certificates));
        let finding = self.runtime.spawn(async move { source.preview(&preview).await });
        Some(Box::pin(async move {
            // Where there is no version, or no store, the handshake goes on with what there is.
            if let Ok(Ok(Some(_))) = finding.await {
                hosts.remember(&host);
                if let Some(waiting) = certificates.ready(&host) {
                    waiting.await;
                }
            }
        }))
    }

    fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.certificates) as Arc<dyn ResolvesServerCert>
    }
}

/// From when to when certificates are valid.
pub(crate) struct Expiries {
    /// Of the certificate from files: its file's name. It was read at the start, and is served until the next one.
    given: Option<(String, Range<SystemTime>)>,
    on_demand: Option<Arc<OnDemand>>,
}

impl Expiries {
    /// Of the certificates that are served.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn new(settings: &Settings, on_demand: Option<Arc<OnDemand>>) -> Result<Self, ServeError> {
        let given = match &settings.tls {
            Some((chain, key)) => {
                let certified = skep_gateway::certified_key(chain, key)?;
                let validity = certified.cert.first().and_then(|der| skep_acme::validity(der));
                validity.map(|validity| (chain.display().to_string(), validity))
            }
            None => None,
        };
        Ok(Self { given, on_demand })
    }

    /// Of each host or file, from when to when its certificate is valid.
    pub(crate) fn all(&self) -> Vec<(String, Range<SystemTime>)> {
        let ordered = self.on_demand.as_ref().map(|on_demand| on_demand.certificates.validities());
        self.given.iter().cloned().chain(ordered.unwrap_or_default()).collect()
    }
}

/// The hosts that certificates are for. Their names are in lower case.
struct Hosts {
    domain: String,
    directory: Arc<Directory>,
    /// The certificate from files: no other one is ordered for the hosts that it covers.
    given: Option<CertifiedKey>,
    /// Previews whose version was found.
    previews: HashSet<String>,
}

impl Hosts {
    fn may_have_one(&self, host: &str) -> bool {
        if self.given.as_ref().is_some_and(|given| covers(given, host)) {
            return false;
        }
        let is_platform = host == self.domain || host.strip_prefix("api.").is_some_and(|rest| rest == self.domain);
        match self.directory.preview(host) {
            Some(_) => self.previews.pin().contains(host),
            None => is_platform || self.directory.knows(host),
        }
    }

    /// The preview that a host names, if it is not known yet whether its version is there.
    fn unseen_preview(&self, host: &str) -> Option<Found> {
        self.directory.preview(host).filter(|_| !self.previews.pin().contains(host))
    }

    fn remember(&self, host: &str) {
        let previews = self.previews.pin();
        if previews.len() >= PREVIEWS {
            previews.clear();
        }
        previews.insert(host.to_owned());
    }
}

/// Whether a certificate is for a host: by the names in it, wildcards included. RFC 9525, section 6.
fn covers(certified: &CertifiedKey, host: &str) -> bool {
    let Some(certificate) = certified.cert.first().and_then(|der| ParsedCertificate::try_from(der).ok()) else {
        return false;
    };
    ServerName::try_from(host).is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::sign::CertifiedKey;

    use super::covers;

    #[test]
    fn a_certificate_covers_the_names_in_it() {
        let names = ["skep.example".to_owned(), "*.dev.skep.example".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider).expect("a key");
        let covered = |host| covers(&certified, host);
        assert!(covered("skep.example") && covered("hello.dev.skep.example"));
        assert!(!covered("dev.skep.example") && !covered("a.b.dev.skep.example") && !covered("other.example"));
    }
}
