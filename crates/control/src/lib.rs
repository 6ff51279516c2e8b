//! The control plane: Cloudflare's REST API for Workers, so that wrangler and the CI jobs that call it work as they are, and
//! Skep's own under `/skep/v1`.
//!
//! Every endpoint is one row of a table ([`endpoints`]): method, path, who may call it, a sentence, a function. The router, the
//! check of the token, the OpenAPI document and the test that walks every endpoint all come from that table, so that
//! none can be without its check. What changes something goes to the store, which tells those who serve requests.

#![forbid(unsafe_code)]

mod answer;
mod api;
mod call;
mod deliveries;
mod endpoint;
mod error;
mod insight;
mod openapi;
mod runtime;
mod server;
mod session;
mod upload;

pub use deliveries::{
    Decided, Deciding, DecisionError, Deliveries, Destination, FailedDelivery, Undelivered, WhichDeliveries,
};
pub use endpoint::{Access, Endpoint};
pub use insight::{Analytics, CheckStatus, Doing, Insights, Moment, NodeStatus, Status, StatusAlert, StatusKind};
pub use openapi::document;
pub use runtime::{
    Bills, Checking, Crons, Invoiced, Owner, Preparation, Proofs, Ran, Reading, Rotated, Rotating, RotationError,
    Rotations, Running, Runtime, Stands, Started, Trial, TrialFailure, Trials, Unproved,
};
pub use server::{Addresses, Control};
pub use upload::read_upload;

/// Every endpoint there is.
pub fn endpoints() -> Vec<Endpoint> {
    api::endpoints()
}
