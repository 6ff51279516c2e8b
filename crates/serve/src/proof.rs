//! Looking at the web for the proof that a domain is somebody's.

use std::time::Duration;

use http::Request;
use skep_control::{Fetched, Proofs};
use skep_exchange::Body;
use skep_outbound::Client;

/// The longest text of a proof in bytes.
const MOST: u64 = 4096;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The web, by the client that Workers have too: it reaches no private address.
pub(crate) struct Web(pub(crate) Client);

impl Proofs for Web {
    fn fetch(&self, url: String) -> Fetched<'_> {
        Box::pin(async move {
            let request = Request::get(&url).body(Body::empty()).map_err(|error| error.to_string())?;
            let fetching = async {
                let answer = self.0.fetch(request).await.map_err(|error| error.to_string())?.response;
                if !answer.status().is_success() {
                    return Err(format!("it answers with the status {}", answer.status()));
                }
                let bytes = answer.into_body().collect(MOST).await.map_err(|error| error.to_string())?;
                String::from_utf8(bytes.to_vec()).map_err(|_| "it is no text".to_owned())
            };
            let fetched = tokio::time::timeout(PATIENCE, fetching).await;
            fetched.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
        })
    }
}
