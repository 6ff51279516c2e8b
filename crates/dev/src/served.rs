//! What takes requests after a build: static assets, the version's code, or both.

use std::sync::Arc;

use skep_assets::{Answer, Pending};
use skep_exchange::{Failure, Request, Response};
use skep_isolate::Slot;

use crate::assets::{Assets, unreadable};

/// What a build gave.
pub(crate) struct Served {
    /// Where the version's code runs. Nothing if the project has assets only.
    pub(crate) slot: Option<Arc<Slot>>,
    /// The static assets, which are asked first.
    pub(crate) assets: Option<Arc<Assets>>,
}

/// An answer that has begun.
enum Begun<F> {
    Fetching(F),
    Here(Box<Response>),
    Reading(Box<Pending>),
    Nobody,
}

impl Served {
    /// Answers a request with a static asset, or with the version's code.
    pub(crate) fn answer(&self, request: Request) -> impl Future<Output = Result<Response, Failure>> + Send + use<> {
        let answer = self.assets.as_ref().map(|assets| assets.answer(&request));
        let begun = match answer {
            Some(Answer::Response(response)) => Begun::Here(Box::new(response)),
            Some(Answer::Pending(pending)) => Begun::Reading(Box::new(pending)),
            Some(Answer::Worker(_)) | None => match &self.slot {
                Some(slot) => Begun::Fetching(Arc::clone(slot).fetch(request)),
                None => Begun::Nobody,
            },
        };
        async move {
            match begun {
                Begun::Fetching(fetching) => fetching.await,
                Begun::Here(response) => Ok(*response),
                Begun::Reading(pending) => pending.response().await.map_err(|error| unreadable(&error)),
                Begun::Nobody => Err(Failure::unusable("This project has no script that could answer")),
            }
        }
    }
}
