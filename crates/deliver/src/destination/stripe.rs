//! Meter events of Stripe Billing: <https://docs.stripe.com/api/billing/meter-event/create>.
//!
//! An event's `identifier` is unique for at least 24 hours: the second one with the same is refused with status 400 and "An event already exists
//! with identifier", which means that it is there. The header `Idempotency-Key` goes with it, for tries that cross each other. As Stripe repeats its
//! first answer to that header, failures too (<https://docs.stripe.com/api/idempotent_requests>), an event that it answered with a failure goes
//! without it from then on: what was wrong may be right now. An event must not be older than 35 days nor more than 5 minutes in the future, and
//! its value is a whole number.
//!
//! What remains: if Stripe takes an event and its answer is lost, and all further tries are lost for 24 hours too, the next one may count twice.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use skep_outbound::Client;
use skep_worker::Secret;
use url::form_urlencoded;

use super::Problem;
use crate::http_post::{Reply, Target, bearer, readable};
use crate::senders::Verdict;
use crate::{Stripe, UsageEvent};

/// Below the base URL.
const PATH: &str = "/v1/billing/meter_events";
/// What Stripe says of an identifier that it has.
const DUPLICATE: &str = "An event already exists with identifier";
const DUPLICATE_CODE: &str = "duplicate_meter_event";

pub(crate) struct StripeSender {
    target: Target,
    authorization: HeaderValue,
    key: Secret,
    /// The event that Stripe answered with a failure last.
    failed: Mutex<Option<String>>,
}

/// <https://docs.stripe.com/api/errors>
#[derive(Default, Deserialize)]
struct Answer {
    #[serde(default)]
    error: Refusal,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl StripeSender {
    pub(crate) fn new(stripe: &Stripe, client: &Client) -> Result<Self, Problem> {
        let key = &stripe.key;
        if !key.reveal().starts_with("sk_") && !key.reveal().starts_with("rk_") {
            let advice = "take a restricted key (rk_…) that may write meter events, or a secret key (sk_…), from Stripe's dashboard";
            return Err(Problem::new("key", format!("it is neither a secret nor a restricted key: {advice}")));
        }
        let mut url = stripe.url.parse_secret("url")?;
        url.set_path(&format!("{}{PATH}", url.path().trim_end_matches('/')));
        let target = Target::new(client.clone(), &url, "url")?;
        Ok(Self { target, authorization: bearer(key, "key")?, key: key.clone(), failed: Mutex::default() })
    }

    pub(crate) async fn send(&self, event: &UsageEvent, id: &str) -> Verdict {
        let has_failed = self.failed().as_deref() == Some(id);
        let mut reply = self.post(event, id, !has_failed).await;
        if matches!(&reply, Ok(reply) if !reply.status.is_success() && says_true(reply, "idempotent-replayed")) {
            reply = self.post(event, id, false).await;
        }
        let reply = match reply {
            Ok(reply) => reply,
            Err(verdict) => return verdict,
        };
        let verdict = self.verdict(&reply);
        if verdict != Verdict::Delivered {
            *self.failed() = Some(id.to_owned());
        }
        verdict
    }

    fn failed(&self) -> MutexGuard<'_, Option<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn post(&self, event: &UsageEvent, id: &str, has_key: bool) -> Result<Reply, Verdict> {
        let mut headers = vec![(AUTHORIZATION, self.authorization.clone())];
        if has_key {
            let key = HeaderValue::try_from(id);
            let key = key.map_err(|_| Verdict::never("its key has characters that no header may have"))?;
            headers.push((HeaderName::from_static("idempotency-key"), key));
        }
        self.target.post("application/x-www-form-urlencoded", headers, form(event, id).into_bytes()).await
    }

    fn verdict(&self, reply: &Reply) -> Verdict {
        let Answer { error } = serde_json::from_slice(&reply.body).unwrap_or_default();
        let message = error.message.map(|message| readable(&message, &[&self.key]));
        let says = |beginning| message.as_deref().is_some_and(|message| message.starts_with(beginning));
        if reply.status.as_u16() == 400 && (error.code.as_deref() == Some(DUPLICATE_CODE) || says(DUPLICATE)) {
            return Verdict::Delivered;
        }
        let host = self.target.host();
        match (reply.status.as_u16(), reply.verdict(host, message.as_deref())) {
            // The key is wrong, and the event may be right: it waits until somebody has corrected that.
            (401 | 403, Verdict::Never { reason }) => {
                reply.later(format!("{reason}: look at the key in the configuration and at what it may do"))
            }
            // Another request with the same key is under way.
            (409, Verdict::Never { reason }) => reply.later(reason),
            (_, Verdict::Never { reason }) if says_true(reply, "stripe-should-retry") => reply.later(reason),
            (_, verdict) => verdict,
        }
    }
}

/// Whether a header says "true".
fn says_true(reply: &Reply, name: &str) -> bool {
    reply.headers.get(name).is_some_and(|value| value.as_bytes() == b"true")
}

fn form(event: &UsageEvent, id: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("event_name", &event.meter)
        .append_pair("payload[stripe_customer_id]", &event.customer)
        .append_pair("payload[value]", &event.value.to_string())
        .append_pair("identifier", id)
        .append_pair("timestamp", &event.moment().unix_timestamp().to_string())
        .finish()
}
