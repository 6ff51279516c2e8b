//! The certificates of known hosts: what TLS asks for them, and what it waits for.

mod orders;
mod upkeep;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};

use crate::authority::Authority;
use crate::certificate::Certificate;
use crate::event::Event;
use crate::failures::{Failures, Pace};
use crate::folder::Folder;
use crate::host::host_name;
use crate::pending::{ACME_TLS, Pending};
use crate::settings::Settings;
use crate::transport::Transport;

/// Whether a host is one that may have a certificate. It is asked on handshakes that have none yet and on renewals, with the name
/// in lower case; it must not block.
pub type Known = Arc<dyn Fn(&str) -> bool + Send + Sync>;
/// Who is told of events. It must not block.
pub type Tell = Arc<dyn Fn(Event) + Send + Sync>;
/// A certificate that is under way. It ends when the certificate is there, when it will not come, or when the wait is over.
pub type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why there can be no certificates at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The folder cannot be used.
    #[error("{path}: certificates cannot be kept there: {reason}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system said.
        reason: io::Error,
    },
    /// The file of the private authority cannot be used.
    #[error("{path}: {reason}. It must be a certificate in PEM")]
    Root {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: io::Error,
    },
    /// The directory is no URL of HTTPS.
    #[error("\"{0}\" is not the URL of an ACME directory: it must begin with https://")]
    Directory(String),
    /// There is no way to show control of a host.
    #[error("there must be a challenge that the platform answers: http-01 or tls-alpn-01")]
    NoChallenge,
}

/// Certificates on demand, for the hosts that are known.
pub struct Certificates {
    settings: Settings,
    known: Known,
    tell: Tell,
    fallback: Option<Arc<CertifiedKey>>,
    runtime: Handle,
    folder: Folder,
    authority: Authority,
    pending: Arc<Pending>,
    /// What handshakes read: without a lock.
    held: papaya::HashMap<String, Arc<Held>>,
    failures: Failures,
    pace: Mutex<Pace>,
    /// The hosts whose certificate is being read or ordered. The channel closes when that is over.
    under_way: Mutex<HashMap<String, watch::Receiver<()>>>,
    room: Semaphore,
    /// Tells upkeep that there is something new to look after.
    changed: Arc<Notify>,
    begun: Instant,
}

/// A certificate in memory, and what upkeep knows of it.
#[derive(Debug)]
struct Held {
    certificate: Certificate,
    /// When to renew it, and when to ask the authority for its opinion on that.
    due: Mutex<Due>,
    /// When it was used last, in seconds after the process began.
    used: AtomicU64,
    /// Whether it was told that it ends.
    warned: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    renew_at: SystemTime,
    /// However it looks, it is not renewed before this: a clock that is wrong must not order for ever.
    earliest: SystemTime,
    /// Nothing for a certificate that the authority has no name for.
    ask_at: Option<SystemTime>,
}

impl Due {
    fn at(&self) -> SystemTime {
        self.renew_at.max(self.earliest)
    }
}

impl Held {
    fn new(certificate: Certificate) -> Self {
        let ask_at = certificate.identifier.as_ref().map(|_| SystemTime::UNIX_EPOCH);
        let due = Due { renew_at: certificate.renew_at(), earliest: SystemTime::UNIX_EPOCH, ask_at };
        Self { certificate, due: Mutex::new(due), used: AtomicU64::new(0), warned: AtomicBool::new(false) }
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        self.certificate.is_valid(now) && self.due().at() > now
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Certificates").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Certificates whose orders and upkeep run on a runtime. Hosts must be known from the beginning: what is kept of others is not
    /// renewed. `fallback` is what a handshake gets that has no certificate of its own; without it such a handshake is refused.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(
        settings: Settings,
        known: Known,
        fallback: Option<CertifiedKey>,
        tell: Tell,
        runtime: Handle,
    ) -> Result<Arc<Self>, SetupError> {
        if !settings.directory_url.starts_with("https://") {
            return Err(SetupError::Directory(settings.directory_url));
        }
        if settings.challenges.is_empty() {
            return Err(SetupError::NoChallenge);
        }
        let folder = Folder::open(&settings.folder, &settings.directory_url)
            .map_err(|reason| SetupError::Folder { path: settings.folder.display().to_string(), reason })?;
        let transport = Transport::new(settings.root.as_deref()).map_err(|reason| {
            let path = settings.root.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            SetupError::Root { path, reason }
        })?;
        let pending = Arc::new(Pending::default());
        let limits = settings.limits;
        let certificates = Arc::new(Self {
            authority: Authority::new(settings.clone(), transport, folder.clone(), Arc::clone(&pending)),
            settings,
            known,
            tell,
            fallback: fallback.map(Arc::new),
            runtime,
            folder,
            pending,
            held: papaya::HashMap::new(),
            failures: Failures::new(limits),
            pace: Mutex::new(Pace::new(limits)),
            under_way: Mutex::default(),
            room: Semaphore::new(limits.orders),
            changed: Arc::new(Notify::new()),
            begun: Instant::now(),
        });
        let upkeep = upkeep::run(Arc::downgrade(&certificates), Arc::clone(&certificates.changed));
        certificates.runtime.spawn(upkeep);
        Ok(certificates)
    }

