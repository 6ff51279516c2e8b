//! What answers requests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use skep_exchange::{Request, Response};

/// An answer that is being made. Dropped when the client goes away before there is one.
pub type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Answers requests. The request's URI is absolute: scheme, host and path as the client addressed them.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. A small future is quick to move, and there is one for each request.
    fn handle(self: Arc<Self>, request: Request) -> Answering;
}
