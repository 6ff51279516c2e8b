//! What is told to the outside world: alerts to people, usage to who writes the invoices elsewhere. What happens on the way there is
//! `skep-deliver`'s business.

mod undelivered;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skep_deliver::{
    Alert, ConfigError, Destination, ExportConfig, Item, Limits, Message, Outbox, OutboxError, Senders, UsageExporter,
    Waiting, Window,
};
use skep_meter::{Ledger, LedgerError, Totals};
use skep_outbound::{AddressPolicy, Client};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::Tell;

pub(crate) use undelivered::OfOutbox;

/// The folder of what was not delivered yet, in the data directory.
const FOLDER: &str = "outbox";
/// The file that says up to which hour usage was exported.
const EXPORTED: &str = "exported";
/// How often it is looked whether an hour is over.
const LOOK: Duration = Duration::from_secs(30);
/// Hours that are exported at most after the platform was stopped: Stripe takes nothing older.
const MOST_HOURS: i64 = 34 * 24;

/// How long it is waited before an alert is written again that could not be.
const AGAIN: Duration = Duration::from_secs(5);
/// Alerts that wait in memory, at most, as long as they cannot be written down.
const MOST_KEPT: usize = 1000;

/// Where alerts and usage go, as the settings say it.
#[derive(Clone, Debug, Default)]
pub struct DeliverySettings {
    /// Destinations by their names.
    pub destinations: BTreeMap<String, Destination>,
    /// Those that are told of alerts.
    pub alerts: Vec<String>,
    /// What those are told that take usage.
    pub exports: BTreeMap<String, ExportConfig>,
}

/// Why nothing can be delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The settings make no sense.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// A list names a destination that cannot do that, or that there is none of.
    #[error("{key}: {message}")]
    Destination {
        /// Where.
        key: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The disk.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

/// Tells what is worth it.
pub(crate) struct Delivery {
    outbox: Arc<Outbox>,
    /// What each destination is.
    kinds: BTreeMap<String, &'static str>,
    alerts: Vec<String>,
    exporter: UsageExporter,
    exports: bool,
    folder: PathBuf,
    tell: Tell,
    /// Alerts that could not be written down, the oldest first.
    kept: Mutex<VecDeque<Parcel>>,
}

/// An alert, and who has it not in his queue yet.
#[derive(Clone)]
pub(crate) struct Parcel {
    alert: Alert,
    left: Vec<String>,
}

impl Delivery {
    /// Begins to deliver.
    pub(crate) fn start(settings: &DeliverySettings, data_dir: &Path, tell: Tell) -> Result<Arc<Self>, DeliveryError> {
        settings.check()?;
        let folder = data_dir.join(FOLDER);
        let limits = Limits::default();
        // Whoever runs the platform says where to, also inside of the network.
        let everywhere = ["0.0.0.0/0", "::/0"].into_iter().filter_map(|network| network.parse().ok());
        let policy = everywhere.fold(AddressPolicy::with_loopback(), AddressPolicy::allow);
        let client = Client::new(policy, Handle::current());
        let senders = Senders::new(settings.destinations.clone(), &client, &limits, Arc::clone(&tell))?;
        let exporter = UsageExporter::new(settings.exports.clone())?;
        let outbox = Arc::new(Outbox::open(&folder, limits)?);
        tokio::spawn(Arc::clone(&outbox).run(senders));
        let (alerts, exports) = (settings.alerts.clone(), !settings.exports.is_empty());
        let kept = Mutex::default();
        let kinds = settings.destinations.iter().map(|(name, destination)| (name.clone(), destination.kind()));
        Ok(Arc::new(Self { outbox, kinds: kinds.collect(), alerts, exporter, exports, folder, tell, kept }))
    }

    /// Tells people something. It is on the disk when this is done; if the disk takes nothing, it is kept in memory and tried again until it does.
    /// What is told later comes behind it: nobody hears of an end before its beginning.
    pub(crate) async fn alert(self: &Arc<Self>, alert: Alert) {
        let mut parcel = self.parcel(alert);
        let mut kept = self.kept.lock().await;
        if kept.is_empty() {
            let Err(error) = self.put(&mut parcel).await else { return };
            (self.tell)(&format!("An alert cannot be written down: {error}. It is told as soon as it can"));
            tokio::spawn(Arc::clone(self).alert_again());
        } else if kept.len() >= MOST_KEPT {
            let title = parcel.alert.title;
            (self.tell)(&format!("An alert is lost, as too many wait for room on the disk already: {title}"));
            return;
        }
        kept.push_back(parcel);
    }

    /// Writes down what is kept, in its order, until nothing is.
    async fn alert_again(self: Arc<Self>) {
        loop {
            tokio::time::sleep(AGAIN).await;
            let mut kept = self.kept.lock().await;
            while let Some(parcel) = kept.front_mut() {
                if self.put(parcel).await.is_err() {
                    break;
                }
                kept.pop_front();
            }
            if kept.is_empty() {
                return;
            }
        }
    }

    /// An alert for all who are told of alerts.
    pub(crate) fn parcel(&self, alert: Alert) -> Parcel {
        Parcel { alert, left: self.alerts.clone() }
    }

    /// Writes an alert down, which is then told. Done again, it goes on with whom it was not written down for.
    ///
    /// # Errors
    /// When it cannot be now.
    pub(crate) async fn put(self: &Arc<Self>, parcel: &mut Parcel) -> Result<(), String> {
        if parcel.left.is_empty() {
            return Ok(());
        }
        let (delivery, mut own) = (Arc::clone(self), parcel.clone());
        let put = move || {
            let mut failed = None;
            own.left.retain(|destination| {
                let item = Item { destination: destination.clone(), message: Message::Alert(own.alert.clone()) };
                match delivery.outbox.put(item) {
                    Ok(_) => false,
                    // It would be no better later.
                    Err(error @ (OutboxError::Item(_) | OutboxError::TooLarge { .. })) => {
                        (delivery.tell)(&format!("An alert for \"{destination}\" is lost: {error}"));
                        false
                    }
                    Err(error) => {
                        failed = Some(error.to_string());
                        true
                    }
                }
            });
            (own.left, failed)
        };
        let done = tokio::task::spawn_blocking(put).await;
        let (left, failed) = done.map_err(|_| "the platform is stopping".to_owned())?;
        parcel.left = left;
        failed.map_or(Ok(()), Err)
    }

    /// What waits to be delivered, by destination.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.outbox.waiting()
    }

    /// Exports what was used in each hour that is over, for ever: those up to the moment that `settled` gives.
    pub(crate) async fn export(self: Arc<Self>, ledger: Arc<Ledger>, settled: impl Fn() -> Option<OffsetDateTime>) {
        if !self.exports {
            return;
        }
        let mut ticks = tokio::time::interval(LOOK);
        let mut told = false;
        loop {
            ticks.tick().await;
            let Some(until) = settled() else { continue };
            let (delivery, ledger) = (Arc::clone(&self), Arc::clone(&ledger));
            let exported = tokio::task::spawn_blocking(move || delivery.export_hours(&ledger, until)).await;
            match exported {
                Ok(Err(error)) if !told => {
                    told = true;
                    (self.tell)(&format!("Usage cannot be exported: {error}. It is tried again, and nothing is lost"));
                }
                Ok(Ok(())) => told = false,
                _ => {}
            }
        }
    }

    /// Exports the hours that are over and were not exported yet. The first time, none: what was used before was billed elsewhere.
    fn export_hours(&self, ledger: &Ledger, now: OffsetDateTime) -> Result<(), String> {
        let path = self.folder.join(EXPORTED);
        let said = fs::read_to_string(&path).ok();
        let until = said.and_then(|said| OffsetDateTime::parse(said.trim(), &Rfc3339).ok());
        let Some(this_hour) = Window::hour(now).map(Window::start) else { return Ok(()) };
        let mut next = until.unwrap_or(this_hour).max(this_hour - time::Duration::hours(MOST_HOURS));
        if until.is_none() {
            note(&path, next)?;
        }
        while next < this_hour {
            let Some(window) = Window::hour(next) else { return Ok(()) };
            for (account, totals) in used(ledger, window).map_err(|error| error.to_string())? {
                for item in self.exporter.items(&account, window, &totals, now).map_err(|error| error.to_string())? {
                    self.outbox.put(item).map_err(|error| error.to_string())?;
                }
            }
            // Only now: an event that is handed in again is the same event.
            next = window.end();
            note(&path, next)?;
        }
        Ok(())
    }
}

