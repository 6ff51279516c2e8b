//! Senders: destinations that are ready to be sent to, and what a try comes to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use skep_outbound::Client;

use crate::destination::email::EmailSender;
use crate::destination::openmeter::OpenMeterSender;
use crate::destination::stripe::StripeSender;
use crate::destination::webhook::WebhookSender;
use crate::{ConfigError, Destination, Limits, Message};

/// Says a sentence to the operator. It must not wait: deliveries wait for it.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// What a try came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is there.
    Delivered,
    /// Not now.
    Later {
        /// Why, as a sentence without its end.
        reason: String,
        /// How long the destination wants to be left alone.
        wait: Option<Duration>,
    },
    /// The same item will never be taken.
    Never {
        /// Why, as a sentence without its end.
        reason: String,
    },
}

/// All destinations, ready to be sent to.
pub struct Senders {
    pub(crate) senders: BTreeMap<String, Sender>,
    pub(crate) tell: Tell,
}

/// A destination that is ready to be sent to.
pub(crate) enum Sender {
    Webhook(Box<WebhookSender>),
    Email(Box<EmailSender>),
    Stripe(StripeSender),
    OpenMeter(OpenMeterSender),
}

// === impl Verdict ===

impl Verdict {
    pub(crate) fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), wait: None }
    }

    pub(crate) fn never(reason: impl Into<String>) -> Self {
        Self::Never { reason: reason.into() }
    }
}

// === impl Senders ===

impl Senders {
    /// Makes senders of destinations by their names. Everything but e-mail goes through `client`, whose policy says which addresses may be
    /// reached. `tell` hears what fails: about each destination at most once in [`Limits::tell`].
    ///
    /// # Errors
    /// When a destination makes no sense: with the key, and what to do.
    pub fn new(
        destinations: BTreeMap<String, Destination>,
        client: &Client,
        limits: &Limits,
        tell: Tell,
    ) -> Result<Self, ConfigError> {
        let mut senders = BTreeMap::new();
        for (name, destination) in destinations {
            let sender = match &destination {
                Destination::Webhook(webhook) => WebhookSender::new(webhook, client).map(Box::new).map(Sender::Webhook),
                Destination::Email(email) => EmailSender::new(email, limits).map(Box::new).map(Sender::Email),
                Destination::Stripe(stripe) => StripeSender::new(stripe, client).map(Sender::Stripe),
                Destination::OpenMeter(meter) => OpenMeterSender::new(meter, client).map(Sender::OpenMeter),
            };
            let sender = sender.map_err(|problem| problem.of(format!("destinations.{name}")))?;
            senders.insert(name, sender);
        }
        Ok(Self { senders, tell })
    }
}

impl fmt::Debug for Senders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.senders.keys()).finish()
    }
}

// === impl Sender ===

impl Sender {
    /// Tries once to send something, with its idempotency key.
    pub(crate) async fn send(&self, message: &Message, id: &str) -> Verdict {
        match (self, message) {
            (Self::Webhook(webhook), _) => webhook.send(message, id).await,
            (Self::Email(email), Message::Alert(alert)) => email.send(alert, id).await,
            (Self::Stripe(stripe), Message::Usage(event)) => stripe.send(event, id).await,
            (Self::OpenMeter(meter), Message::Usage(event)) => meter.send(event, id).await,
            (Self::Email(_), Message::Usage(_)) => Verdict::never("usage events are not sent by e-mail"),
            (Self::Stripe(_) | Self::OpenMeter(_), Message::Alert(_)) => {
                Verdict::never("it takes usage events only, and this is an alert")
            }
        }
    }
}
