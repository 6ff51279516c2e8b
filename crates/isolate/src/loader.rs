//! Modules: from a version to V8. Only the version's own modules and `cloudflare:*` can be imported.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use deno_core::{
    CustomModuleEvaluationKind, FastString, ModuleLoadOptions, ModuleLoadReferrer, ModuleLoadResponse, ModuleLoader,
    ModuleSource, ModuleSourceCode, ModuleSpecifier, ModuleType, RequestedModuleType, ResolutionKind,
    SourceCodeCacheInfo, resolve_import, v8,
};
use deno_error::JsErrorBox;
use skep_worker::compatibility::nearest;
use skep_worker::{Module, ModuleContent, Version};

use crate::Code;

/// Where the modules of every version live, as far as V8 knows. The host's paths are not its business.
const BASE: &str = "file:///";
/// The import type by which a generated module asks for the value of a module that is not JavaScript.
const VALUE: &str = "skep-value";
/// Modules of the platform that can be imported, and what they export. Their values are JavaScript's: `globals.js`.
const PLATFORM: &[(&str, &[&str])] = &[(
    "cloudflare:workers",
    &[
        "DurableObject",
        "RpcPromise",
        "RpcProperty",
        "RpcStub",
        "RpcTarget",
        "ServiceStub",
        "WorkerEntrypoint",
        "WorkflowEntrypoint",
        "env",
        "exports",
        "waitUntil",
        "withEnv",
    ],
)];

fn is_platform(specifier: &str) -> bool {
    PLATFORM.iter().any(|(name, _)| *name == specifier)
}

/// The specifier of a module of a version.
pub(crate) fn specifier(module: &str) -> Result<ModuleSpecifier, JsErrorBox> {
    ModuleSpecifier::parse(BASE)
        .and_then(|base| base.join(module))
        .map_err(|error| JsErrorBox::type_error(format!("\"{module}\" is not a name for a module: {error}")))
}

pub(crate) struct VersionLoader {
    version: Arc<Version>,
    /// Whether modules carry their source maps, for a debugger.
    maps: bool,
    code: Code,
    /// What V8 made of the modules, where that is to be kept.
    made: RefCell<HashMap<String, Bytes>>,
}

impl VersionLoader {
    pub(crate) fn new(version: Arc<Version>, maps: bool, code: Code) -> Self {
        Self { version, maps, code, made: RefCell::default() }
    }

    /// What V8 made of the modules.
    pub(crate) fn take_code(&self) -> HashMap<String, Bytes> {
        self.made.take()
    }

    /// What V8 is given to begin with, or asked for.
    fn code_cache(&self, module: &Module) -> Option<SourceCodeCacheInfo> {
        // A debugger's source has a map behind it: it is another one.
        if self.maps || !matches!(module.content, ModuleContent::EsModule { .. }) {
            return None;
        }
        let data = match &self.code {
            Code::Compile => return None,
            Code::Keep => None,
            Code::Use(known) => known.get(&module.name).map(|code| code.to_vec().into()),
        };
        // The version is immutable: a source is never another one.
        Some(SourceCodeCacheInfo { hash: 0, data })
    }

    fn module(&self, specifier: &str) -> Option<&Module> {
        let name = specifier.strip_prefix(BASE)?;
        let decoded = percent_decode(name);
        self.version.module(name).or_else(|| self.version.module(&decoded))
    }

    fn not_found(&self, specifier: &str, referrer: &str) -> JsErrorBox {
        let from =
            if referrer.is_empty() || referrer == "." { String::new() } else { format!(" (imported by {referrer})") };
        if let Some((scheme, _)) = specifier.split_once(':')
            && scheme == "node"
        {
            return JsErrorBox::generic(format!(
                "No such module \"{specifier}\"{from}: the node:* modules need nodejs_compat, which is not supported yet"
            ));
        }
        let name = specifier.strip_prefix(BASE).unwrap_or(specifier);
        let known = self
            .version
            .modules
            .iter()
            .map(|module| module.name.as_str())
            .chain(PLATFORM.iter().map(|(name, _)| *name));
        let hint = nearest(name, known).map(|near| format!(": did you mean \"{near}\"?")).unwrap_or_default();
        JsErrorBox::generic(format!("No such module \"{name}\"{from}{hint}"))
    }
}

