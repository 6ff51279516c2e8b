//! Destinations: where items go, as the configuration says it.
//!
//! These types are read from a section of TOML; [`crate::Senders::new`] says what is wrong with what they say. Secrets and the paths of URLs, which
//! often are secrets, are in no error and no `Debug`.

pub(crate) mod email;
pub(crate) mod openmeter;
pub(crate) mod stripe;
pub(crate) mod webhook;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use skep_worker::Secret;
use url::{Host, Url};

/// Where items go.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Destination {
    /// Alerts and usage events as JSON, signed as the Standard Webhooks say.
    Webhook(Webhook),
    /// Alerts as e-mail.
    Email(Email),
    /// Usage events as meter events of Stripe Billing.
    Stripe(Stripe),
    /// Usage events as CloudEvents of OpenMeter.
    OpenMeter(OpenMeter),
}

/// A server that takes webhooks. <https://www.standardwebhooks.com>
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where JSON is posted to.
    pub url: Endpoint,
    /// The key of the signatures: "whsec_" and 24 to 64 random bytes in base64.
    #[serde(deserialize_with = "secret")]
    pub secret: Secret,
}

/// A server that takes e-mail (SMTP, RFC 5321).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The server's name or address.
    pub host: String,
    /// Its port. Without it: 587 with STARTTLS, 465 with implicit TLS, 25 with none.
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: Tls,
    /// A file of PEM with the certificate that the server's own one is signed by, for an authority inside of a company. The public ones are
    /// trusted without it, and not with it.
    pub root: Option<PathBuf>,
    /// Who logs in, if somebody does.
    pub user: Option<String>,
    /// The user's password.
    #[serde(default, deserialize_with = "optional_secret")]
    pub password: Option<Secret>,
    /// Who the messages are from: "skep@example.com", or with a name, "Skep <skep@example.com>".
    pub from: String,
    /// Who they are for.
    pub to: Vec<String>,
}

/// How a connection to a server of e-mail is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// It begins without TLS, and goes on with it or not at all (RFC 3207).
    #[default]
    Starttls,
    /// It begins with TLS (RFC 8314).
    Implicit,
    /// Not at all: to this machine only.
    None,
}

/// An account of Stripe. <https://docs.stripe.com/api/billing/meter-event/create>
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stripe {
    /// The secret key, or better a restricted one that may write meter events only.
    #[serde(deserialize_with = "secret")]
    pub key: Secret,
    /// The API's base URL.
    #[serde(default = "stripe_url")]
    pub url: Endpoint,
}

/// An OpenMeter. <https://openmeter.io/docs/metering/events/overview>
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenMeter {
    /// Its base URL, such as `https://openmeter.cloud` or `http://127.0.0.1:8888`. Events are posted to `/api/v1/events` below it.
    pub url: Endpoint,
    /// The token, if it wants one.
    #[serde(default, deserialize_with = "optional_secret")]
    pub token: Option<Secret>,
    /// The source of the events: OpenMeter takes events with the same source and id as one. Two platforms that send to the same OpenMeter have
    /// different ones.
    #[serde(default = "source")]
    pub source: String,
}

/// A URL. Its path and query are often secret: `Debug` shows scheme and host only.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Endpoint(String);

/// What is wrong with a destination or an export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{section}.{key}: {problem}")]
pub struct ConfigError {
    /// Whose configuration it is in: "destinations.ops", "export.stripe".
    pub section: String,
    /// The key.
    pub key: &'static str,
    /// What is wrong with its value, and what to do.
    pub problem: String,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

fn optional_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    secret(deserializer).map(Some)
}

fn stripe_url() -> Endpoint {
    Endpoint::new("https://api.stripe.com")
}

fn source() -> String {
    "skep".to_owned()
}

/// What is wrong with one key of a section. The section's name comes later.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) key: &'static str,
    pub(crate) problem: String,
}

impl Problem {
    pub(crate) fn new(key: &'static str, problem: impl Into<String>) -> Self {
        Self { key, problem: problem.into() }
    }

    pub(crate) fn of(self, section: String) -> ConfigError {
        ConfigError { section, key: self.key, problem: self.problem }
    }
}

// === impl Destination ===

impl Destination {
    /// What it is, as the configuration says it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Stripe(_) => "stripe",
            Self::OpenMeter(_) => "openmeter",
        }
    }

    /// Whether it takes alerts.
    pub fn takes_alerts(&self) -> bool {
        matches!(self, Self::Webhook(_) | Self::Email(_))
    }

    /// Whether it takes usage events.
    pub fn takes_usage(&self) -> bool {
        matches!(self, Self::Webhook(_) | Self::Stripe(_) | Self::OpenMeter(_))
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// A URL, whatever it is.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL, if HTTP can be spoken there.
    pub(crate) fn parse(&self, key: &'static str) -> Result<Url, Problem> {
        let url = Url::parse(&self.0).map_err(|error| {
            Problem::new(
                key,
                format!("it is no URL ({error}): write it whole, as in \"https://hooks.example.com/skep\""),
            )
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Problem::new(key, "its scheme is neither https nor http: use one of them"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Problem::new(key, "it has a user or a password in it: leave them out, they would not be sent"));
        }
        if url.fragment().is_some() {
            return Err(Problem::new(key, "it has a fragment (#): leave it out, servers do not see it"));
        }
        Ok(url)
    }

    /// As [`Self::parse`], for a URL that a secret is sent to: nobody may read it on the way.
    pub(crate) fn parse_secret(&self, key: &'static str) -> Result<Url, Problem> {
        let url = self.parse(key)?;
        match url.scheme() == "https" || url.host().as_ref().is_some_and(is_loopback) {
            true => Ok(url),
            false => Err(Problem::new(key, "a secret would be sent to it without encryption: use https")),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = Url::parse(&self.0).map(|url| format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()));
        write!(formatter, "Endpoint({})", shown.as_deref().unwrap_or("no URL"))
    }
}

/// Whether this is the machine itself.
pub(crate) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}
