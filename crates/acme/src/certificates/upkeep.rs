//! What happens without a visit: certificates are renewed, asked about, warned of, and forgotten with their hosts.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use super::{Certificates, Held};
use crate::event::Event;

/// The longest and the shortest pause between two looks.
const LONGEST: Duration = Duration::from_secs(3600);
const SHORTEST: Duration = Duration::from_millis(100);
/// When the authority is asked about a certificate again, if it did not answer.
const UNANSWERED: Duration = Duration::from_secs(6 * 3600);
/// The shortest time after which it is asked again, whatever it says. RFC 9773, section 4.3.2.
const LEAST_PAUSE: Duration = Duration::from_secs(60);
/// The certificates that are asked about before renewals are looked at again.
const ASKED_AT_ONCE: usize = 50;
/// How long an answer to that may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Looks after the certificates until they are dropped.
pub(super) async fn run(certificates: Weak<Certificates>, changed: Arc<Notify>) {
    if let Some(certificates) = certificates.upgrade() {
        certificates.load_all().await;
    }
    loop {
        let Some(strong) = certificates.upgrade() else { return };
        let pause = strong.look().await;
        drop(strong);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = changed.notified() => {}
        }
    }
}

impl Certificates {
    /// Takes over what is on disk, so that it is renewed whether its host is visited or not.
    async fn load_all(self: &Arc<Self>) {
        let (folder, most) = (self.folder.clone(), self.settings.limits.hosts);
        // A folder that cannot be read is told of with its first file.
        let hosts = self.runtime.spawn_blocking(move || folder.hosts(most)).await;
        for host in hosts.ok().and_then(Result::ok).unwrap_or_default() {
            if (self.known)(&host) && self.of(&host).is_none() {
                self.load(&host).await;
            }
        }
    }

    /// Looks at every certificate. Gives when to look again.
    async fn look(self: &Arc<Self>) -> Duration {
        let hosts: Vec<(String, Arc<Held>)> =
            self.held.pin().iter().map(|(host, held)| (host.clone(), Arc::clone(held))).collect();
        self.ask(&hosts).await;
        let mut next = SystemTime::now() + LONGEST;
        for (host, held) in hosts {
            if !(self.known)(&host) {
                self.held.pin().remove(&host);
                continue;
            }
            next = next.min(self.look_at(&host, &held));
        }
        next.duration_since(SystemTime::now()).unwrap_or_default().clamp(SHORTEST, LONGEST)
    }

    /// Renews a certificate if it is time. Gives when to look again.
    fn look_at(self: &Arc<Self>, host: &str, held: &Held) -> SystemTime {
        let now = SystemTime::now();
        let due = *held.due();
        let failed = self.failures.of(host);
        let until = held.certificate.validity.end;
        if failed.is_some() && held.certificate.warn_at() <= now && !held.warned.swap(true, Ordering::Relaxed) {
            (self.tell)(Event::Expiring { host: host.to_owned(), until });
        }
        let renew_at = failed.map_or(due.at(), |failed| due.at().max(failed.retry_at()));
        if renew_at > now {
            return due.ask_at.map_or(renew_at, |ask_at| renew_at.min(ask_at));
        }
        // The end of an order wakes upkeep.
        self.begin(host);
        now + LONGEST
    }

    /// Asks the authority when the certificates should be renewed that it was not asked about lately. RFC 9773.
    async fn ask(self: &Arc<Self>, hosts: &[(String, Arc<Held>)]) {
        let due = |held: &Held| held.due().ask_at.is_some_and(|ask_at| ask_at <= SystemTime::now());
        for (_, held) in hosts.iter().filter(|(_, held)| due(held)).take(ASKED_AT_ONCE) {
            let now = SystemTime::now();
            let Some(identifier) = &held.certificate.identifier else { continue };
            let asked = tokio::time::timeout(ANSWER, self.authority.advice(identifier, &*self.tell)).await;
            let mut due = held.due();
            match asked {
                Ok(Ok(advice)) => {
                    due.renew_at = held.certificate.renew_at().min(advice.renew_at);
                    due.ask_at = Some(advice.ask_at.max(now + LEAST_PAUSE));
                }
                // It has no opinion, which it need not have.
                Ok(Err(_)) => due.ask_at = Some(now + UNANSWERED),
                // It does not answer at all: the others are not worth the wait now.
                Err(_) => {
                    drop(due);
                    for (_, held) in hosts {
                        let mut due = held.due();
                        due.ask_at = due.ask_at.map(|ask_at| ask_at.max(now + UNANSWERED));
                    }
                    return;
                }
            }
        }
    }
}
