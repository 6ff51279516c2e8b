//! Certificates on demand for hosts that are known, by ACME (RFC 8555), and proof that somebody controls a domain.
//!
//! [`Certificates`] is what TLS asks for a host's certificate: it has it in memory, or orders it on the first visit, keeps it in a
//! folder and renews it in the background. An unknown host is never ordered. The certificate authority's limits are respected on this
//! side: one order for a host at a time, few at once, a bounded number in a few hours, and longer and longer pauses after
//! failures, which outlast a restart. [`Proofs`] looks for a challenge in a domain's DNS or on its web server.
//!
//! The room knows nothing of Workers, accounts or listeners: whoever runs it says which hosts are known.

#![forbid(unsafe_code)]

mod authority;
mod certificate;
mod certificates;
mod event;
mod failures;
mod folder;
mod host;
mod pending;
mod proof;
mod settings;
mod transport;

pub use certificate::validity;
pub use certificates::{Certificates, Known, SetupError, Tell, Waiting};
pub use event::Event;
pub use pending::ACME_TLS;
pub use proof::{ProofSettings, Proofs, Tried, Way};
pub use settings::{Challenge, Limits, Settings};
