//! The bindings a configuration declares: which key declares which kind, under Cloudflare's names.
//!
//! A kind that Skep does not serve yet becomes [`BindingKind::Unavailable`], so that a Worker that only sometimes uses it runs
//! otherwise; each such key gets one warning.

use std::collections::HashMap;

use skep_worker::{Binding, BindingKind};

use super::settings::Settings;
use crate::diagnostic::Diagnostic;
use crate::document::Node;

/// A key that declares bindings.
pub(crate) struct BindingKey {
    /// The key, and the key inside of it that holds the list, if there is one.
    path: (&'static str, &'static str),
    /// The field of one binding that holds its name.
    name: &'static str,
    /// The kind by the name of Cloudflare's API; empty if the binding's `type` says it.
    kind: &'static str,
    /// Its type in `@cloudflare/workers-types`.
    pub(crate) typescript: &'static str,
}

const fn key(key: &'static str, kind: &'static str, typescript: &'static str) -> BindingKey {
    BindingKey { path: (key, ""), name: "binding", kind, typescript }
}

const fn nested(
    path: (&'static str, &'static str),
    name: &'static str,
    kind: &'static str,
    typescript: &'static str,
) -> BindingKey {
    BindingKey { path, name, kind, typescript }
}

/// Every such key but `vars` and the files of the service worker format.
/// <https://developers.cloudflare.com/workers/wrangler/configuration/#bindings>
pub(crate) const BINDING_KEYS: &[BindingKey] = &[
    key("kv_namespaces", "kv_namespace", "KVNamespace"),
    key("r2_buckets", "r2_bucket", "R2Bucket"),
    key("d1_databases", "d1", "D1Database"),
    nested(("queues", "producers"), "binding", "queue", "Queue"),
    key("vectorize", "vectorize", "VectorizeIndex"),
    key("ai_search_namespaces", "ai_search_namespace", "AiSearchNamespace"),
    key("ai_search", "ai_search", "AiSearchInstance"),
    key("agent_memory", "agent_memory", "AgentMemoryNamespace"),
    key("hyperdrive", "hyperdrive", "Hyperdrive"),
    key("analytics_engine_datasets", "analytics_engine", "AnalyticsEngineDataset"),
    nested(("send_email", ""), "name", "send_email", "SendEmail"),
    key("dispatch_namespaces", "dispatch_namespace", "DispatchNamespace"),
    key("mtls_certificates", "mtls_certificate", "Fetcher"),
    key("pipelines", "pipelines", "any"),
    key("k2", "k2", "any"),
    key("secrets_store_secrets", "secrets_store_secret", "SecretsStoreSecret"),
    key("artifacts", "artifacts", "Artifacts"),
    key("unsafe_hello_world", "unsafe_hello_world", "HelloWorldBinding"),
    key("flagship", "flagship", "Flagship"),
    nested(("ratelimits", ""), "name", "ratelimit", "RateLimit"),
    key("worker_loaders", "worker_loader", "WorkerLoader"),
    key("vpc_services", "vpc_service", "Fetcher"),
    key("vpc_networks", "vpc_network", "Fetcher"),
    key("browser", "browser", "BrowserRun"),
    key("analytics", "analytics", "AnalyticsSQLBinding"),
    key("ai", "ai", "Ai"),
    key("images", "images", "ImagesBinding"),
    key("media", "media", "MediaBinding"),
    key("stream", "stream", "StreamBinding"),
    key("version_metadata", "version_metadata", "WorkerVersionMetadata"),
    nested(("assets", ""), "binding", "assets", "Fetcher"),
    nested(("durable_objects", "bindings"), "name", "durable_object_namespace", "DurableObjectNamespace"),
    key("services", "service", "Fetcher"),
    key("workflows", "workflow", "Workflow"),
    nested(("logfwdr", "bindings"), "name", "logfwdr", "any"),
    nested(("unsafe", "bindings"), "name", "", "any"),
];

