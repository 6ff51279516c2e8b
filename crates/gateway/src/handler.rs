//! What answers requests.

use std::future::Future;

use skep_exchange::{Request, Response};

/// Answers requests. The request's URI is absolute: scheme, host and path as the client addressed them.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. The future is dropped when the client goes away before there is an answer.
    fn handle(&self, request: Request) -> impl Future<Output = Response> + Send;
}

impl<F, Answer> Handler for F
where
    F: Fn(Request) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Response> + Send,
{
    fn handle(&self, request: Request) -> impl Future<Output = Response> + Send {
        self(request)
    }
}