fn percent_decode(name: &str) -> String {
    deno_core::url::form_urlencoded::parse(name.replace('+', "%2B").as_bytes())
        .next()
        .map_or_else(String::new, |(decoded, _)| decoded.into_owned())
}

/// The loader of an isolate: that of the version that is loaded into it, once there is one.
#[derive(Default)]
pub(crate) struct LateLoader(OnceCell<VersionLoader>);

impl LateLoader {
    /// There is a version.
    pub(crate) fn set(&self, loader: VersionLoader) {
        // There is one version for an isolate, so it is set once.
        let _ = self.0.set(loader);
    }

    /// What V8 made of the modules.
    pub(crate) fn take_code(&self) -> HashMap<String, Bytes> {
        self.0.get().map(VersionLoader::take_code).unwrap_or_default()
    }

    fn loader(&self) -> Result<&VersionLoader, JsErrorBox> {
        self.0.get().ok_or_else(|| JsErrorBox::generic("no version is loaded"))
    }
}

impl ModuleLoader for LateLoader {
    fn resolve(&self, specifier: &str, referrer: &str, kind: ResolutionKind) -> Result<ModuleSpecifier, JsErrorBox> {
        self.loader()?.resolve(specifier, referrer, kind)
    }

    fn load(
        &self,
        specifier: &ModuleSpecifier,
        referrer: Option<&ModuleLoadReferrer>,
        options: ModuleLoadOptions,
    ) -> ModuleLoadResponse {
        match self.loader() {
            Ok(loader) => loader.load(specifier, referrer, options),
            Err(error) => ModuleLoadResponse::Sync(Err(error)),
        }
    }

    fn code_cache_ready(
        &self,
        specifier: ModuleSpecifier,
        hash: u64,
        code: &[u8],
    ) -> Pin<Box<dyn Future<Output = ()>>> {
        match self.0.get() {
            Some(loader) => loader.code_cache_ready(specifier, hash, code),
            None => Box::pin(std::future::ready(())),
        }
    }

    fn get_source_map(&self, file: &str) -> Option<Cow<'_, [u8]>> {
        self.0.get()?.get_source_map(file)
    }
}

impl ModuleLoader for VersionLoader {
    fn resolve(&self, specifier: &str, referrer: &str, _: ResolutionKind) -> Result<ModuleSpecifier, JsErrorBox> {
        // A name with a scheme is taken as it is; names of modules may also be given without "./".
        let resolved = if is_platform(specifier) {
            ModuleSpecifier::parse(specifier).map_err(JsErrorBox::from_err)?
        } else {
            match resolve_import(specifier, referrer) {
                Ok(resolved) => resolved,
                Err(_) if self.version.module(specifier).is_some() => self::specifier(specifier)?,
                Err(_) => return Err(self.not_found(specifier, referrer)),
            }
        };
        let text = resolved.as_str();
        if is_platform(text) || self.module(text).is_some() {
            Ok(resolved)
        } else {
            Err(self.not_found(text, referrer))
        }
    }

    fn load(
        &self,
        specifier: &ModuleSpecifier,
        _: Option<&ModuleLoadReferrer>,
        options: ModuleLoadOptions,
    ) -> ModuleLoadResponse {
        let source = match self.module(specifier.as_str()) {
            None if is_platform(specifier.as_str()) => platform_source(specifier, &options.requested_module_type),
            Some(module) => source(module, specifier, &options.requested_module_type, self.maps).map(|mut source| {
                source.code_cache = self.code_cache(module);
                source
            }),
            None => Err(self.not_found(specifier.as_str(), "")),
        };
        ModuleLoadResponse::Sync(source)
    }

