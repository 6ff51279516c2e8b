//! What a configuration says that concerns deploys only: where the Worker answers, and its bindings as the API takes them.
//! <https://developers.cloudflare.com/workers/configuration/multipart-upload-metadata/#bindings>

use serde_json::{Map, Value};

use super::bindings::BINDING_KEYS;
use super::settings::Settings;
use crate::document::Node;

/// What a configuration says for deploys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deploy {
    /// Whether the Worker answers at its own address below the platform's domain. Unless it is said: if there are no routes.
    pub workers_dev: Option<bool>,
    /// Whether each version has an address of its own. Unless it is said: as `workers_dev`.
    pub preview_urls: Option<bool>,
    /// Where else the Worker answers.
    pub routes: Vec<Route>,
    /// Whether variables stay that were set elsewhere.
    pub keep_vars: bool,
    /// Cron expressions, if the configuration says anything of them: an empty list removes those that are there.
    pub crons: Option<Vec<String>>,
    /// Bindings as the API takes them, without variables, secrets and files. One whose id the configuration leaves out has none.
    pub bindings: Vec<Map<String, Value>>,
    /// Classes of Durable Objects that come and go, as they are written.
    pub migrations: Vec<Value>,
    /// Other settings that an upload sends as they are written: `limits`, `logpush`, `observability`, `placement`,
    /// `tail_consumers`.
    pub settings: Map<String, Value>,
}

/// A route or a custom domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The pattern, or the host name of a custom domain.
    pub pattern: String,
    /// The name of the domain that it is in.
    pub zone_name: Option<String>,
    /// Whether the whole host is the Worker's.
    pub custom_domain: bool,
}

/// Settings that are sent as they are written.
const SENT: [&str; 5] = ["limits", "logpush", "observability", "placement", "tail_consumers"];

/// Fields of a binding under the API's names, where those are others: kind, field, name.
const RENAMED: [(&str, &str, &str); 4] = [
    ("kv_namespace", "id", "namespace_id"),
    ("d1", "database_id", "id"),
    ("queue", "queue", "queue_name"),
    ("workflow", "name", "workflow_name"),
];

/// Fields of a binding that are for development, or for other commands.
const LEFT_OUT: [&str; 18] = [
    "binding",
    "concurrency",
    "database_internal_env",
    "database_name",
    "default_retention",
    "dev",
    "limits",
    "localConnectionString",
    "local_dev",
    "migrations_dir",
    "migrations_pattern",
    "migrations_table",
    "name",
    "preview_bucket_name",
    "preview_database_id",
    "preview_id",
    "remote",
    "schedules",
];

/// Reads all that.
pub(super) fn read(settings: &Settings<'_>) -> Deploy {
    let json = |key: &str| settings.get(key).filter(|node| !node.is_empty()).map(Node::to_json);
    let routes = settings.get("routes").map(Node::elements).unwrap_or_default();
    let crons = settings.get("triggers").and_then(|triggers| triggers.get("crons"));
    Deploy {
        workers_dev: settings.boolean("workers_dev"),
        preview_urls: settings.boolean("preview_urls"),
        routes: routes.iter().chain(settings.get("route")).filter_map(route).collect(),
        keep_vars: settings.boolean("keep_vars").unwrap_or(false),
        crons: crons.filter(|crons| !matches!(crons.to_json(), Value::Null)).map(Node::strings),
        bindings: bindings(settings),
        migrations: settings.get("migrations").map_or(&[][..], Node::elements).iter().map(Node::to_json).collect(),
        settings: SENT.into_iter().filter_map(|key| Some((key.to_owned(), json(key)?))).collect(),
    }
}

fn route(node: &Node) -> Option<Route> {
    let text = |key: &str| node.get(key).and_then(Node::as_str).map(str::to_owned);
    match node.as_str() {
        Some(pattern) => Some(Route { pattern: pattern.to_owned(), zone_name: None, custom_domain: false }),
        None => Some(Route {
            pattern: text("pattern")?,
            zone_name: text("zone_name"),
            custom_domain: node.get("custom_domain").and_then(Node::as_bool).unwrap_or(false),
        }),
    }
}

fn bindings(settings: &Settings<'_>) -> Vec<Map<String, Value>> {
    let mut bindings = Vec::new();
    for (table, name, kind) in BINDING_KEYS.iter().flat_map(|key| key.declared(settings)) {
        let mut binding = Map::new();
        binding.insert("name".to_owned(), name.into());
        binding.insert("type".to_owned(), kind.into());
        for entry in table.entries() {
            let renamed = RENAMED.iter().find(|(of, field, _)| *of == kind && *field == entry.key);
            let is_sent = kind != "assets" && !LEFT_OUT.contains(&entry.key.as_str());
            match renamed {
                Some((_, _, name)) => drop(binding.insert((*name).to_owned(), entry.node.to_json())),
                None if is_sent => drop(binding.insert(entry.key.clone(), entry.node.to_json())),
                None => {}
            }
        }
        bindings.push(binding);
    }
    bindings
}
