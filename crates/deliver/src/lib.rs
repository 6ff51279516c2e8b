//! What is sent to the outside world on behalf of the operator: alerts and usage, through a queue on the disk.
//!
//! An [`Item`] that [`Outbox::put`] took is on the disk, and is sent until its destination took it, said that it never will, or the item is too
//! old. Each destination has a line of its own: one that is down holds up no other. Whatever happens in between, an item is sent with the same
//! idempotency key, so that who receives it twice knows. [`Senders`] are made of what the configuration says of each [`Destination`], and a
//! [`UsageExporter`] makes items of what was used. What is worth an alert, and when usage is exported, others decide.

#![forbid(unsafe_code)]

mod backoff;
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
pub use outbox::{Failed, Outbox, OutboxError, Taken, Waiting};
pub use senders::{Senders, Tell};
