//! What the two processes tell each other, where it is more than plain types: versions, with their secrets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use skep_observe::{EventRecord, Source};
use skep_store::Change;
use skep_worker::{
    Binding, BindingKind, Compatibility, CompatibilityError, EntryFormat, Limits, Module, ModuleContent, Secret,
};
use uuid::Uuid;

/// A version, as it crosses.
#[derive(Serialize, Deserialize)]
pub struct Version {
    worker: String,
    id: String,
    main: String,
    service_worker: bool,
    modules: Vec<(String, Content)>,
    bindings: Vec<(String, Kind)>,
    compatibility_date: String,
    compatibility_flags: Vec<String>,
    cpu: Duration,
}

#[derive(Serialize, Deserialize)]
enum Content {
    EsModule { source: String, source_map: Option<String> },
    CommonJs(String),
    Text(String),
    Json(String),
    Data(ByteBuf),
    Wasm(ByteBuf),
}

/// Values of JSON cross as their texts.
#[derive(Serialize, Deserialize)]
enum Kind {
    PlainText(String),
    Json(String),
    SecretText(String),
    VersionMetadata,
    Module(String),
    Assets,
    Service { worker: String, entrypoint: Option<String>, props: Option<String> },
    RateLimit { namespace: String, limit: u32, period: u32 },
    Unavailable { kind: String },
}

impl From<&skep_worker::Version> for Version {
    fn from(version: &skep_worker::Version) -> Self {
        Self {
            worker: version.worker.clone(),
            id: version.id.clone(),
            main: version.main.clone(),
            service_worker: version.format == EntryFormat::ServiceWorker,
            modules: version
                .modules
                .iter()
                .map(|module| (module.name.clone(), Content::from(&module.content)))
                .collect(),
            bindings: version
                .bindings
                .iter()
                .map(|binding| (binding.name.clone(), Kind::from(&binding.kind)))
                .collect(),
            compatibility_date: version.compatibility.date().to_string(),
            compatibility_flags: version.compatibility.named().to_vec(),
            cpu: version.limits.cpu,
        }
    }
}

impl TryFrom<Version> for skep_worker::Version {
    type Error = CompatibilityError;

    fn try_from(version: Version) -> Result<Self, CompatibilityError> {
        let format = if version.service_worker { EntryFormat::ServiceWorker } else { EntryFormat::Module };
        let modules = version.modules.into_iter().map(|(name, content)| Module { name, content: content.into() });
        let bindings = version.bindings.into_iter().map(|(name, kind)| Binding { name, kind: kind.into() });
        Ok(Self {
            worker: version.worker,
            id: version.id,
            main: version.main,
            format,
            modules: modules.collect(),
            bindings: bindings.collect(),
            compatibility: Compatibility::new(version.compatibility_date.parse()?, version.compatibility_flags)?,
            limits: Limits { cpu: version.cpu, ..Limits::default() },
        })
    }
}

impl From<&ModuleContent> for Content {
    fn from(content: &ModuleContent) -> Self {
        match content {
            ModuleContent::EsModule { source, source_map } => {
                Self::EsModule { source: source.to_string(), source_map: source_map.as_deref().map(str::to_owned) }
            }
            ModuleContent::CommonJs(text) => Self::CommonJs(text.to_string()),
            ModuleContent::Text(text) => Self::Text(text.to_string()),
            ModuleContent::Json(text) => Self::Json(text.to_string()),
            ModuleContent::Data(bytes) => Self::Data(ByteBuf::from(bytes.to_vec())),
            ModuleContent::Wasm(bytes) => Self::Wasm(ByteBuf::from(bytes.to_vec())),
        }
    }
}

impl From<Content> for ModuleContent {
    fn from(content: Content) -> Self {
        match content {
            Content::EsModule { source, source_map } => {
                Self::EsModule { source: source.into(), source_map: source_map.map(Into::into) }
            }
            Content::CommonJs(text) => Self::CommonJs(text.into()),
            Content::Text(text) => Self::Text(text.into()),
            Content::Json(text) => Self::Json(text.into()),
            Content::Data(bytes) => Self::Data(bytes.into_vec().into()),
            Content::Wasm(bytes) => Self::Wasm(bytes.into_vec().into()),
        }
    }
}

impl From<&BindingKind> for Kind {
    fn from(kind: &BindingKind) -> Self {
        match kind.clone() {
            BindingKind::PlainText(text) => Self::PlainText(text),
            BindingKind::Json(value) => Self::Json(value.to_string()),
            BindingKind::SecretText(secret) => Self::SecretText(secret.reveal().to_owned()),
            BindingKind::VersionMetadata => Self::VersionMetadata,
            BindingKind::Module(name) => Self::Module(name),
            BindingKind::Assets => Self::Assets,
            BindingKind::Service { worker, entrypoint, props } => {
                Self::Service { worker, entrypoint, props: props.map(|props| props.to_string()) }
            }
            BindingKind::RateLimit { namespace, limit, period } => Self::RateLimit { namespace, limit, period },
            BindingKind::Unavailable { kind } => Self::Unavailable { kind },
        }
    }
}

impl From<Kind> for BindingKind {
    fn from(kind: Kind) -> Self {
        // What is no JSON was none before.
        let value = |text: &str| serde_json::from_str(text).unwrap_or_default();
        match kind {
            Kind::PlainText(text) => Self::PlainText(text),
            Kind::Json(text) => Self::Json(value(&text)),
            Kind::SecretText(text) => Self::SecretText(Secret::new(text)),
            Kind::VersionMetadata => Self::VersionMetadata,
            Kind::Module(name) => Self::Module(name),
            Kind::Assets => Self::Assets,
            Kind::Service { worker, entrypoint, props } => {
                Self::Service { worker, entrypoint, props: props.map(|props| value(&props)) }
            }
            Kind::RateLimit { namespace, limit, period } => Self::RateLimit { namespace, limit, period },
            Kind::Unavailable { kind } => Self::Unavailable { kind },
        }
    }
}

