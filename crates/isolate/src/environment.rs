//! What JavaScript is told of a version before its modules are loaded: bindings, flags, and how its console looks.

use deno_core::v8;
use skep_exchange::Failure;
use skep_worker::{BindingKind, EntryFormat, ModuleContent, Version};

use crate::Options;
use crate::loader;
use crate::runtime::{set, string};
use crate::thread::StartError;

/// The argument of `start` in `globals.js`.
pub(crate) fn start_options<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    options: &Options,
) -> Result<v8::Local<'s, v8::Value>, StartError> {
    let version = &options.version;
    let too_long = || StartError::Exception(Failure::unusable("a binding's value is longer than V8's longest string"));
    let object = v8::Object::new(scope);
    let bindings = v8::Array::new(scope, 0);
    for (index, binding) in (0..).zip(&version.bindings) {
        let (kind, value) = binding_value(scope, version, &binding.kind)?;
        let entry = v8::Object::new(scope);
        let name = string(scope, &binding.name).ok_or_else(too_long)?;
        let kind = string(scope, kind).ok_or_else(too_long)?;
        set(scope, entry, "name", name);
        set(scope, entry, "kind", kind);
        set(scope, entry, "value", value);
        bindings.set_index(scope, index, entry.into());
    }
    set(scope, object, "bindings", bindings.into());
    let flags = v8::Array::new(scope, 0);
    for (index, flag) in (0..).zip(version.compatibility.chosen()) {
        let flag = string(scope, flag).ok_or_else(too_long)?;
        flags.set_index(scope, index, flag);
    }
    set(scope, object, "flags", flags.into());
    let worker = string(scope, &version.worker).ok_or_else(too_long)?;
    set(scope, object, "worker", worker);
    for (name, on) in [("colors", options.colors), ("serviceWorker", version.format == EntryFormat::ServiceWorker)] {
        let on = v8::Boolean::new(scope, on).into();
        set(scope, object, name, on);
    }
    Ok(object.into())
}

fn binding_value<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    version: &Version,
    kind: &BindingKind,
) -> Result<(&'static str, v8::Local<'s, v8::Value>), StartError> {
    let unusable = |message: String| StartError::Exception(Failure::unusable(message));
    let too_long = || unusable("a binding's value is longer than V8's longest string".to_owned());
    let text = |scope: &mut v8::PinScope<'s, '_>, text: &str| string(scope, text).ok_or_else(too_long);
    Ok(match kind {
        BindingKind::PlainText(value) => ("value", text(scope, value)?),
        BindingKind::SecretText(secret) => ("value", text(scope, secret.reveal())?),
        BindingKind::Json(value) => ("value", parse(scope, value).ok_or_else(too_long)?),
        BindingKind::VersionMetadata => {
            let metadata = serde_json::json!({ "id": version.id, "tag": "", "timestamp": "" });
            ("value", parse(scope, &metadata).ok_or_else(too_long)?)
        }
        BindingKind::Assets => ("assets", v8::undefined(scope).into()),
        BindingKind::Service { worker, entrypoint, props } => {
            let target = serde_json::json!({
                "worker": worker,
                "entrypoint": entrypoint.as_deref().unwrap_or_default(),
                "props": props.as_ref().map(ToString::to_string).unwrap_or_default(),
            });
            ("service", parse(scope, &target).ok_or_else(too_long)?)
        }
        BindingKind::RateLimit { namespace, limit, period } => {
            let rate = serde_json::json!({ "namespace": namespace, "limit": limit, "period": period });
            ("ratelimit", parse(scope, &rate).ok_or_else(too_long)?)
        }
        BindingKind::Unavailable { kind } => ("unavailable", text(scope, kind)?),
        BindingKind::Module(name) => {
            let module = version.module(name).ok_or_else(|| {
                unusable(format!("a binding names the module \"{name}\", which the version does not have"))
            })?;
            let value = match &module.content {
                ModuleContent::Wasm(bytes) => loader::compile_wasm(scope, bytes)
                    .ok_or_else(|| unusable(format!("the module \"{name}\" is not valid WebAssembly")))?,
                ModuleContent::Data(bytes) => loader::array_buffer(scope, bytes),
                ModuleContent::Text(value) | ModuleContent::Json(value) | ModuleContent::CommonJs(value) => {
                    text(scope, value)?
                }
                ModuleContent::EsModule { source, .. } => text(scope, source)?,
            };
            ("value", value)
        }
    })
}

fn parse<'s>(scope: &mut v8::PinScope<'s, '_>, json: &serde_json::Value) -> Option<v8::Local<'s, v8::Value>> {
    let json = v8::String::new(scope, &json.to_string())?;
    v8::json::parse(scope, json)
}