    /// What a handshake for a host should wait for before it asks for the certificate: nothing if there is one, or none to be
    /// had. Not to be called for a handshake of TLS-ALPN-01, which would wait for the order that waits for it.
    pub fn ready(self: &Arc<Self>, host: &str) -> Option<Waiting> {
        let host = host_name(host)?;
        let now = SystemTime::now();
        if self.of(&host).is_some_and(|held| held.certificate.is_valid(now)) || !(self.known)(&host) {
            return None;
        }
        if self.failures.waits(&host, now).is_some() {
            return None;
        }
        let mut done = self.begin(&host)?;
        let wait = self.settings.limits.wait;
        Some(Box::pin(async move {
            let closed = async { while done.changed().await.is_ok() {} };
            // When it takes too long, the handshake goes on with what there is.
            drop(tokio::time::timeout(wait, closed).await);
        }))
    }

    /// The body, of type `application/octet-stream`, for a request of HTTP-01, if an order waits for it. RFC 8555, section 8.3.
    pub fn http_challenge(&self, host: &str, path: &str) -> Option<String> {
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        self.pending.http(&host_name(host)?, path)
    }

    /// The hosts that are known and have a certificate, and from when to when it is valid.
    pub fn validities(&self) -> Vec<(String, Range<SystemTime>)> {
        let hosts = self.held.pin();
        let known = hosts.iter().filter(|(host, _)| (self.known)(host));
        known.map(|(host, held)| (host.clone(), held.certificate.validity.clone())).collect()
    }

    fn of(&self, host: &str) -> Option<Arc<Held>> {
        self.held.pin().get(host).cloned()
    }

    /// Puts a certificate where handshakes find it, in place of an older one. The one that was not used for longest makes room.
    fn hold(&self, host: &str, certificate: Certificate) -> Arc<Held> {
        let held = Arc::new(Held::new(certificate));
        self.touch(&held);
        let hosts = self.held.pin();
        hosts.insert(host.to_owned(), Arc::clone(&held));
        if hosts.len() > self.settings.limits.hosts {
            let others = hosts.iter().filter(|(other, _)| *other != host);
            let oldest = others.min_by_key(|(_, held)| held.used.load(Ordering::Relaxed)).map(|(host, _)| host.clone());
            oldest.map(|oldest| hosts.remove(&oldest));
        }
        self.changed.notify_one();
        held
    }

    /// Remembers that a certificate was used, once a second at most: the memory is shared by all threads.
    fn touch(&self, held: &Held) {
        let now = self.begun.elapsed().as_secs();
        if held.used.load(Ordering::Relaxed) != now {
            held.used.store(now, Ordering::Relaxed);
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().and_then(host_name);
        if hello.alpn().is_some_and(|mut protocols| protocols.next() == Some(ACME_TLS) && protocols.next().is_none()) {
            return self.pending.tls(&host?);
        }
        let held = host.and_then(|host| self.of(&host));
        match held {
            Some(held) => {
                self.touch(&held);
                Some(Arc::clone(&held.certificate.certified))
            }
            None => self.fallback.clone(),
        }
    }
}
