//! What is not delivered, for who runs the platform, and what becomes of what failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_control::{
    Decided, Deciding, DecisionError, Deliveries, Destination, FailedDelivery, Undelivered, WhichDeliveries,
};
use skep_deliver::{Failed, Message, OutboxError, Waiting, Which};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::delivery::Delivery;
use crate::health::milliseconds;

/// Decides for who asks through the control plane.
pub(crate) struct OfOutbox(pub(crate) Arc<Delivery>);

impl Deliveries for OfOutbox {
    fn undelivered(&self, destination: Option<&str>, most: usize) -> Result<Undelivered, DecisionError> {
        let Delivery { outbox, kinds, .. } = &*self.0;
        let configured = kinds.iter().map(|(name, kind)| {
            let (name, kind) = (name.clone(), Some((*kind).to_owned()));
            (name.clone(), Destination { name, kind, ..Destination::default() })
        });
        let mut all: BTreeMap<String, Destination> = configured.collect();
        for waiting in outbox.waiting() {
            let Waiting { destination, items, since, failed, reason, next, .. } = waiting;
            let shown = all.entry(destination.clone()).or_default();
            (shown.name, shown.waiting, shown.failed) = (destination, items, failed);
            (shown.waiting_since, shown.next_try) = (since.map(milliseconds), next.map(milliseconds));
            shown.reason = reason;
        }
        if let Some(name) = destination {
            all = all.remove_entry(name).into_iter().collect();
            if all.is_empty() {
                return Err(self.0.unknown(name));
            }
        }
        let which = Which { destination: destination.map(str::to_owned), ids: None };
        let failed = outbox.failed(&which).iter().take(most).map(shown).collect();
        Ok(Undelivered { destinations: all.into_values().collect(), failed })
    }

    fn retry(&self, which: WhichDeliveries) -> Deciding<'_> {
        Box::pin(self.decide(which, |delivery, which| {
            // It would wait for ever.
            let meant = delivery.outbox.failed(which);
            let unknown = meant.iter().find(|failed| !delivery.kinds.contains_key(&failed.item.destination));
            if let Some(Failed { item, .. }) = unknown {
                return Err(DecisionError::Refused(format!(
                    "\"{}\" is no destination any more: configure it and start the platform again, or let go of what was to go there",
                    item.destination
                )));
            }
            let retried = delivery.outbox.retry(which).map_err(refused)?;
            Ok(Decided { failed: retried.failed.iter().map(shown).collect(), waiting: retried.waiting })
        }))
    }

    fn forget(&self, which: WhichDeliveries) -> Deciding<'_> {
        Box::pin(self.decide(which, |delivery, which| {
            let forgotten = delivery.outbox.forget(which).map_err(refused)?;
            Ok(Decided { failed: forgotten.iter().map(shown).collect(), waiting: 0 })
        }))
    }
}

impl OfOutbox {
    /// Decides where others need not wait for the disk.
    async fn decide(
        &self,
        which: WhichDeliveries,
        decide: impl FnOnce(&Delivery, &Which) -> Result<Decided, DecisionError> + Send + 'static,
    ) -> Result<Decided, DecisionError> {
        let delivery = Arc::clone(&self.0);
        let decided = tokio::task::spawn_blocking(move || {
            let which = Which { destination: which.destination, ids: which.ids };
            if let Some(name) = which.destination.as_ref().filter(|name| !delivery.knows(name)) {
                return Err(delivery.unknown(name));
            }
            decide(&delivery, &which)
        });
        decided.await.unwrap_or_else(|error| Err(DecisionError::Failed(error.to_string())))
    }
}

impl Delivery {
    /// Whether something is delivered to a destination, or was to be.
    fn knows(&self, destination: &str) -> bool {
        self.kinds.contains_key(destination)
            || self.outbox.waiting().iter().any(|waiting| waiting.destination == destination)
    }

    fn unknown(&self, destination: &str) -> DecisionError {
        let known = self.kinds.keys().cloned().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none is configured".to_owned() } else { format!("there is {known}") };
        DecisionError::Unknown(format!("there is no destination \"{destination}\": {known}"))
    }
}

fn refused(error: OutboxError) -> DecisionError {
    match error {
        OutboxError::Unknown(_) => DecisionError::Unknown(error.to_string()),
        error => DecisionError::Failed(error.to_string()),
    }
}

/// What failed, without what is nobody's business: no destination's address is in it, and no secret.
fn shown(failed: &Failed) -> FailedDelivery {
    let (kind, account, what) = match &failed.item.message {
        Message::Alert(alert) => ("alert", alert.account.clone(), format!("{}: {}", alert.kind, alert.title)),
        Message::Usage(event) => {
            let begins = moment(event.window_start);
            let (value, meter, customer) = (event.value, &event.meter, &event.customer);
            let hours = (event.window_end - event.window_start).as_seconds_f64() / Duration::HOUR.as_seconds_f64();
            ("usage", Some(event.account.clone()), format!("{value} {meter} of {customer}, {hours} h from {begins}"))
        }
    };
    FailedDelivery {
        id: failed.id.clone(),
        destination: failed.item.destination.clone(),
        kind: kind.to_owned(),
        what,
        account,
        reason: failed.reason.clone(),
        failed_on: milliseconds(failed.at),
    }
}

fn moment(at: OffsetDateTime) -> String {
    at.to_utc().format(&Rfc3339).unwrap_or_default()
}
