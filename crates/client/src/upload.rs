//! From a built project to the form that is uploaded: a part `metadata` and one part for each module.
//! <https://developers.cloudflare.com/workers/configuration/multipart-upload-metadata/>

use std::fs;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use skep_bundle::{Build, Config};
use skep_worker::{Binding, BindingKind, EntryFormat, Module, ModuleContent, Version};

use crate::api::Annotations;
use crate::error::{Error, Result};
use crate::form::Form;

/// Types of bindings that stay from one version to the next.
const SECRETS: [&str; 2] = ["secret_text", "secret_key"];
/// Those that stay too if variables are to be kept.
const VARIABLES: [&str; 2] = ["plain_text", "json"];
/// The content type of a source map.
const SOURCE_MAP: &str = "application/source-map";

/// What an upload says beside the project itself.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Message and tag.
    pub annotations: Annotations,
    /// Whether variables stay that were set elsewhere.
    pub keep_vars: bool,
    /// The token of the static assets' session.
    pub assets: Option<String>,
    /// The tag of the last migration that the platform knows of.
    pub migration_tag: Option<String>,
}

/// What is uploaded.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The part `metadata`.
    pub metadata: Map<String, Value>,
    /// The other parts: name, content type, content.
    pub modules: Vec<(String, &'static str, Bytes)>,
}

impl Upload {
    /// What a build is uploaded as. `bindings` are the configuration's, with the ids of what they lead to.
    pub fn new(config: &Config, build: &Build, bindings: &[Map<String, Value>], said: &Said) -> Self {
        let version = &build.version;
        let mut modules = Vec::new();
        for module in &version.modules {
            let (content_type, content, map) = raw(&module.content, version.format);
            modules.push((module.name.clone(), content_type, content));
            if let Some(map) = map.filter(|_| config.upload_source_maps) {
                modules.push((format!("{}.map", module.name), SOURCE_MAP, map));
            }
        }
        Self { metadata: metadata(config, build, bindings, said), modules }
    }

    /// The form.
    pub fn form(&self) -> Form {
        let form = Form::default().field("metadata", Value::Object(self.metadata.clone()).to_string());
        self.modules
            .iter()
            .fold(form, |form, (name, content_type, content)| form.file(name, content_type, content.clone()))
    }

    /// The size of everything in bytes.
    pub fn size(&self) -> usize {
        self.modules.iter().map(|(_, _, content)| content.len()).sum()
    }

    /// Writes what would be uploaded into a folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, content: &[u8]| {
            let path = folder.join(name);
            let parent = path.parent().unwrap_or(folder);
            fs::create_dir_all(parent).map_err(Error::file(parent))?;
            fs::write(&path, content).map_err(Error::file(&path))
        };
        write("metadata.json", format!("{:#}\n", Value::Object(self.metadata.clone())).as_bytes())?;
        self.modules.iter().try_for_each(|(name, _, content)| write(name, content))
    }
}

/// The type and bytes of a module, and its source map.
fn raw(content: &ModuleContent, format: EntryFormat) -> (&'static str, Bytes, Option<Bytes>) {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    match content {
        ModuleContent::EsModule { source, source_map } => {
            let content_type = match format {
                EntryFormat::Module => "application/javascript+module",
                EntryFormat::ServiceWorker => "application/javascript",
            };
            (content_type, bytes(source), source_map.as_deref().map(bytes))
        }
        ModuleContent::CommonJs(text) => ("application/javascript+cjs", bytes(text), None),
        ModuleContent::Text(text) => ("text/plain", bytes(text), None),
        ModuleContent::Json(text) => ("application/json", bytes(text), None),
        ModuleContent::Data(data) => ("application/octet-stream", data.clone(), None),
        ModuleContent::Wasm(data) => ("application/wasm", data.clone(), None),
    }
}

fn metadata(config: &Config, build: &Build, bindings: &[Map<String, Value>], said: &Said) -> Map<String, Value> {
    let version = &build.version;
    let mut metadata = Map::new();
    let mut put = |key: &str, value: Value| drop(metadata.insert(key.to_owned(), value));
    if version.has_script() {
        let key = if version.format == EntryFormat::Module { "main_module" } else { "body_part" };
        put(key, version.main.as_str().into());
        put("bindings", all_bindings(config, version, bindings).into());
    }
    put("compatibility_date", version.compatibility.date().to_string().into());
    put("compatibility_flags", json!(version.compatibility.named()));
    let kept = VARIABLES.iter().filter(|_| said.keep_vars || config.deploy.keep_vars);
    put("keep_bindings", SECRETS.iter().chain(kept).copied().collect::<Vec<_>>().into());
    put("annotations", json!(said.annotations));
    if let (Some(jwt), Some(assets)) = (&said.assets, &build.assets) {
        put("assets", json!({ "jwt": jwt, "config": assets.config }));
    }
    if let Some(migrations) = migrations(&config.deploy.migrations, said.migration_tag.as_deref()) {
        put("migrations", migrations);
    }
    for (key, value) in &config.deploy.settings {
        put(key, value.clone());
    }
    metadata
}

/// The migrations after the last one that the platform knows of.
fn migrations(all: &[Value], known: Option<&str>) -> Option<Value> {
    let tag = |migration: &Value| migration.get("tag").and_then(Value::as_str).map(str::to_owned);
    let after = all.iter().position(|migration| known.is_some() && tag(migration).as_deref() == known);
    let new = &all[after.map_or(0, |index| index + 1)..];
    let steps: Vec<Value> = new.iter().cloned().map(without_tag).collect();
    Some(json!({ "old_tag": known, "new_tag": tag(new.last()?), "steps": steps }))
}

fn without_tag(mut migration: Value) -> Value {
    if let Some(migration) = migration.as_object_mut() {
        migration.remove("tag");
    }
    migration
}

/// Variables, files and required secrets beside what the configuration declares.
fn all_bindings(config: &Config, version: &Version, declared: &[Map<String, Value>]) -> Vec<Value> {
    let own = version.bindings.iter().filter_map(|binding| own_binding(version, binding));
    let mut bindings: Vec<Value> = own.chain(declared.iter().cloned().map(Value::Object)).collect();
    for name in config.required_secrets.iter().flatten() {
        let is_there = bindings.iter().any(|binding| binding.get("name").and_then(Value::as_str) == Some(name));
        if !is_there {
            bindings.push(json!({ "name": name, "type": "inherit" }));
        }
    }
    bindings
}

fn own_binding(version: &Version, Binding { name, kind }: &Binding) -> Option<Value> {
    match kind {
        BindingKind::PlainText(text) => Some(json!({ "name": name, "type": "plain_text", "text": text })),
        BindingKind::Json(value) => Some(json!({ "name": name, "type": "json", "json": value })),
        BindingKind::SecretText(secret) => {
            Some(json!({ "name": name, "type": "secret_text", "text": secret.reveal() }))
        }
        BindingKind::Module(part) => {
            let kind = match version.module(part).map(|Module { content, .. }| content) {
                Some(ModuleContent::Wasm(_)) => "wasm_module",
                Some(ModuleContent::Data(_)) => "data_blob",
                _ => "text_blob",
            };
            Some(json!({ "name": name, "type": kind, "part": part }))
        }
        // The configuration's, which come as they are written.
        _ => None,
    }
}
