//! Services for tests: Workers by their names, assets by their paths, rate limits that count.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use skep_exchange::rpc::Opening;
use skep_exchange::{Body, Failure, Request, Response};
use skep_isolate::{Options, RateLimit, ServiceFuture, ServiceTarget, Services, Slot, no_such_worker};
use skep_worker::Version;

use crate::{Recorder, options};

/// Workers that call each other.
#[derive(Default)]
pub struct TestServices {
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    assets: HashMap<String, String>,
    counts: Mutex<HashMap<(RateLimit, String), u32>>,
}

/// What the isolates of [`TestServices`] hold of it, so that it goes away with its test.
struct Held(Weak<TestServices>);

impl TestServices {
    /// Services with these assets: paths and texts.
    pub fn new(assets: &[(&str, &str)]) -> Arc<Self> {
        let assets = assets.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Arc::new(Self { assets, ..Self::default() })
    }

    /// Adds a Worker under its version's name. Gives its slot, and what it prints.
    pub fn add(self: &Arc<Self>, version: Version) -> (Arc<Slot>, Arc<Recorder>) {
        let name = version.worker.clone();
        let (options, recorder) = options(version);
        let slot = Slot::new(Options { services: Arc::new(Held(Arc::downgrade(self))), ..options });
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::clone(&slot));
        (slot, recorder)
    }
}

impl Held {
    fn slot(&self, target: &ServiceTarget) -> Result<Arc<Slot>, Failure> {
        let services = self.0.upgrade().ok_or_else(|| no_such_worker(target))?;
        let slots = services.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(&target.worker).cloned().ok_or_else(|| no_such_worker(target))
    }
}

impl Services for Held {
    fn fetch(&self, target: ServiceTarget, request: Request) -> ServiceFuture<Result<Response, Failure>> {
        let slot = self.slot(&target);
        Box::pin(async move { slot?.fetch_at(target.entrypoint, request).await })
    }

    fn rpc(&self, target: ServiceTarget, opening: Opening) -> ServiceFuture<Result<(), Failure>> {
        let slot = self.slot(&target);
        Box::pin(async move { slot?.rpc(target.entrypoint, opening).await })
    }

    fn assets(&self, request: Request) -> ServiceFuture<Result<Response, Failure>> {
        let text = self.0.upgrade().and_then(|services| services.assets.get(request.uri().path()).cloned());
        let mut response = Response::new(Body::full(text.clone().unwrap_or_default()));
        if text.is_none() {
            *response.status_mut() = http::StatusCode::NOT_FOUND;
        }
        Box::pin(std::future::ready(Ok(response)))
    }

    fn limit(&self, rate: &RateLimit, key: &str) -> ServiceFuture<Result<bool, Failure>> {
        let within = self.0.upgrade().is_some_and(|services| {
            let mut counts = services.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry((rate.clone(), key.to_owned())).or_default();
            *count += 1;
            *count <= rate.limit
        });
        Box::pin(std::future::ready(Ok(within)))
    }
}