/// What each account used in a time.
fn used(ledger: &Ledger, window: Window) -> Result<BTreeMap<String, Totals>, LedgerError> {
    let mut accounts: BTreeMap<String, Totals> = BTreeMap::new();
    let last = window.end() - time::Duration::SECOND;
    ledger.read(window.start().date(), last.date(), |minute, entry| {
        if (window.start()..window.end()).contains(&minute.begins()) {
            accounts.entry(entry.account.clone()).or_default().add(entry);
        }
    })?;
    Ok(accounts)
}

/// Writes down up to when usage was exported.
fn note(path: &Path, until: OffsetDateTime) -> Result<(), String> {
    let text = until.format(&Rfc3339).map_err(|error| error.to_string())?;
    let begun = path.with_extension("new");
    let write = || {
        fs::write(&begun, text)?;
        fs::File::open(&begun)?.sync_all()?;
        fs::rename(&begun, path)
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}

impl DeliverySettings {
    fn check(&self) -> Result<(), DeliveryError> {
        let wrong = |key: String, message: String| Err(DeliveryError::Destination { key, message });
        let known = || self.destinations.keys().cloned().collect::<Vec<_>>().join(", ");
        let named = self.alerts.iter().map(|name| ("alerts".to_owned(), name, true));
        let exports = self.exports.keys().map(|name| (format!("export.{name}"), name, false));
        for (key, name, is_alert) in named.chain(exports) {
            match self.destinations.get(name) {
                None if self.destinations.is_empty() => {
                    return wrong(key, format!("there is no destination \"{name}\": add [destinations.{name}]"));
                }
                None => {
                    return wrong(
                        key,
                        format!("there is no destination \"{name}\": add it, or use one of {}", known()),
                    );
                }
                Some(destination) if is_alert && !destination.takes_alerts() => {
                    return wrong(key, format!("\"{name}\" takes usage and no alerts: use a webhook or e-mail"));
                }
                Some(destination) if !is_alert && !destination.takes_usage() => {
                    return wrong(
                        key,
                        format!("\"{name}\" takes alerts and no usage: use a webhook, Stripe or OpenMeter"),
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