    fn code_cache_ready(&self, specifier: ModuleSpecifier, _: u64, code: &[u8]) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some(module) = self.module(specifier.as_str()) {
            self.made.borrow_mut().insert(module.name.clone(), Bytes::copy_from_slice(code));
        }
        Box::pin(std::future::ready(()))
    }

    fn get_source_map(&self, file: &str) -> Option<Cow<'_, [u8]>> {
        match &self.module(file)?.content {
            ModuleContent::EsModule { source_map: Some(map), .. } => Some(Cow::Borrowed(map.as_bytes())),
            _ => None,
        }
    }
}

fn source(
    module: &Module,
    specifier: &ModuleSpecifier,
    requested: &RequestedModuleType,
    maps: bool,
) -> Result<ModuleSource, JsErrorBox> {
    let javascript = |code: String| {
        ModuleSource::new(ModuleType::JavaScript, ModuleSourceCode::String(code.into()), specifier, None)
    };
    Ok(match (&module.content, requested) {
        (ModuleContent::EsModule { source, source_map }, _) => {
            let code = code(source, source_map.as_deref().filter(|_| maps));
            ModuleSource::new(ModuleType::JavaScript, ModuleSourceCode::String(code), specifier, None)
        }
        (ModuleContent::Json(text), RequestedModuleType::Json) => ModuleSource::new(
            ModuleType::Json,
            ModuleSourceCode::String(FastString::from(Arc::clone(text))),
            specifier,
            None,
        ),
        // JSON is a subset of JavaScript's expressions since ES2019.
        (ModuleContent::Json(text), _) => {
            serde_json::from_str::<serde_json::Value>(text).map_err(|error| {
                JsErrorBox::new("SyntaxError", format!("The module \"{}\" is not valid JSON: {error}", module.name))
            })?;
            javascript(format!("export default JSON.parse({});", literal(text)?))
        }
        (ModuleContent::Text(text), _) => javascript(format!("export default {};", literal(text)?)),
        (ModuleContent::CommonJs(code), _) => javascript(common_js(code)),
        (ModuleContent::Data(bytes), RequestedModuleType::Other(kind)) if kind == VALUE => {
            value(b"data", bytes, specifier)
        }
        (ModuleContent::Wasm(bytes), RequestedModuleType::Other(kind)) if kind == VALUE => {
            value(b"wasm", bytes, specifier)
        }
        (ModuleContent::Data(_) | ModuleContent::Wasm(_), _) => {
            let own = literal(specifier.as_str())?;
            javascript(format!("import value from {own} with {{ type: \"{VALUE}\" }};\nexport default value;"))
        }
    })
}

/// Code for V8, with its source map at the end, where a debugger finds it.
pub(crate) fn code(source: &Arc<str>, map: Option<&str>) -> FastString {
    match map {
        None => FastString::from(Arc::clone(source)),
        Some(map) => {
            let map = BASE64_STANDARD.encode(map);
            format!("{source}\n//# sourceMappingURL=data:application/json;charset=utf-8;base64,{map}\n").into()
        }
    }
}

/// A module of the platform: the exports of the value that goes by its name.
fn platform_source(specifier: &ModuleSpecifier, requested: &RequestedModuleType) -> Result<ModuleSource, JsErrorBox> {
    if matches!(requested, RequestedModuleType::Other(kind) if kind == VALUE) {
        return Ok(value(b"plat", specifier.as_str().as_bytes(), specifier));
    }
    let exports = PLATFORM
        .iter()
        .find(|(name, _)| *name == specifier.as_str())
        .map(|(_, exports)| exports.join(", "))
        .unwrap_or_default();
    let code = format!(
        "import value from {} with {{ type: \"{VALUE}\" }};\nexport const {{ {exports} }} = value;\nexport default value;\n",
        literal(specifier.as_str())?
    );
    Ok(ModuleSource::new(ModuleType::JavaScript, ModuleSourceCode::String(code.into()), specifier, None))
}

