//! Webhooks, signed as the Standard Webhooks say, version 1.0.0:
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
//!
//! The id stays the same over all tries, the timestamp is the try's own, and both are signed with the body. Any 2xx is a success; a redirect is not
//! followed.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use skep_outbound::Client;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Problem;
use crate::http_post::Target;
use crate::senders::Verdict;
use crate::{Message, Webhook};

/// How a secret begins, and how many bytes it has.
const PREFIX: &str = "whsec_";
const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

pub(crate) struct WebhookSender {
    target: Target,
    key: hmac::Key,
}

impl WebhookSender {
    pub(crate) fn new(webhook: &Webhook, client: &Client) -> Result<Self, Problem> {
        let target = Target::new(client.clone(), &webhook.url.parse("url")?, "url")?;
        Ok(Self { target, key: key(webhook.secret.reveal())? })
    }

    pub(crate) async fn send(&self, message: &Message, id: &str) -> Verdict {
        let body = payload(message).to_string();
        let timestamp = OffsetDateTime::now_utc().unix_timestamp();
        let headers = [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signature(&self.key, id, timestamp, &body)),
        ];
        let header = |(name, value): (&'static str, String)| {
            Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?))
        };
        let Some(headers) = headers.into_iter().map(header).collect::<Option<Vec<_>>>() else {
            return Verdict::never("its key has characters that no header may have");
        };
        match self.target.post("application/json", headers, body.into_bytes()).await {
            Ok(reply) => reply.verdict(self.target.host(), None),
            Err(verdict) => verdict,
        }
    }
}

/// The key that a secret stands for.
fn key(secret: &str) -> Result<hmac::Key, Problem> {
    let advice = "write \"whsec_\" and 24 to 64 random bytes in base64, which `openssl rand -base64 32` makes";
    let problem = |what: &str| Problem::new("secret", format!("{what}: {advice}"));
    let encoded = secret.strip_prefix(PREFIX).ok_or_else(|| problem("it does not begin with \"whsec_\""))?;
    let bytes = STANDARD.decode(encoded).map_err(|_| problem("what comes after \"whsec_\" is not base64"))?;
    if !LENGTH.contains(&bytes.len()) {
        return Err(problem("it does not have 24 to 64 bytes"));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The header `webhook-signature`.
fn signature(key: &hmac::Key, id: &str, timestamp: i64, body: &str) -> String {
    let signed = hmac::sign(key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(signed))
}

/// The body: `type`, `timestamp` and `data`, as the specification recommends.
fn payload(message: &Message) -> Value {
    let moment = |moment: OffsetDateTime| moment.to_utc().format(&Rfc3339).unwrap_or_default();
    match message {
        Message::Alert(alert) => json!({
            "type": format!("alert.{}", alert.kind),
            "timestamp": moment(alert.at),
            "data": {
                "kind": alert.kind,
                "severity": alert.severity,
                "account": alert.account,
                "worker": alert.worker,
                "title": alert.title,
                "text": alert.text,
                "key": alert.key,
            },
        }),
        Message::Usage(event) => json!({
            "type": "usage.reported",
            "timestamp": moment(event.moment()),
            "data": {
                "account": event.account,
                "customer": event.customer,
                "meter": event.meter,
                "value": event.value,
                "window_start": moment(event.window_start),
                "window_end": moment(event.window_end),
                "key": event.key,
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the reference libraries have among their tests:
    /// <https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/javascript/src/webhook.test.ts>.
    #[test]
    fn the_signature_is_that_of_the_reference_libraries() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_that_are_none_say_what_to_do() {
        for (secret, expected) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "it does not begin with \"whsec_\""),
            ("whsec_!!", "not base64"),
            ("whsec_c2hvcnQ=", "24 to 64 bytes"),
        ] {
            let Err(problem) = key(secret) else { panic!("{secret} is a secret") };
            assert!(problem.problem.contains(expected) && problem.problem.contains("openssl rand"), "{problem:?}");
            assert!(!problem.problem.contains("MfKQ9r8G"), "{problem:?}");
        }
    }
}
