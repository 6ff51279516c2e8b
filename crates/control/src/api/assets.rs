//! Uploads of static assets: a manifest opens a session, the files that are missing follow, and a token says that all are there.
//! <https://developers.cloudflare.com/workers/static-assets/direct-upload/>

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use skep_assets::manifest::{File, ManifestBuilder, Variants};
use skep_assets::{AssetHash, Encoding, Manifest, compress};
use skep_store::{AssetContent, AssetsRecord, FileHash, Hold, Permission, StoreError};

use crate::answer::Answer;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};
use crate::upload::AssetsSent;

/// How long a session lasts, in seconds.
const SESSION: u64 = 3600;
/// How long its assets are kept beyond that, in seconds: the version that has its token may take a while to be committed.
const KEPT_LONGER: u64 = 3600;
/// The most files and bytes that are asked for in one request.
const BUCKET_FILES: usize = 200;
const BUCKET_BYTES: u64 = 24 * 1024 * 1024;
/// The largest body of such a request: one file in base64 may be larger than a bucket.
const MOST_UPLOAD: u64 = 64 * 1024 * 1024;
/// The largest manifest in bytes: 100,000 files.
const MOST_MANIFEST: u64 = 64 * 1024 * 1024;
/// The API's code for an upload session that is none. Another one than for API tokens: logging in again is of no use.
const NO_SESSION: u32 = 10066;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let writes = Access::Account(Permission::WorkersWrite);
    vec![
        endpoint!(POST "/accounts/{account_id}/workers/scripts/{script_name}/assets-upload-session", writes, "Open a session for uploading static assets", open),
        endpoint!(POST "/accounts/{account_id}/workers/assets/upload", Access::Bearer, "Upload some of a session's static assets", upload),
    ]
}

/// What a token of a session says. RFC 7519.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Claims {
    /// The account.
    sub: String,
    /// The Worker.
    script: String,
    /// The file of the manifest as it was sent.
    manifest: FileHash,
    /// Whether every file is there.
    complete: bool,
    /// When it expires, in seconds since 1970.
    exp: u64,
}

/// A manifest as it was sent.
type Sent = HashMap<String, File>;

/// The keys that tokens are signed with: the current one first.
fn secrets(call: &Call) -> Vec<[u8; 32]> {
    call.store().derived_keys("asset upload sessions")
}

fn sign(call: &Call, claims: &Claims) -> ApiResult<String> {
    let failed = |reason: &str| {
        let message = format!("the session's token cannot be signed: {reason}");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, 10002, message)
    };
    let secret = secrets(call).into_iter().next().ok_or_else(|| failed("there is no master key"))?;
    let key = EncodingKey::from_secret(&secret);
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).map_err(|error| failed(&error.to_string()))
}

/// A token's claims, if it is ours, not expired, and of this account. One that was signed before the master key was replaced
/// counts as long as the key before is known.
fn verify(call: &Call, token: &str) -> ApiResult<Claims> {
    let validation = Validation::new(Algorithm::HS256);
    let claims =
        |secret: [u8; 32]| jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(&secret), &validation).ok();
    let claims = secrets(call).into_iter().find_map(claims).map(|token| token.claims);
    claims.filter(|claims| claims.sub == call.account()).ok_or_else(no_session)
}

fn no_session() -> ApiError {
    let message = "the upload session of the static assets is over, unknown, of another account, or from before the master key was \
                   replaced and the platform restarted. Deploy again: files that have arrived are not uploaded again";
    ApiError::new(StatusCode::UNAUTHORIZED, NO_SESSION, message)
}

