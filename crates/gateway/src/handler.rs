//! What answers requests.

use std::future::Future;
use std::pin::Pin;

use skep_exchange::{Request, Response};

/// An answer that is being made. Dropped when the client goes away before there is one.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Response> + Send + 'a>>;

/// Answers requests. The request's URI is absolute: scheme, host and path as the client addressed them.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request) -> Answering<'_>;
}