/// A version that was uploaded, started once.
#[derive(Debug, Serialize, Deserialize)]
pub struct Started {
    /// The events that it handles.
    pub handlers: Vec<String>,
    /// V8's code caches, by the names of modules.
    pub code: Vec<(String, ByteBuf)>,
    /// CPU time that it took, in milliseconds.
    pub startup_time_ms: u64,
}

/// A version as it is kept, in JSON, and its secrets by their names.
#[derive(Serialize, Deserialize)]
pub struct Opened {
    /// The record.
    pub record: String,
    /// The secrets.
    pub secrets: HashMap<String, String>,
}

/// A version at an address of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preview {
    /// By the beginning of its id.
    Prefix(Uuid, u32),
    /// By its alias.
    Alias(Uuid, String),
}

/// What a version has answered since its process began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// The last error that was not caught.
    pub last_error: Option<String>,
}

/// What those who run Workers must know, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// Workers changed, or are told for the first time.
    Changes(Vec<Change>),
    /// Somebody watches a Worker's events, or nobody does any more.
    Watched {
        /// The account's id.
        account: String,
        /// The Worker's name.
        worker: String,
        /// Whether anybody watches.
        on: bool,
    },
    /// What becomes of requests of an account, or of one of its Workers.
    Limited {
        /// The account's id.
        account: String,
        /// The Worker's name. Nothing: all of them.
        worker: Option<String>,
        /// What. Nothing: they are served.
        gate: Option<Gate>,
    },
    /// Where a version runs.
    Runs {
        /// The version.
        version: Uuid,
        /// Where.
        place: Place,
    },
}

/// What becomes of requests of who has used what he may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Requests that are served each second. 0: none.
    pub per_second: u32,
    /// Why, for who is refused.
    pub reason: String,
    /// Until when, in seconds since 1970, if nobody changes anything.
    pub until: i64,
}

/// Where a version runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Here, as all do.
    Here,
    /// In a process of its own: its requests go to the supervisor.
    Own,
    /// Nowhere.
    Nowhere {
        /// Why, for who asks for it.
        reason: String,
    },
}

/// An event of a Worker that is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The account's id.
    pub account: Arc<str>,
    /// Which run of which Worker.
    pub source: Source,
    /// The event.
    pub record: EventRecord,
    /// Events of the Worker before this one that found no room.
    pub missed: u64,
    /// Those of them that failed.
    pub missed_failures: u64,
}

/// What a runtime has and does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Versions that are loaded.
    pub versions: usize,
    /// Their isolates.
    pub isolates: usize,
    /// Isolates that wait for a version.
    pub spares: usize,
    /// Events in line for an isolate.
    pub waiting: usize,
    /// Time that isolates were busy, since the process began.
    pub busy: Duration,
    /// Events that have been in line.
    pub queued: u64,
    /// How long they were, together.
    pub queue_delay: Duration,
    /// Versions that had no isolate and were started.
    pub cold_starts: u64,
    /// What that took, together.
    pub cold_start_time: Duration,
    /// More isolates of versions that had one.
    pub more_isolates: u64,
    /// Memory of the process in bytes.
    pub memory: u64,
    /// Requests that were refused because what may be used was used.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use skep_worker::{
        Binding, BindingKind, Compatibility, EntryFormat, Limits, Module, ModuleContent, Secret, Version,
    };

    #[test]
    fn a_version_crosses_whole() {
        let module = |name: &str, content| Module { name: name.to_owned(), content };
        let binding = |name: &str, kind| Binding { name: name.to_owned(), kind };
        let json = serde_json::json!({ "a": [1, null] });
        let version = Version {
            worker: "w".to_owned(),
            id: "i".to_owned(),
            main: "m.js".to_owned(),
            format: EntryFormat::Module,
            modules: vec![
                module("m.js", ModuleContent::EsModule { source: "x".into(), source_map: Some("{}".into()) }),
                module("c.cjs", ModuleContent::CommonJs("c".into())),
                module("t.txt", ModuleContent::Text("t".into())),
                module("j.json", ModuleContent::Json("1".into())),
                module("d.bin", ModuleContent::Data(vec![0, 255].into())),
                module("w.wasm", ModuleContent::Wasm(vec![0].into())),
            ],
            bindings: vec![
                binding("PLAIN", BindingKind::PlainText("p".to_owned())),
                binding("JSON", BindingKind::Json(json.clone())),
                binding("SECRET", BindingKind::SecretText(Secret::new("s"))),
                binding("META", BindingKind::VersionMetadata),
                binding("MODULE", BindingKind::Module("w.wasm".to_owned())),
                binding("ASSETS", BindingKind::Assets),
                binding(
                    "OTHER",
                    BindingKind::Service {
                        worker: "o".to_owned(),
                        entrypoint: Some("E".to_owned()),
                        props: Some(json),
                    },
                ),
                binding("RATE", BindingKind::RateLimit { namespace: "n".to_owned(), limit: 1, period: 10 }),
                binding("KV", BindingKind::Unavailable { kind: "kv_namespace".to_owned() }),
            ],
            compatibility: Compatibility::new("2026-10-06".parse().expect("a date"), vec!["nodejs_compat".to_owned()])
                .expect("flags"),
            limits: Limits { cpu: std::time::Duration::from_millis(7), ..Limits::default() },
        };
        let bytes = postcard::to_stdvec(&super::Version::from(&version)).expect("written");
        let read: super::Version = postcard::from_bytes(&bytes).expect("read");
        assert_eq!(Version::try_from(read).expect("a version"), version);
    }
}