/// Keeps the assets of a manifest for as long as a token of now.
async fn keep(call: &Call, manifest: &FileHash) -> ApiResult<()> {
    let until = (now() + SESSION + KEPT_LONGER) * 1000;
    Ok(call.store().keep_assets(call.account(), manifest, i64::try_from(until).unwrap_or(i64::MAX)).await?)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

#[derive(Deserialize)]
struct Opening {
    manifest: Sent,
}

async fn open(mut call: Call) -> ApiResult {
    super::scripts::check_name(call.worker_name())?;
    let bytes = call.bytes(MOST_MANIFEST).await?;
    let opening: Opening = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::bad(format!("the manifest is not as expected: {error}")))?;
    // Paths, sizes, and how many there are.
    build(&opening.manifest, |file| file.clone())?;
    let kept = serde_json::to_vec(&opening.manifest).map_err(StoreError::from)?;
    let hold = call.store().hold();
    let manifest = call.store().with_hold(&hold, move |hold| hold.write(&kept)).await?;
    // What is said to be there from here on stays there.
    keep(&call, &manifest).await?;
    let hashes: Vec<String> = unique(&opening.manifest).into_keys().map(|hash| hash.to_string()).collect();
    let there = call.store().assets_of(call.account(), &hashes).await?;
    let mut missing: Vec<(String, u64)> = unique(&opening.manifest)
        .into_iter()
        .map(|(hash, file)| (hash.to_string(), file.size))
        .filter(|(hash, _)| !there.contains_key(hash))
        .collect();
    missing.sort();
    let claims = Claims {
        sub: call.account().to_owned(),
        script: call.worker_name().to_owned(),
        manifest,
        complete: missing.is_empty(),
        exp: now() + SESSION,
    };
    Ok(Answer::ok(json!({ "jwt": sign(&call, &claims)?, "buckets": buckets(&missing) })))
}

/// Each content once, with one of its files.
fn unique(manifest: &Sent) -> HashMap<AssetHash, &File> {
    manifest.values().map(|file| (file.hash, file)).collect()
}

fn buckets(missing: &[(String, u64)]) -> Vec<Vec<&str>> {
    let mut buckets: Vec<Vec<&str>> = Vec::new();
    let mut room = 0;
    for (hash, size) in missing {
        match buckets.last_mut() {
            Some(bucket) if bucket.len() < BUCKET_FILES && *size <= room => {
                room -= size;
                bucket.push(hash);
            }
            _ => {
                room = BUCKET_BYTES.saturating_sub(*size);
                buckets.push(vec![hash]);
            }
        }
    }
    buckets
}

fn build(sent: &Sent, file: impl Fn(&File) -> File) -> ApiResult<Manifest> {
    let wrong = |error: skep_assets::manifest::ManifestError| ApiError::bad(error.to_string());
    let mut builder = ManifestBuilder::default();
    for (path, entry) in sent {
        builder.add(path, &file(entry)).map_err(wrong)?;
    }
    builder.build().map_err(wrong)
}

/// The manifest that a session began with.
async fn session(call: &Call, claims: &Claims) -> ApiResult<Sent> {
    let file = claims.manifest.clone();
    let bytes = call.store().with_files(move |files| files.read(&file)).await?;
    Ok(serde_json::from_slice(&bytes).map_err(StoreError::from)?)
}

/// One file of an upload, checked.
struct Received {
    hash: AssetHash,
    content_type: Option<String>,
    content: Bytes,
}

async fn upload(mut call: Call) -> ApiResult {
    let token = call.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let claims = verify(&call, token.ok_or_else(ApiError::authentication)?)?;
    let manifest = session(&call, &claims).await?;
    // The extensions that a content's files have: they are part of its hash.
    let mut extensions: HashMap<AssetHash, Vec<(&str, u64)>> = HashMap::new();
    for (path, file) in &manifest {
        let name = path.rsplit('/').next().unwrap_or_default();
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        extensions.entry(file.hash).or_default().push((extension, file.size));
    }
    let mut received = Vec::new();
    for part in parts(&mut call).await? {
        let hash: AssetHash = part
            .name
            .parse()
            .map_err(|_| ApiError::bad(format!("\"{}\" is not the hash of an asset", part.name.escape_debug())))?;
        let expected = extensions
            .get(&hash)
            .ok_or_else(|| ApiError::bad(format!("the manifest of this session has no asset {hash}")))?;
        let content =
            STANDARD.decode(&part.content).map_err(|_| ApiError::bad(format!("the asset {hash} is not in base64")))?;
        let fits = expected
            .iter()
            .any(|(extension, size)| *size == content.len() as u64 && AssetHash::of(&content, extension) == hash);
        if !fits {
            return Err(ApiError::bad(format!(
                "the content of the asset {hash} does not fit its hash and size in the manifest: upload it again"
            )));
        }
        let content_type = Some(part.content_type).filter(|kind| !kind.is_empty() && kind != "application/null");
        received.push(Received { hash, content_type, content: content.into() });
    }
    let hold = call.store().hold();
    let stored = call
        .store()
        .with_hold(&hold, move |hold| {
            let mut stored = Vec::new();
            for file in received {
                let mut keep = |encoding: Encoding, content: &[u8]| -> Result<(), StoreError> {
                    stored.push(AssetContent {
                        hash: file.hash.to_string(),
                        encoding: encoding.name().to_owned(),
                        file: hold.write(content)?,
                        size: content.len() as u64,
                        content_type: file.content_type.clone(),
                    });
                    Ok(())
                };
                keep(Encoding::Identity, &file.content)?;
                let variants = compress::variants(&file.content, file.content_type.as_deref())
                    .map_err(|error| StoreError::Invalid(format!("an asset cannot be compressed: {error}")))?;
                for (encoding, content) in variants {
                    keep(encoding, &content)?;
                }
            }
            Ok(stored)
        })
        .await?;
    call.store().put_assets(call.account(), &stored).await?;
    let hashes: Vec<String> = extensions.keys().map(ToString::to_string).collect();
    let there = call.store().assets_of(call.account(), &hashes).await?;
    if there.len() < hashes.len() {
        return Ok(Answer::ok(json!({ "jwt": Value::Null })).with_status(StatusCode::ACCEPTED));
    }
    keep(&call, &claims.manifest).await?;
    let complete = Claims { complete: true, exp: now() + SESSION, ..claims };
    Ok(Answer::ok(json!({ "jwt": sign(&call, &complete)? })).with_status(StatusCode::CREATED))
}

