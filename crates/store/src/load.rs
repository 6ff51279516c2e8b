//! A version, as an isolate wants it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use skep_worker::{
    Binding, BindingKind, Compatibility, CompatibilityDate, EntryFormat, Limits, Module, ModuleContent, Secret, Version,
};
use uuid::Uuid;

use crate::{
    BindingRecord, Content, Files, Hold, ModuleKind, Store, StoreError, StoreResult, StoredModule, VersionRecord,
};

/// The type of a binding that holds a secret.
const SECRET_TEXT: &str = "secret_text";

/// Why a version cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store failed, or a file is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What a version says of itself cannot be.
    #[error("{0}")]
    Invalid(String),
}

/// A version with the secrets that its bindings hold, by their names, opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The version as it is kept.
    pub record: VersionRecord,
    /// Its secrets.
    pub secrets: HashMap<String, Secret>,
}

impl Opened {
    /// The version as an isolate wants it. `worker` is the Worker's name.
    ///
    /// # Errors
    /// When the compatibility date or a flag is unknown, or a secret is missing.
    pub fn describe(&self, worker: &str, modules: Vec<Module>) -> Result<Version, LoadError> {
        let secret = |binding: &BindingRecord| self.secrets.get(&binding.name).cloned().ok_or(StoreError::Sealed);
        describe(worker, &self.record, modules, secret)
    }
}

impl Files {
    /// The modules of a version.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn modules(&self, record: &VersionRecord) -> Result<Vec<Module>, LoadError> {
        record.content.modules.iter().map(|module| self.module(module)).collect()
    }

    fn module(&self, module: &StoredModule) -> Result<Module, LoadError> {
        let StoredModule { name, kind, file, source_map, .. } = module;
        let (content, map) = (self.read(file)?, source_map.as_ref().map(|map| self.read(map)).transpose()?);
        let text = |bytes: &[u8]| -> Result<Arc<str>, LoadError> {
            let text = std::str::from_utf8(bytes);
            text.map(Arc::from).map_err(|_| LoadError::Invalid(format!("the module {name} is not UTF-8")))
        };
        let content = match kind {
            ModuleKind::Script => {
                ModuleContent::EsModule { source: text(&content)?, source_map: map.as_deref().map(text).transpose()? }
            }
            ModuleKind::CommonJs => ModuleContent::CommonJs(text(&content)?),
            ModuleKind::Text => ModuleContent::Text(text(&content)?),
            ModuleKind::Json => ModuleContent::Json(text(&content)?),
            ModuleKind::Data => ModuleContent::Data(content),
            ModuleKind::Wasm => ModuleContent::Wasm(content),
        };
        Ok(Module { name: name.clone(), content })
    }

    /// V8's code caches of a version's modules. One that cannot be read is left out: the module is compiled then.
    pub fn code(&self, record: &VersionRecord) -> HashMap<String, Bytes> {
        let code = |module: &StoredModule| Some((module.name.clone(), self.read(module.code.as_ref()?).ok()?));
        record.content.modules.iter().filter_map(code).collect()
    }
}

impl Store {
    /// A version and its secrets, for who runs it.
    ///
    /// # Errors
    /// When the database fails, or a secret was sealed under another key.
    pub async fn open_version(&self, worker: Uuid, version: Uuid) -> Result<Option<Opened>, StoreError> {
        let Some(record) = self.version(worker, version).await? else { return Ok(None) };
        let open = |binding: &BindingRecord| Ok((binding.name.clone(), self.open_secret(worker, binding)?));
        // A binding of another type with a secret is one that Workers cannot use yet.
        let secrets = record.bindings.iter().filter(|binding| binding.kind == SECRET_TEXT).map(open);
        let secrets = secrets.collect::<Result<_, StoreError>>()?;
        Ok(Some(Opened { record, secrets }))
    }

