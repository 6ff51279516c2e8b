//! Uploads of Workers: `multipart/form-data` with a part `metadata` and one part for each module.
//! <https://developers.cloudflare.com/workers/configuration/multipart-upload-metadata/>

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use multer::{Constraints, Multipart, SizeLimit};
use serde::Deserialize;
use serde_json::{Map, Value};
use skep_exchange::Body;
use skep_store::{Annotations, BindingRecord, Content, FileHash, Hold, ModuleKind, NewVersion, Store, StoredModule};
use skep_worker::{EntryFormat, Limits, Module, ModuleContent};

use crate::call::Call;
use crate::error::{ApiError, ApiResult};

/// Parts of an upload: modules, source maps, metadata.
const MOST_PARTS: usize = 5_000;
/// The largest part `metadata` in bytes.
const MOST_METADATA: usize = 1024 * 1024;
/// Length of a module's name in bytes.
const MOST_NAME: usize = 1_024;
/// Bindings of a version.
const MOST_BINDINGS: usize = 1_000;

/// The part `metadata`, as far as it means something here. The rest is kept as it is.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Metadata {
    main_module: Option<String>,
    body_part: Option<String>,
    #[serde(default)]
    bindings: Vec<BindingRecord>,
    compatibility_date: Option<String>,
    #[serde(default)]
    compatibility_flags: Vec<String>,
    #[serde(default)]
    pub(crate) keep_bindings: Option<Vec<String>>,
    #[serde(default)]
    annotations: Annotations,
    #[serde(default)]
    limits: Option<LimitsSent>,
    #[serde(default)]
    pub(crate) tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) observability: Option<Value>,
    #[serde(default)]
    pub(crate) logpush: Option<bool>,
    #[serde(default)]
    pub(crate) tail_consumers: Option<Vec<Value>>,
    #[serde(default)]
    pub(crate) migrations: Option<Value>,
    #[serde(default)]
    pub(crate) assets: Option<AssetsSent>,
    #[serde(default)]
    pub(crate) keep_assets: bool,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct LimitsSent {
    cpu_ms: Option<u32>,
}

/// What an upload says of its static assets.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AssetsSent {
    /// The token that says which files are there.
    pub(crate) jwt: Option<String>,
    /// How they are served.
    #[serde(default)]
    pub(crate) config: Value,
}

/// An upload that is read completely.
pub(crate) struct Upload {
    pub(crate) metadata: Metadata,
    pub(crate) main: String,
    pub(crate) format: EntryFormat,
    pub(crate) modules: Vec<Module>,
}

/// One part.
struct Part {
    name: String,
    content_type: String,
    content: Bytes,
}

/// Reads parts, within the limits.
async fn parts(content_type: &str, mut body: Body) -> ApiResult<Vec<Part>> {
    let boundary = multer::parse_boundary(content_type).map_err(|_| {
        ApiError::bad("the upload is not multipart/form-data with a boundary: send it as wrangler does")
    })?;
    let limits = Limits::default();
    // Source maps are larger than what they map and do not count as script.
    let whole = limits.script_size as u64 * 3;
    let constraints = Constraints::new()
        .size_limit(SizeLimit::new().whole_stream(whole).per_field(whole).for_field("metadata", MOST_METADATA as u64));
    let chunks = stream::poll_fn(move |context| body.poll_chunk(context));
    let mut multipart = Multipart::with_constraints(chunks, boundary, constraints);
    let fail = |error: multer::Error| match error {
        multer::Error::FieldSizeExceeded { limit, field_name } => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            10027,
            format!("the part {} is larger than {limit} bytes", field_name.unwrap_or_default()),
        ),
        multer::Error::StreamSizeExceeded { limit } => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, 10027, format!("the upload is larger than {limit} bytes"))
        }
        error => ApiError::bad(format!("the upload cannot be read: {error}. It may have been cut off: try again")),
    };
    let mut parts = Vec::new();
    let mut size = 0;
    while let Some(field) = multipart.next_field().await.map_err(fail)? {
        if parts.len() == MOST_PARTS {
            return Err(ApiError::bad(format!("the upload has more than {MOST_PARTS} parts")));
        }
        let name = field.name().or(field.file_name()).unwrap_or_default().to_owned();
        let content_type = field.content_type().map(|mime| mime.essence_str().to_owned()).unwrap_or_default();
        let content = field.bytes().await.map_err(fail)?;
        if content_type != SOURCE_MAP {
            size += content.len();
        }
        if size > limits.script_size + MOST_METADATA {
            let message = format!(
                "the script is larger than {} MiB: leave out what is not needed, or fetch it at run time",
                limits.script_size / skep_worker::limits::MEBIBYTE
            );
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, 10027, message));
        }
        parts.push(Part { name, content_type, content });
    }
    Ok(parts)
}

