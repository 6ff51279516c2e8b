//! What the API answers, as far as commands show it. Serialised, each is what `--json` prints.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Whether a token is good.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenStatus {
    /// Its id.
    pub id: String,
    /// `active`
    pub status: String,
    /// When it expires, RFC 3339.
    pub expires_on: Option<String>,
}

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Whoever a token stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// The token's id.
    pub id: String,
    /// An e-mail address, or what stands for one.
    pub email: String,
}

/// What is said about a version or a deployment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Annotations {
    /// Why it was made.
    #[serde(rename = "workers/message", default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A name of the author's own.
    #[serde(rename = "workers/tag", default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What made it.
    #[serde(rename = "workers/triggered_by", default, skip_serializing_if = "Option::is_none")]
    pub triggered_by: Option<String>,
}

/// A version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    /// Its id.
    pub id: String,
    /// The how manieth it is of its Worker.
    #[serde(default)]
    pub number: i64,
    /// Who made it, when, with what.
    pub metadata: VersionMetadata,
    /// What was said about it.
    #[serde(default)]
    pub annotations: Annotations,
    /// Bindings, handlers, compatibility date and flags, as the API shows them.
    #[serde(default)]
    pub resources: Value,
    /// How long it took to start, in milliseconds.
    #[serde(default)]
    pub startup_time_ms: u64,
}

impl Version {
    /// Its bindings.
    pub fn bindings(&self) -> impl Iterator<Item = &Map<String, Value>> {
        let bindings = self.resources.get("bindings").and_then(Value::as_array);
        bindings.into_iter().flatten().filter_map(Value::as_object)
    }
}

/// Who made a version, when, with what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VersionMetadata {
    /// RFC 3339.
    pub created_on: String,
    /// The token's or person's name.
    #[serde(default)]
    pub author_email: String,
    /// The program.
    #[serde(default)]
    pub source: String,
    /// Whether it has an address of its own.
    #[serde(default)]
    pub has_preview: bool,
}

/// A version's share of the traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The version.
    pub version_id: String,
    /// From 0 to 100.
    pub percentage: f64,
}

/// Which versions get what share of the traffic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// The program that made it.
    #[serde(default)]
    pub source: String,
    /// Who made it.
    #[serde(default)]
    pub author_email: String,
    /// RFC 3339.
    pub created_on: String,
    /// What was said about it.
    #[serde(default)]
    pub annotations: Annotations,
    /// The shares.
    pub versions: Vec<Share>,
}

/// A secret's name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecretName {
    /// The property of `env`.
    pub name: String,
    /// `secret_text` or `secret_key`
    #[serde(rename = "type")]
    pub kind: String,
}

/// A proved domain, by Cloudflare's name for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Zone {
    /// Its id.
    pub id: String,
    /// The domain.
    pub name: String,
}

/// A pattern of addresses that a Worker answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Route {
    /// Its id.
    pub id: String,
    /// The pattern.
    pub pattern: String,
    /// The Worker.
    pub script: String,
    /// The domain's id.
    pub zone_id: String,
    /// The domain.
    pub zone_name: String,
}

/// A host that is a Worker's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CustomDomain {
    /// Its id.
    pub id: String,
    /// The host.
    pub hostname: String,
    /// The Worker.
    pub service: String,
    /// The domain that it is in.
    pub zone_name: String,
}

/// A domain of the account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Domain {
    /// Its id.
    pub id: String,
    /// The domain.
    pub name: String,
    /// When control of it was proved, RFC 3339.
    pub verified_on: Option<String>,
    /// How to prove it.
    pub proof: Proof,
}

/// How to prove control of a domain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proof {
    /// A record: `type`, `name`, `value`.
    pub dns: Value,
    /// A file: `url`, `content`.
    pub file: Value,
}

/// An API token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub permissions: Vec<String>,
    /// The only Worker that it is for.
    pub worker: Option<String>,
    /// Milliseconds since 1970.
    pub created_on: i64,
    /// Milliseconds since 1970.
    pub expires_on: Option<i64>,
    /// The token itself: only in the answer that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A cron trigger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Schedule {
    /// The expression.
    pub cron: String,
    /// RFC 3339.
    #[serde(default)]
    pub created_on: String,
    /// The minute for which it fired last, RFC 3339.
    #[serde(default)]
    pub last_due: Option<String>,
}

/// How a run of a scheduled handler went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CronRun {
    /// The expression.
    pub cron: String,
    /// `ok`, `exception` and so on.
    pub outcome: String,
    /// The handler's own error, if it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub wall_time_ms: u64,
}

/// A Worker's own address.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerAddress {
    /// Whether the Worker answers there.
    #[serde(default)]
    pub enabled: bool,
    /// Whether each version has an address of its own.
    #[serde(default)]
    pub previews_enabled: bool,
    /// The address.
    #[serde(default)]
    pub url: Option<String>,
}