impl BindingKey {
    /// What the configuration declares under this key: each binding's table, its name and its kind.
    pub(crate) fn declared<'a>(&self, settings: &Settings<'a>) -> Vec<(&'a Node, &'a str, &'a str)>
    where
        Self: 'a,
    {
        let (key, list) = self.path;
        let node = settings.get(key).and_then(|node| if list.is_empty() { Some(node) } else { node.get(list) });
        let tables: Vec<&Node> = match node {
            Some(node) if !node.elements().is_empty() => node.elements().iter().collect(),
            Some(node) => vec![node],
            None => Vec::new(),
        };
        let declaration = |table: &'a Node| {
            let name = table.get(self.name)?.as_str()?;
            let kind = if self.kind.is_empty() { table.get("type")?.as_str()? } else { self.kind };
            Some((table, name, kind))
        };
        tables.into_iter().filter_map(declaration).collect()
    }

    /// The key as the configuration writes it.
    pub(crate) fn key(&self) -> &'static str {
        self.path.0
    }
}

/// Reads every binding that is not a variable, a secret or a file.
pub(crate) fn read(
    settings: &Settings<'_>,
    warnings: &mut Vec<Diagnostic>,
    errors: &mut Vec<Diagnostic>,
) -> Vec<Binding> {
    let mut bindings = Vec::new();
    for key in BINDING_KEYS {
        let mut unavailable = Vec::new();
        for (table, name, kind) in key.declared(settings) {
            let kind = match kind {
                "version_metadata" => BindingKind::VersionMetadata,
                "assets" => BindingKind::Assets,
                "service" => service(table),
                "ratelimit" => rate_limit(table, settings, errors),
                kind => {
                    unavailable.push(format!("env.{name}"));
                    BindingKind::Unavailable { kind: kind.to_owned() }
                }
            };
            bindings.push(Binding { name: name.to_owned(), kind });
        }
        if let Some(entry) = settings.entry(key.key()).filter(|_| !unavailable.is_empty()) {
            let message = format!("\"{}\": bindings of this kind are not served yet", key.key());
            let hint = format!("{} throws an error when it is used; everything else runs", unavailable.join(", "));
            warnings.push(Diagnostic::warning(message).at(settings.document.location(&entry.key_span)).hint(hint));
        }
    }
    bindings
}

/// <https://developers.cloudflare.com/workers/wrangler/configuration/#service-bindings>
fn service(table: &Node) -> BindingKind {
    let text = |key: &str| table.get(key).and_then(Node::as_str).map(str::to_owned);
    BindingKind::Service {
        // One without is an error of its own.
        worker: text("service").unwrap_or_default(),
        entrypoint: text("entrypoint"),
        props: table.get("props").map(Node::to_json),
    }
}

/// <https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/>
fn rate_limit(table: &Node, settings: &Settings<'_>, errors: &mut Vec<Diagnostic>) -> BindingKind {
    let namespace = table.get("namespace_id").and_then(Node::as_str).unwrap_or_default().to_owned();
    let simple = table.get("simple");
    let mut whole = |key: &str, allowed: &[u32], hint: &str| {
        let node = simple.and_then(|simple| simple.get(key));
        let number = node.and_then(Node::as_f64);
        let found = number.filter(|number| number.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(number));
        let found = found.map(|number| number as u32).filter(|found| allowed.is_empty() || allowed.contains(found));
        if found.is_none() {
            let (place, value) = match node {
                Some(node) => (node, format!("cannot be {}", node.to_json())),
                None => (table, "is missing".to_owned()),
            };
            let message = format!("\"simple.{key}\" of a rate limit {value}");
            errors.push(Diagnostic::error(message).at(settings.document.location(&place.span)).hint(hint));
        }
        found.unwrap_or(1)
    };
    let limit = whole("limit", &[], "set it to a whole number, 1 or more");
    let period = whole("period", &PERIODS, "set it to 10 or 60 seconds");
    BindingKind::RateLimit { namespace, limit, period }
}

/// The periods that a rate limit may have, in seconds.
const PERIODS: [u32; 2] = [10, 60];

/// Two bindings of one name: which of them `env` would hold is not defined.
pub(crate) fn check_unique(settings: &Settings<'_>, errors: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    let variables = settings.get("vars").into_iter().flat_map(|vars| vars.entries());
    let variables = variables.map(|entry| (entry.key.as_str(), "vars", &entry.key_span));
    let others = BINDING_KEYS
        .iter()
        .flat_map(|key| key.declared(settings).into_iter().map(|(table, name, _)| (name, key.key(), &table.span)));
    for (name, key, span) in variables.chain(others) {
        if let Some(first) = seen.insert(name, key) {
            let message = format!("there are two bindings \"{name}\": one in \"{first}\", one in \"{key}\"");
            errors.push(
                Diagnostic::error(message).at(settings.document.location(span)).hint("give one of them another name"),
            );
        }
    }
}
