//! Usage as CloudEvents 1.0 for OpenMeter: <https://openmeter.io/docs/metering/events/overview>,
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.
//!
//! OpenMeter takes events with the same `source` and `id` as one, by default for 32 days, and answers the second one as the first. A meter sums up `$.value` of the events
//! with its type. It answers 2xx when it has taken an event, before it has worked on it.

use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde::{Deserialize, Serialize};
use skep_outbound::Client;
use skep_worker::Secret;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Problem;
use crate::http_post::{Target, bearer, readable};
use crate::senders::Verdict;
use crate::{OpenMeter, UsageEvent};

/// Below the base URL.
const PATH: &str = "/api/v1/events";

pub(crate) struct OpenMeterSender {
    target: Target,
    authorization: Option<HeaderValue>,
    token: Option<Secret>,
    source: String,
}

#[derive(Serialize)]
struct CloudEvent<'e> {
    specversion: &'static str,
    id: &'e str,
    source: &'e str,
    r#type: &'e str,
    subject: &'e str,
    time: String,
    datacontenttype: &'static str,
    data: Data<'e>,
}

#[derive(Serialize)]
struct Data<'e> {
    value: u64,
    account: &'e str,
    window_start: String,
    window_end: String,
}

/// What a refusal says (RFC 9457).
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

impl OpenMeterSender {
    pub(crate) fn new(meter: &OpenMeter, client: &Client) -> Result<Self, Problem> {
        let mut url = if meter.token.is_some() { meter.url.parse_secret("url") } else { meter.url.parse("url") }?;
        if meter.source.is_empty() || meter.source.chars().any(char::is_control) {
            return Err(Problem::new(
                "source",
                "it is empty or has control characters: write a name for this platform",
            ));
        }
        url.set_path(&format!("{}{PATH}", url.path().trim_end_matches('/')));
        let target = Target::new(client.clone(), &url, "url")?;
        let authorization = meter.token.as_ref().map(|token| bearer(token, "token")).transpose()?;
        Ok(Self { target, authorization, token: meter.token.clone(), source: meter.source.clone() })
    }

    pub(crate) async fn send(&self, event: &UsageEvent, id: &str) -> Verdict {
        let body = match serde_json::to_vec(&self.cloud_event(event, id)) {
            Ok(body) => body,
            Err(error) => return Verdict::never(error.to_string()),
        };
        let headers = self.authorization.iter().map(|value| (AUTHORIZATION, value.clone()));
        let reply = match self.target.post("application/cloudevents+json", headers, body).await {
            Ok(reply) => reply,
            Err(verdict) => return verdict,
        };
        let Refusal { title, detail } = serde_json::from_slice(&reply.body).unwrap_or_default();
        let secrets: Vec<&Secret> = self.token.iter().collect();
        let said = detail.or(title).map(|said| readable(&said, &secrets));
        match (reply.status.as_u16(), reply.verdict(self.target.host(), said.as_deref())) {
            // The token is wrong, and the event may be right: it waits until somebody has corrected that.
            (401 | 403, Verdict::Never { reason }) => {
                reply.later(format!("{reason}: look at the token in the configuration"))
            }
            (_, verdict) => verdict,
        }
    }

    fn cloud_event<'e>(&'e self, event: &'e UsageEvent, id: &'e str) -> CloudEvent<'e> {
        let moment = |moment: OffsetDateTime| moment.to_utc().format(&Rfc3339).unwrap_or_default();
        CloudEvent {
            specversion: "1.0",
            id,
            source: &self.source,
            r#type: &event.meter,
            subject: &event.customer,
            time: moment(event.moment()),
            datacontenttype: "application/json",
            data: Data {
                value: event.value,
                account: &event.account,
                window_start: moment(event.window_start),
                window_end: moment(event.window_end),
            },
        }
    }
}
