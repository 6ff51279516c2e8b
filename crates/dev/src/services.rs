//! What bindings reach in development: the project's static assets and rate limits. Another Worker is not there.

use std::sync::{Arc, PoisonError, RwLock};

use skep_exchange::rpc::Opening;
use skep_exchange::{Failure, Request, Response};
use skep_isolate::{RateLimit, Rates, ServiceFuture, ServiceTarget, Services};

use crate::assets::{Assets, unreadable};

/// Serves the bindings of one version's isolates.
pub(crate) struct DevServices {
    /// Those of the last build: they may change while the isolate goes on.
    assets: RwLock<Option<Arc<Assets>>>,
    /// The same for all versions: a saved file gives nobody new tries.
    rates: Arc<Rates>,
}

impl DevServices {
    pub(crate) fn new(assets: Option<Arc<Assets>>, rates: Arc<Rates>) -> Self {
        Self { assets: RwLock::new(assets), rates }
    }

    /// The assets changed, and the version did not.
    pub(crate) fn replace_assets(&self, assets: Option<Arc<Assets>>) {
        *self.assets.write().unwrap_or_else(PoisonError::into_inner) = assets;
    }
}

fn failed<T: Send + 'static>(failure: Failure) -> ServiceFuture<Result<T, Failure>> {
    Box::pin(std::future::ready(Err(failure)))
}

/// A Worker that would be another project.
fn not_here(target: &ServiceTarget) -> Failure {
    Failure::unusable(format!(
        "The Worker \"{}\" is not here: skep dev runs one Worker, this project's. Deploy both to `skep serve` to have them call each other",
        target.worker
    ))
}

impl Services for DevServices {
    fn fetch(&self, target: ServiceTarget, _: Request) -> ServiceFuture<Result<Response, Failure>> {
        failed(not_here(&target))
    }

    fn rpc(&self, target: ServiceTarget, _: Opening) -> ServiceFuture<Result<(), Failure>> {
        failed(not_here(&target))
    }

    fn assets(&self, request: Request) -> ServiceFuture<Result<Response, Failure>> {
        let assets = self.assets.read().unwrap_or_else(PoisonError::into_inner);
        let Some(assets) = &*assets else {
            return failed(Failure::unusable(
                "This project has no static assets: set \"assets\": { \"directory\": … } in the configuration",
            ));
        };
        let answer = assets.fetch(&request);
        Box::pin(async move {
            let response = answer.response().await.map_err(|error| unreadable(&error))?;
            response.ok_or_else(|| Failure::unusable("No static asset answers this request"))
        })
    }

    fn limit(&self, rate: &RateLimit, key: &str) -> ServiceFuture<Result<bool, Failure>> {
        Box::pin(std::future::ready(Ok(self.rates.use_once("", rate, key))))
    }
}
