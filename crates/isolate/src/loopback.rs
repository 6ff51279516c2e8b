//! Calls of a Worker by itself: `ctx.exports`, and service bindings that name the Worker that has them. Its own isolate
//! answers them; everything else goes to the services of whoever runs the isolate.

use std::sync::{Arc, OnceLock, Weak};

use skep_exchange::rpc::Opening;
use skep_exchange::{Failure, Reply, Request, Response};
use skep_web::services::{RateLimit, ServiceFuture, ServiceTarget, Services, ended};

use crate::{Handle, Isolate};

/// The services of one isolate.
pub(crate) struct Loopback {
    worker: String,
    /// The isolate itself, once it has started. It must not keep itself alive.
    own: Arc<OnceLock<Weak<Handle>>>,
    others: Arc<dyn Services>,
}

impl Loopback {
    /// Services of an isolate, which is set once it has started.
    pub(crate) fn new(worker: &str, others: Arc<dyn Services>, own: Arc<OnceLock<Weak<Handle>>>) -> Self {
        Self { worker: worker.to_owned(), own, others }
    }

    fn own(&self) -> Result<Isolate, Failure> {
        let handle = self.own.get().and_then(Weak::upgrade);
        handle.map(Isolate).ok_or_else(|| Failure::unusable("The Worker is being stopped and takes no calls any more"))
    }
}

impl Services for Loopback {
    fn fetch(&self, target: ServiceTarget, request: Request) -> ServiceFuture<Result<Response, Failure>> {
        if target.worker != self.worker {
            return self.others.fetch(target, request);
        }
        let fetching = self.own().map(|own| own.fetch_at(target.entrypoint, request));
        Box::pin(async move {
            match fetching?.await {
                Reply::Response(response) => Ok(response),
                Reply::Failure(failure) => Err(failure),
                Reply::NotStarted(_) => Err(Failure::unusable("the isolate ended before it looked at the request")),
            }
        })
    }

    fn rpc(&self, target: ServiceTarget, opening: Opening) -> ServiceFuture<Result<(), Failure>> {
        if target.worker != self.worker {
            return self.others.rpc(target, opening);
        }
        let answering = self.own().map(|own| own.rpc(target.entrypoint, opening));
        Box::pin(async move { ended(answering?.await) })
    }

    fn assets(&self, request: Request) -> ServiceFuture<Result<Response, Failure>> {
        self.others.assets(request)
    }

    fn limit(&self, rate: &RateLimit, key: &str) -> ServiceFuture<Result<bool, Failure>> {
        self.others.limit(rate, key)
    }
}
