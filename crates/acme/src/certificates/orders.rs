//! Getting one host's certificate: from its file, or by an order. One at a time for a host.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::{Certificates, Held};
use crate::certificate::Certificate;
use crate::event::Event;
use crate::failures::{Failure, Remembered};
use crate::folder::Kept;

/// How long every order is held back when the authority is overloaded and does not say for how long.
const OVERLOADED: Duration = Duration::from_secs(60);

/// A certificate that was just ordered is kept for this long at least, or for half of what is left of its life.
const LEAST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A host's turn. Whoever waits for it goes on when it is dropped, however it ends.
struct Turn {
    certificates: Arc<Certificates>,
    host: String,
    _working: watch::Sender<()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.certificates.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.host);
        self.certificates.changed.notify_one();
    }
}

impl Certificates {
    /// Begins to get a host's certificate, unless that is under way. The channel closes when it is over. Nothing when too many are.
    pub(super) fn begin(self: &Arc<Self>, host: &str) -> Option<watch::Receiver<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = under_way.get(host) {
            return Some(done.clone());
        }
        if under_way.len() >= self.settings.limits.queue {
            return None;
        }
        let (working, done) = watch::channel(());
        under_way.insert(host.to_owned(), done.clone());
        drop(under_way);
        let turn = Turn { certificates: Arc::clone(self), host: host.to_owned(), _working: working };
        self.runtime.spawn(async move { turn.certificates.obtain(&turn.host).await });
        Some(done)
    }

    async fn obtain(self: &Arc<Self>, host: &str) {
        let held = match self.of(host) {
            Some(held) => Some(held),
            None => self.load(host).await,
        };
        let now = SystemTime::now();
        if held.as_ref().is_some_and(|held| held.is_fresh(now)) || self.failures.waits(host, now).is_some() {
            return;
        }
        // The semaphore is never closed.
        let Ok(_permit) = self.room.acquire().await else { return };
        let now = SystemTime::now();
        let turn = self.pace.lock().unwrap_or_else(PoisonError::into_inner).take(now);
        if let Err(until) = turn {
            let reason = "the certificate authority's limit of orders would be reached";
            let remembered = self.failures.postpone(host, reason, until);
            (self.tell)(Event::Failed {
                host: host.to_owned(),
                reason: reason.to_owned(),
                retry_at: remembered.retry_at(),
            });
            return;
        }
        let begun = Instant::now();
        match self.order(host, held.as_deref()).await {
            Ok(certificate) => self.succeeded(host, held.is_some(), certificate, begun).await,
            Err(failure) => self.failed(host, &failure).await,
        }
    }

    async fn order(self: &Arc<Self>, host: &str, held: Option<&Held>) -> Result<(Certificate, String), Failure> {
        let attempt = self.failures.of(host).map_or(0, |remembered| remembered.failures);
        let replaced = held.and_then(|held| held.certificate.identifier.as_ref());
        let order = self.authority.order(host, attempt, replaced, &*self.tell);
        let limit = self.settings.limits.order;
        let pem = tokio::time::timeout(limit, order).await.map_err(|_| {
            Failure::new(format!("the certificate authority has not decided within {} s", limit.as_secs()))
        })??;
        let told = |reason| {
            Failure::new(format!("the certificate authority gave a certificate that cannot be used: {reason}"))
        };
        let certificate = Certificate::read(pem.as_bytes(), host).map_err(told)?;
        match certificate.validity.end > SystemTime::now() {
            true => Ok((certificate, pem)),
            false => Err(told("it has ended. Is this machine's clock right?".to_owned())),
        }
    }

    async fn succeeded(
        self: &Arc<Self>,
        host: &str,
        renewal: bool,
        (certificate, pem): (Certificate, String),
        begun: Instant,
    ) {
        let (now, until) = (SystemTime::now(), certificate.validity.end);
        let half = until.duration_since(now).unwrap_or_default() / 2;
        self.hold(host, certificate).due().earliest = now + half.min(LEAST_LIFE);
        let failed_before = self.failures.clear(host);
        let (took, name) = (begun.elapsed(), host.to_owned());
        self.on_disk(host, move |certificates, host| {
            certificates
                .kept(Kept::Certificate(host), certificates.folder.write(Kept::Certificate(host), pem.as_bytes()));
            if failed_before {
                certificates.kept(Kept::Failure(host), certificates.folder.remove(Kept::Failure(host)));
            }
        })
        .await;
        (self.tell)(match renewal {
            true => Event::Renewed { host: name, until, took },
            false => Event::Issued { host: name, until, took },
        });
    }

    async fn failed(self: &Arc<Self>, host: &str, failure: &Failure) {
        let now = SystemTime::now();
        if failure.everyone {
            let until = now + failure.wait.unwrap_or(OVERLOADED);
            self.pace.lock().unwrap_or_else(PoisonError::into_inner).hold(until);
        }
        let remembered = self.failures.add(host, failure, now);
        let retry_at = remembered.retry_at();
        self.on_disk(host, move |certificates, host| {
            let content = serde_json::to_vec(&remembered).unwrap_or_default();
            certificates.kept(Kept::Failure(host), certificates.folder.write(Kept::Failure(host), &content));
        })
        .await;
        (self.tell)(Event::Failed { host: host.to_owned(), reason: failure.reason.clone(), retry_at });
    }

    /// Takes over what is kept of a host: its certificate, and its failures if it has none that is fresh.
    pub(super) async fn load(self: &Arc<Self>, host: &str) -> Option<Arc<Held>> {
        self.on_disk(host, |certificates, host| {
            let certificate = certificates.read(Kept::Certificate(host), |content| Certificate::read(content, host));
            let remembered = certificates.read(Kept::Failure(host), |content| {
                serde_json::from_slice::<Remembered>(content).map_err(|error| error.to_string())
            });
            if let Some(remembered) = remembered {
                certificates.failures.put(host, remembered);
            }
            certificate.map(|certificate| certificates.hold(host, certificate))
        })
        .await?
    }

    /// Runs something that waits for the disk.
    async fn on_disk<T: Send + 'static>(
        self: &Arc<Self>,
        host: &str,
        work: impl FnOnce(&Self, &str) -> T + Send + 'static,
    ) -> Option<T> {
        let (certificates, host) = (Arc::clone(self), host.to_owned());
        self.runtime.spawn_blocking(move || work(&certificates, &host)).await.ok()
    }

    /// Reads a file. One that is not what it should be is moved aside.
    fn read<T>(&self, kept: Kept<'_>, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Option<T> {
        let content = match self.folder.read(kept) {
            Ok(content) => content?,
            Err(error) => {
                self.kept(kept, Err(error));
                return None;
            }
        };
        parse(&content)
            .map_err(|reason| {
                (self.tell)(Event::Corrupt { file: self.folder.file(kept), reason });
                self.kept(kept, self.folder.set_aside(kept));
            })
            .ok()
    }

    fn kept(&self, kept: Kept<'_>, result: std::io::Result<()>) {
        if let Err(error) = result {
            (self.tell)(Event::Unkept { file: self.folder.file(kept), reason: error.to_string() });
        }
    }
}
