//! What is sent to the outside world on behalf of the operator: alerts and usage, through a queue on the disk.
//!
//! An [`Item`] that [`Outbox::put`] took is on the disk, and is sent until its destination took it, said that it never will, or the item is too
//! old. Each destination has a line of its own: one that is down holds up no other. Whatever happens in between, an item is sent with the same
//! idempotency key, so that who receives it twice knows. [`Senders`] are made of what the configuration says of each [`Destination`], and a
//! [`UsageExporter`] makes items of what was used. What is worth an alert, and when usage is exported, others decide.
//!
//! What the types that are configured are read from, by the names of destinations:
//!
//! ```toml
//! [destinations.ops]
//! type = "email"
//! host = "mail.example.com"
//! user = "skep"
//! password = "…"
//! from = "Skep <skep@example.com>"
//! to = ["ops@example.com"]
//!
//! [destinations.hook]
//! type = "webhook"
//! url = "https://hooks.example.com/skep"
//! secret = "whsec_…"
//!
//! [destinations.stripe]
//! type = "stripe"
//! key = "rk_live_…"
//!
//! [export.stripe.customers]
//! account = "cus_NciAYcXfLnqBoz"
//!
//! [[export.stripe.meters]]
//! event_name = "skep_requests"
//! value = "requests"
//! kinds = ["fetch"]
//! ```

#![forbid(unsafe_code)]

mod destination;
mod export;
mod http_post;
mod item;
mod limits;
mod outbox;
mod senders;

pub use destination::{ConfigError, Destination, Email, Endpoint, OpenMeter, Stripe, Tls, Webhook};
pub use export::{ExportConfig, ExportError, MeterConfig, UsageExporter, Value, Window};
pub use item::{Alert, Item, ItemError, Message, Severity, UsageEvent};
pub use limits::Limits;
pub use outbox::{Failed, Outbox, OutboxError, Retried, Taken, Waiting, Which};
pub use senders::{Senders, Tell};