const SOURCE_MAP: &str = "application/source-map";

/// Reads an upload, and refuses what cannot be a Worker.
pub(crate) async fn read(call: &mut Call) -> ApiResult<Upload> {
    if let Some(encoding) = call.headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            10001,
            format!("the upload is encoded ({}): send it as it is", String::from_utf8_lossy(encoding.as_bytes())),
        ));
    }
    let body = call.take_body();
    let content_type = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    read_body(content_type, body).await
}

/// Reads an upload as the endpoints do, and gives the names of its modules. For those who have no control plane, such as a fuzzer.
///
/// # Errors
/// What the API would answer.
pub async fn read_upload(content_type: &str, body: Body) -> Result<Vec<String>, String> {
    let upload = read_body(content_type, body).await.map_err(|error| error.message)?;
    Ok(upload.modules.into_iter().map(|module| module.name).collect())
}

async fn read_body(content_type: &str, body: Body) -> ApiResult<Upload> {
    let parts = parts(content_type, body).await?;
    let metadata = parts
        .iter()
        .find(|part| part.name == "metadata")
        .ok_or_else(|| ApiError::bad("the upload has no part \"metadata\""))?;
    let metadata: Metadata = serde_json::from_slice(&metadata.content)
        .map_err(|error| ApiError::bad(format!("the part \"metadata\" is not the expected JSON: {error}")))?;
    if metadata.bindings.len() > MOST_BINDINGS {
        return Err(ApiError::bad(format!("the Worker has more than {MOST_BINDINGS} bindings")));
    }
    for (index, binding) in metadata.bindings.iter().enumerate() {
        if metadata.bindings[..index].iter().any(|other| other.name == binding.name) {
            return Err(ApiError::script(format!("two bindings have the name \"{}\": rename one", binding.name)));
        }
    }
    let (main, format) = match (&metadata.main_module, &metadata.body_part) {
        (Some(main), _) => (clean_name(main)?, EntryFormat::Module),
        (None, Some(part)) => (clean_name(part)?, EntryFormat::ServiceWorker),
        (None, None) => (String::new(), EntryFormat::Module),
    };
    let mut modules: Vec<Module> = Vec::new();
    for part in parts.iter().filter(|part| part.name != "metadata" && part.content_type != SOURCE_MAP) {
        let name = clean_name(&part.name)?;
        if modules.iter().any(|module| module.name == name) {
            return Err(ApiError::script(format!("two modules have the name \"{name}\"")));
        }
        let map = parts
            .iter()
            .filter(|other| other.content_type == SOURCE_MAP)
            .find(|other| other.name == format!("{}.map", part.name));
        modules.push(Module { content: content(&name, part, map)?, name });
    }
    if main.is_empty() {
        if metadata.assets.is_none() && !metadata.keep_assets {
            return Err(ApiError::script("the upload names no \"main_module\", and has no static assets either"));
        }
    } else if !modules.iter().any(|module| module.name == main) {
        let named: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
        let message = format!("the main module \"{main}\" is not among the uploaded modules: {}", named.join(", "));
        return Err(ApiError::script(message));
    }
    Ok(Upload { metadata, main, format, modules })
}

/// A module's name, relative to the main module's folder: no way out of it.
fn clean_name(name: &str) -> ApiResult<String> {
    let clean = name.strip_prefix("./").unwrap_or(name);
    let segments = || clean.split('/');
    let fine = !clean.is_empty()
        && clean.len() <= MOST_NAME
        && !clean.starts_with('/')
        && !clean.contains(['\\', '\0'])
        && !clean.chars().any(char::is_control)
        && segments().all(|segment| !matches!(segment, "" | "." | ".."));
    if fine {
        Ok(clean.to_owned())
    } else {
        Err(ApiError::script(format!(
            "\"{}\" cannot be the name of a module: it must be a relative path without \"..\"",
            name.escape_debug()
        )))
    }
}

