//! What a Worker's bindings reach: other Workers of its account, its static assets, rate limits.

use std::sync::{Arc, Weak};

use skep_assets::{Server, Site};
use skep_exchange::rpc::Opening;
use skep_exchange::{Failure, Request, Response};
use skep_isolate::{RateLimit, ServiceFuture, ServiceTarget, Services, Slot, no_such_worker};

use crate::pool::{Pool, stored};
use crate::{Choice, choose};

/// The services of one version of a Worker.
pub(crate) struct Bindings {
    /// It must not keep itself alive through its own isolates.
    pub(crate) pool: Weak<Pool>,
    pub(crate) account: Arc<str>,
    pub(crate) site: Option<Arc<Site>>,
    pub(crate) assets: Server,
}

impl Bindings {
    fn pool(&self) -> Result<Arc<Pool>, Failure> {
        self.pool.upgrade().ok_or_else(|| Failure::unusable("The platform is stopping"))
    }
}

/// The isolate of another Worker of the account: of its current deployment.
async fn slot(pool: Arc<Pool>, account: Arc<str>, target: &ServiceTarget) -> Result<Arc<Slot>, Failure> {
    let worker = pool.directory().named(&account, &target.worker).ok_or_else(|| no_such_worker(target))?;
    let choice = Choice { worker: &worker.name, headers: &http::HeaderMap::new(), client: None };
    let version = choose(worker.deployment(), choice)
        .ok_or_else(|| Failure::unusable(format!("The Worker \"{}\" is not deployed", target.worker)))?;
    let loaded = match pool.loaded(version) {
        Some(loaded) => loaded,
        None => pool.load(&worker, version).await?,
    };
    pool.admit(&loaded)?;
    loaded.slot.clone().ok_or_else(|| {
        Failure::unusable(format!("The Worker \"{}\" has static assets only, and no code", target.worker))
    })
}

impl Services for Bindings {
    fn fetch(&self, target: ServiceTarget, request: Request) -> ServiceFuture<Result<Response, Failure>> {
        let (pool, account) = (self.pool(), Arc::clone(&self.account));
        Box::pin(async move { slot(pool?, account, &target).await?.fetch_at(target.entrypoint, request).await })
    }

    fn rpc(&self, target: ServiceTarget, opening: Opening) -> ServiceFuture<Result<(), Failure>> {
        let (pool, account) = (self.pool(), Arc::clone(&self.account));
        Box::pin(async move { slot(pool?, account, &target).await?.rpc(target.entrypoint, opening).await })
    }

    fn assets(&self, request: Request) -> ServiceFuture<Result<Response, Failure>> {
        let Some(site) = &self.site else {
            let failure = Failure::unusable("This version has no static assets");
            return Box::pin(std::future::ready(Err(failure)));
        };
        let answer = self.assets.fetch(site, &request);
        Box::pin(async move {
            let response = answer.response().await.map_err(|error| stored(&error))?;
            response.ok_or_else(|| Failure::unusable("No static asset answers this request"))
        })
    }

    fn limit(&self, rate: &RateLimit, key: &str) -> ServiceFuture<Result<bool, Failure>> {
        let within = self.pool().map(|pool| pool.rates().use_once(&self.account, rate, key));
        Box::pin(std::future::ready(within))
    }
}