    /// Writes V8's code caches and notes them with their modules.
    ///
    /// # Errors
    /// When the disk is full or cannot be written.
    pub async fn keep_code(&self, hold: &Hold, content: &mut Content, code: Vec<(String, Bytes)>) -> StoreResult<()> {
        let write = move |hold: &Hold| {
            let write = |(name, code): (String, Bytes)| Ok((name, hold.write(&code)?));
            code.into_iter().map(write).collect::<StoreResult<HashMap<_, _>>>()
        };
        let mut written = self.with_hold(hold, write).await?;
        for module in &mut content.modules {
            module.code = written.remove(&module.name);
        }
        Ok(())
    }

    /// A version of modules that are at hand.
    ///
    /// # Errors
    /// When the compatibility date or a flag is unknown, or a secret was sealed under another key.
    pub fn describe_version(
        &self,
        worker: &str,
        record: &VersionRecord,
        modules: Vec<Module>,
    ) -> Result<Version, LoadError> {
        describe(worker, record, modules, |binding| self.open_secret(record.worker_id, binding))
    }
}

fn describe(
    worker: &str,
    record: &VersionRecord,
    modules: Vec<Module>,
    secret: impl Fn(&BindingRecord) -> Result<Secret, StoreError>,
) -> Result<Version, LoadError> {
    let content = &record.content;
    let date = content.compatibility_date.as_deref().map(str::parse).transpose();
    let date = date.map_err(|error: skep_worker::CompatibilityError| LoadError::Invalid(error.to_string()))?;
    let compatibility =
        Compatibility::new(date.unwrap_or(CompatibilityDate::FIRST), content.compatibility_flags.clone())
            .map_err(|error| LoadError::Invalid(error.to_string()))?;
    let bindings = record.bindings.iter();
    let bindings = bindings
        .map(|binding| Ok(Binding { name: binding.name.clone(), kind: binding_kind(binding, &secret)? }))
        .collect::<Result<Vec<_>, LoadError>>()?;
    let defaults = Limits::default();
    let cpu = content.cpu_ms.map_or(defaults.cpu, |cpu| Duration::from_millis(cpu.into()));
    Ok(Version {
        worker: worker.to_owned(),
        id: record.id.to_string(),
        main: content.main.clone(),
        format: if content.service_worker { EntryFormat::ServiceWorker } else { EntryFormat::Module },
        modules,
        bindings,
        compatibility,
        limits: Limits { cpu: cpu.min(Limits::MAX_CPU), ..defaults },
    })
}

fn binding_kind(
    binding: &BindingRecord,
    secret: impl Fn(&BindingRecord) -> Result<Secret, StoreError>,
) -> Result<BindingKind, LoadError> {
    let text = |key: &str| binding.settings.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(match binding.kind.as_str() {
        "plain_text" => BindingKind::PlainText(text("text")),
        "json" => BindingKind::Json(binding.settings.get("json").cloned().unwrap_or(Value::Null)),
        SECRET_TEXT => BindingKind::SecretText(secret(binding)?),
        "version_metadata" => BindingKind::VersionMetadata,
        "assets" => BindingKind::Assets,
        "service" => BindingKind::Service {
            worker: text("service"),
            entrypoint: Some(text("entrypoint")).filter(|name| !name.is_empty()),
            props: binding.settings.get("props").cloned(),
        },
        "ratelimit" => {
            let simple = binding.settings.get("simple");
            let number = |key: &str| {
                let number = simple.and_then(|simple| simple.get(key)).and_then(Value::as_u64).unwrap_or_default();
                u32::try_from(number).unwrap_or(u32::MAX)
            };
            let namespace = match binding.settings.get("namespace_id") {
                Some(Value::String(namespace)) => namespace.clone(),
                other => other.map(Value::to_string).unwrap_or_default(),
            };
            BindingKind::RateLimit { namespace, limit: number("limit"), period: number("period") }
        }
        "wasm_module" | "text_blob" | "data_blob" => BindingKind::Module(text("part")),
        kind => BindingKind::Unavailable { kind: kind.to_owned() },
    })
}