fn content(name: &str, part: &Part, map: Option<&Part>) -> ApiResult<ModuleContent> {
    let text = |part: &Part| -> ApiResult<std::sync::Arc<str>> {
        let text = std::str::from_utf8(&part.content);
        text.map(Into::into).map_err(|_| ApiError::script(format!("the module {name} is not UTF-8")))
    };
    let script = |part: &Part| -> ApiResult<ModuleContent> {
        Ok(ModuleContent::EsModule { source: text(part)?, source_map: map.map(text).transpose()? })
    };
    match part.content_type.as_str() {
        "application/javascript+module" | "text/javascript+module" | "application/javascript" | "text/javascript" => {
            script(part)
        }
        "application/node" | "application/javascript+cjs" => Ok(ModuleContent::CommonJs(text(part)?)),
        "application/wasm" => Ok(ModuleContent::Wasm(part.content.clone())),
        "application/octet-stream" => Ok(ModuleContent::Data(part.content.clone())),
        "application/json" => Ok(ModuleContent::Json(text(part)?)),
        kind if kind.starts_with("text/x-python") => {
            Err(ApiError::script(format!("{name} is Python, and Skep runs JavaScript and WebAssembly only")))
        }
        kind if kind.starts_with("text/") => Ok(ModuleContent::Text(text(part)?)),
        kind => Err(ApiError::script(format!(
            "the module {name} has the content type \"{kind}\", which is not one of a module"
        ))),
    }
}

impl Upload {
    /// The version, its modules written to the disk and held.
    pub(crate) async fn store(self, store: &Store, hold: &Hold) -> ApiResult<(NewVersion, Vec<Module>, Metadata)> {
        let Self { mut metadata, main, format, modules } = self;
        let written = modules.clone();
        let stored = store.with_hold(hold, move |hold| {
            let write = |module: &Module| {
                let (kind, bytes, map) = raw(&module.content);
                let source_map = map.map(|map| hold.write(map)).transpose()?;
                Ok(StoredModule { name: module.name.clone(), kind, file: hold.write(bytes)?, source_map, code: None })
            };
            written.iter().map(write).collect()
        });
        let content = Content {
            main,
            service_worker: format == EntryFormat::ServiceWorker,
            modules: stored.await?,
            compatibility_date: metadata.compatibility_date.take(),
            compatibility_flags: std::mem::take(&mut metadata.compatibility_flags),
            cpu_ms: metadata.limits.as_ref().and_then(|limits| limits.cpu_ms),
            handlers: Vec::new(),
            startup_time_ms: 0,
            assets: None,
            other: std::mem::take(&mut metadata.other),
        };
        let new = NewVersion {
            content,
            bindings: std::mem::take(&mut metadata.bindings),
            keep_bindings: metadata.keep_bindings.clone().unwrap_or_default(),
            annotations: std::mem::take(&mut metadata.annotations),
        };
        Ok((new, modules, metadata))
    }
}

/// A module's bytes as they are kept.
fn raw(content: &ModuleContent) -> (ModuleKind, &[u8], Option<&[u8]>) {
    match content {
        ModuleContent::EsModule { source, source_map } => {
            (ModuleKind::Script, source.as_bytes(), source_map.as_deref().map(str::as_bytes))
        }
        ModuleContent::CommonJs(text) => (ModuleKind::CommonJs, text.as_bytes(), None),
        ModuleContent::Text(text) => (ModuleKind::Text, text.as_bytes(), None),
        ModuleContent::Json(text) => (ModuleKind::Json, text.as_bytes(), None),
        ModuleContent::Data(bytes) => (ModuleKind::Data, bytes, None),
        ModuleContent::Wasm(bytes) => (ModuleKind::Wasm, bytes, None),
    }
}

/// The content type of a module in a download.
pub(crate) fn content_type(kind: ModuleKind, service_worker: bool) -> &'static str {
    match kind {
        ModuleKind::Script if service_worker => "application/javascript",
        ModuleKind::Script => "application/javascript+module",
        ModuleKind::CommonJs => "application/javascript+cjs",
        ModuleKind::Text => "text/plain",
        ModuleKind::Json => "application/json",
        ModuleKind::Data => "application/octet-stream",
        ModuleKind::Wasm => "application/wasm",
    }
}

/// The names by which modules are found on the disk; none is left out of a download.
pub(crate) fn files(content: &Content) -> impl Iterator<Item = (&StoredModule, &FileHash)> {
    content.modules.iter().map(|module| (module, &module.file))
}

#[cfg(test)]
mod tests {
    use super::clean_name;

    #[test]
    fn a_module_stays_in_its_folder() {
        for (name, clean) in
            [("index.js", "index.js"), ("./a/b.wasm", "a/b.wasm"), ("4b61f-note.txt", "4b61f-note.txt")]
        {
            assert_eq!(clean_name(name).expect(name), clean);
        }
        for name in ["", "./", "/etc/passwd", "../x.js", "a/../../x.js", "a//b.js", "a\\b.js", "a\0b", "./../x"] {
            assert!(clean_name(name).is_err(), "{name:?}");
        }
    }
}