fn literal(text: &str) -> Result<String, JsErrorBox> {
    serde_json::to_string(text).map_err(|error| JsErrorBox::generic(error.to_string()))
}

fn common_js(code: &str) -> String {
    format!(
        "const module = {{ exports: {{}} }};\n\
         const require = (name) => {{ throw new Error(`A CommonJS module cannot require \"${{name}}\": bundle it with the module`); }};\n\
         (function (module, exports, require) {{{code}\n}})(module, module.exports, require);\n\
         export default module.exports;\n"
    )
}

/// A value that is no JavaScript: four letters that say what, then the bytes.
fn value(kind: &[u8; 4], bytes: &[u8], specifier: &ModuleSpecifier) -> ModuleSource {
    let tagged = [kind.as_slice(), bytes].concat();
    ModuleSource::new(
        ModuleType::Other(VALUE.into()),
        ModuleSourceCode::Bytes(tagged.into_boxed_slice().into()),
        specifier,
        None,
    )
}

/// The values of the platform's modules, by their names: an object of JavaScript's, once there is one.
pub(crate) type PlatformModules = Rc<RefCell<Option<v8::Global<v8::Object>>>>;

/// Makes the value of a module that is no JavaScript.
pub(crate) fn evaluate(
    platform: &PlatformModules,
    scope: &mut v8::PinScope,
    name: &FastString,
    code: &ModuleSourceCode,
) -> Result<CustomModuleEvaluationKind, JsErrorBox> {
    let bytes = code.as_bytes();
    let value: v8::Local<'_, v8::Value> = match bytes.split_at_checked(4) {
        Some((b"wasm", wasm)) => compile_wasm(scope, wasm).ok_or_else(|| {
            JsErrorBox::new(
                "Error",
                format!("The module \"{}\" is not a valid WebAssembly module", name.as_str().trim_start_matches(BASE)),
            )
        })?,
        Some((b"plat", name)) => {
            platform_value(platform, scope, name).ok_or_else(|| JsErrorBox::type_error("no such module"))?
        }
        Some((_, data)) => array_buffer(scope, data),
        None => return Err(JsErrorBox::type_error("a module value has no kind")),
    };
    Ok(CustomModuleEvaluationKind::Synthetic(v8::Global::new(scope, value)))
}

fn platform_value<'s>(
    platform: &PlatformModules,
    scope: &mut v8::PinScope<'s, '_>,
    name: &[u8],
) -> Option<v8::Local<'s, v8::Value>> {
    let modules = platform.borrow();
    let modules = v8::Local::new(scope, modules.as_ref()?);
    let name = v8::String::new_from_utf8(scope, name, v8::NewStringType::Normal)?;
    modules.get(scope, name.into())
}

thread_local! {
    /// Whether this thread compiles a module of its version.
    static COMPILES: Cell<bool> = const { Cell::new(false) };
}

/// A `WebAssembly.Module` of bytes, or nothing if they are none.
pub(crate) fn compile_wasm<'s>(scope: &mut v8::PinScope<'s, '_>, bytes: &[u8]) -> Option<v8::Local<'s, v8::Value>> {
    v8::tc_scope!(let scope, scope);
    COMPILES.set(true);
    let module = v8::WasmModuleObject::compile(scope, bytes).map(Into::into);
    COMPILES.set(false);
    module
}

/// Whether WebAssembly may be compiled: a version's own modules only, never bytes from elsewhere.
pub(crate) unsafe extern "C" fn may_compile_wasm(_: v8::Local<'_, v8::Context>, _: v8::Local<'_, v8::String>) -> bool {
    COMPILES.get()
}

/// An `ArrayBuffer` with a copy of bytes.
pub(crate) fn array_buffer<'s>(scope: &mut v8::PinScope<'s, '_>, bytes: &[u8]) -> v8::Local<'s, v8::Value> {
    let store = v8::ArrayBuffer::new_backing_store_from_vec(bytes.to_vec()).make_shared();
    v8::ArrayBuffer::with_backing_store(scope, &store).into()
}
