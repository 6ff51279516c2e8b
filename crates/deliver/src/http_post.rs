//! One POST: bounded in time and size, and an answer that says what to do next.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri};
use skep_exchange::{Body, Request};
use skep_outbound::{Client, retry_after};
use skep_worker::Secret;
use url::Url;

use crate::destination::Problem;
use crate::senders::Verdict;

/// The most that is read of an answer, in bytes, and how long it is waited for: all of it is for people.
const LARGEST: u64 = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that is told of an answer, in characters.
const LONGEST: usize = 200;

/// Where to post to.
pub(crate) struct Target {
    client: Client,
    uri: Uri,
    /// For people: a path may be a secret.
    host: String,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Empty where it was too large or too slow.
    pub(crate) body: Vec<u8>,
}

impl Target {
    pub(crate) fn new(client: Client, url: &Url, key: &'static str) -> Result<Self, Problem> {
        let uri =
            url.as_str().parse().map_err(|_| Problem::new(key, "HTTP has no such URL: look for a typing error"))?;
        Ok(Self { client, uri, host: url.host_str().unwrap_or_default().to_owned() })
    }

    /// Posts once.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn post(
        &self,
        content_type: &'static str,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        body: Vec<u8>,
    ) -> Result<Reply, Verdict> {
        let mut request = Request::new(Body::full(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        request.headers_mut().extend(headers);
        let answer = self.client.fetch(request).await.map_err(|error| Verdict::later(error.to_string()))?;
        let (parts, body) = answer.response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect(LARGEST)).await;
        let body = body.ok().and_then(Result::ok).map(Vec::from).unwrap_or_default();
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }

    /// The host, for people.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

impl Reply {
    /// What an answer means where nothing else is known of it. `detail` is what the server says, if that is for people.
    pub(crate) fn verdict(&self, host: &str, detail: Option<&str>) -> Verdict {
        let status = self.status;
        let mut reason = format!("{host} answered {status}");
        if let Some(detail) = detail.filter(|detail| !detail.is_empty()) {
            reason = format!("{reason}: {detail}");
        }
        match status.as_u16() {
            200..300 => Verdict::Delivered,
            300..400 => {
                let advice = "redirects are not followed, write the URL that it leads to into the configuration";
                self.later(format!("{reason}: {advice}"))
            }
            408 | 425 | 429 => self.later(reason),
            400..500 => Verdict::Never { reason },
            _ => self.later(reason),
        }
    }

    /// To be tried later: when the server says, if it says.
    pub(crate) fn later(&self, reason: String) -> Verdict {
        Verdict::Later { reason, wait: retry_after(&self.headers, SystemTime::now()) }
    }
}

/// A header's value, which is hidden where headers are printed.
pub(crate) fn bearer(secret: &Secret, key: &'static str) -> Result<HeaderValue, Problem> {
    let value = HeaderValue::try_from(format!("Bearer {}", secret.reveal()));
    let mut value = value.map_err(|_| Problem::new(key, "it has characters that no header may have: copy it again"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a server says, fit for a person's eyes: one short line without the secrets that the server was told.
pub(crate) fn readable(text: &str, secrets: &[&Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().map(|secret| secret.reveal()).filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "[hidden]");
    }
    let text: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    text.trim().chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_what_is_next() {
        for (status, expected) in [
            (200, "delivered"),
            (204, "delivered"),
            (301, "later"),
            (308, "later"),
            (400, "never"),
            (401, "never"),
            (404, "never"),
            (408, "later"),
            (410, "never"),
            (425, "later"),
            (429, "later"),
            (500, "later"),
            (503, "later"),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let verdict = Reply { status, headers: HeaderMap::new(), body: Vec::new() }.verdict("a.example", None);
            let found = match verdict {
                Verdict::Delivered => "delivered",
                Verdict::Later { .. } => "later",
                Verdict::Never { .. } => "never",
            };
            assert_eq!(found, expected, "{status}");
        }
    }

    #[test]
    fn what_servers_say_is_one_short_line_without_secrets() {
        let secret = Secret::new("sk_live_1");
        assert_eq!(readable(" no\r\nkey sk_live_1\u{7} ", &[&secret]), "no  key [hidden]");
        assert_eq!(readable(&"é".repeat(1000), &[]).chars().count(), LONGEST);
    }
}