struct Part {
    name: String,
    content_type: String,
    content: Bytes,
}

async fn parts(call: &mut Call) -> ApiResult<Vec<Part>> {
    let content_type = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(content_type).map_err(|_| {
        ApiError::bad("the upload is not multipart/form-data with a boundary: send it as wrangler does")
    })?;
    let bytes = call.bytes(MOST_UPLOAD).await?;
    let chunks = futures_util::stream::once(async move { Ok::<_, std::convert::Infallible>(bytes) });
    let mut multipart = multer::Multipart::new(chunks, boundary);
    let fail = |error: multer::Error| {
        ApiError::bad(format!("the upload cannot be read: {error}. It may have been cut off: try again"))
    };
    let mut parts = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(fail)? {
        let name = field.name().unwrap_or_default().to_owned();
        let content_type = field.content_type().map(ToString::to_string).unwrap_or_default();
        parts.push(Part { name, content_type, content: field.bytes().await.map_err(fail)? });
    }
    Ok(parts)
}

/// The static assets of a version: the manifest of a session that is complete, with the variants that are stored. They are kept until
/// the version is committed.
pub(crate) async fn record(call: &Call, hold: &Hold, sent: &AssetsSent) -> ApiResult<AssetsRecord> {
    let token =
        sent.jwt.as_deref().ok_or_else(|| ApiError::bad("\"assets\" has no \"jwt\": upload the files first"))?;
    let claims = verify(call, token)?;
    if claims.script != call.worker_name() {
        return Err(ApiError::bad(format!("the static assets were uploaded for the Worker \"{}\"", claims.script)));
    }
    let config = if sent.config.is_null() { json!({}) } else { sent.config.clone() };
    serde_json::from_value::<skep_assets::Config>(config.clone())
        .map_err(|error| ApiError::bad(format!("\"assets.config\" is not as expected: {error}")))?;
    let manifest = session(call, &claims).await?;
    let hashes: Vec<String> = unique(&manifest).into_keys().map(|hash| hash.to_string()).collect();
    let there = call.store().assets_of(call.account(), &hashes).await?;
    if let Some(missing) = hashes.iter().find(|hash| !there.contains_key(*hash)) {
        return Err(ApiError::bad(format!("the static asset {missing} has not been uploaded yet")));
    }
    let manifest = build(&manifest, |file| {
        let mut file = File { variants: Variants::default(), content_type: None, ..file.clone() };
        for content in there.get(&file.hash.to_string()).into_iter().flatten() {
            match Encoding::COMPRESSED.into_iter().find(|encoding| encoding.name() == content.encoding) {
                Some(encoding) => file.variants.add(encoding, content.size),
                None => file.content_type.clone_from(&content.content_type),
            }
        }
        file
    })?;
    let bytes = serde_json::to_vec(&manifest).map_err(StoreError::from)?;
    let manifest = call.store().with_hold(hold, move |hold| hold.write(&bytes)).await?;
    keep(call, &manifest).await?;
    Ok(AssetsRecord { manifest, config })
}
