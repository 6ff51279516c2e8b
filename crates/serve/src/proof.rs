//! Proofs that a domain is somebody's, for the control plane.

use skep_acme::Tried;
use skep_control::{Checking, Unproved};

/// Looks in DNS and on the web, by the client that Workers have too: it reaches no private address.
pub(crate) struct Proofs(pub(crate) skep_acme::Proofs);

impl skep_control::Proofs for Proofs {
    fn check<'c>(&'c self, domain: &'c str, challenge: &'c str) -> Checking<'c> {
        Box::pin(async move {
            let way = self.0.check(domain, challenge).await.map_err(unproved)?;
            Ok(way.to_string())
        })
    }
}

fn unproved(tried: Vec<Tried>) -> Unproved {
    Unproved { tried: tried.into_iter().map(|tried| tried.found).collect() }
}
