//! Sessions that upload static assets: a manifest, the files that the platform asks for, and the token that says that all are there.
//! <https://developers.cloudflare.com/workers/static-assets/direct-upload/>

use std::collections::HashMap;
use std::str::FromStr as _;
use std::time::Duration;

use ::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use skep_assets::AssetHash;
use skep_bundle::BuiltAssets;
use skep_worker::Secret;

use crate::api::{Api, Call, Root, Sent, segment};
use crate::deploy::Step;
use crate::error::{Error, Result};
use crate::form::Form;

/// Requests at once.
const AT_ONCE: usize = 3;
/// How often one request is tried, and how long the first pause is.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// The content type that stands for an unknown one.
const UNKNOWN: &str = "application/null";

/// What was uploaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UploadedAssets {
    /// Files of the manifest.
    pub files: usize,
    /// Files that were not there yet.
    pub uploaded: usize,
    /// Their size in bytes.
    pub bytes: u64,
}

#[derive(Deserialize)]
struct Session {
    jwt: Option<String>,
    #[serde(default)]
    buckets: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct Progress {
    jwt: Option<String>,
}

/// Uploads what the platform does not have yet. Gives the token for the upload of the version.
pub(crate) async fn upload(
    api: &Api,
    worker: &str,
    assets: &BuiltAssets,
    say: &(dyn Fn(Step) + Sync),
) -> Result<(String, UploadedAssets)> {
    let manifest: serde_json::Map<String, Value> = assets
        .folder
        .manifest
        .iter()
        .map(|asset| (asset.path().to_owned(), json!({ "hash": asset.hash().to_string(), "size": asset.size() })))
        .collect();
    let types: HashMap<AssetHash, String> = assets
        .folder
        .manifest
        .iter()
        .filter_map(|asset| Some((asset.hash(), asset.content_type()?.to_str().ok()?.to_owned())))
        .collect();
    let files = manifest.len();
    let path = format!("/workers/scripts/{}/assets-upload-session", segment(worker));
    let sent = Sent::Json(json!({ "manifest": manifest }));
    let session: Session = api.send(Method::POST, Root::Account, &path, sent).await?;
    let token = session.jwt.ok_or_else(|| broken("the platform opened no session"))?;
    let total = session.buckets.iter().map(Vec::len).sum();
    say(Step::Assets { done: 0, of: total });
    let mut finished = None;
    let mut uploaded = UploadedAssets { files, uploaded: 0, bytes: 0 };
    if session.buckets.is_empty() {
        finished = Some(token.clone());
    }
    let token = Secret::new(token);
    let sending = session.buckets.iter().map(|bucket| send(api, &token, bucket, assets, &types));
    let mut sending = stream::iter(sending).buffer_unordered(AT_ONCE);
    while let Some(sent) = sending.try_next().await? {
        uploaded.uploaded += sent.files;
        uploaded.bytes += sent.bytes;
        finished = sent.token.or(finished);
        say(Step::Assets { done: uploaded.uploaded, of: total });
    }
    Ok((finished.ok_or_else(|| broken("the platform still misses files"))?, uploaded))
}

fn broken(what: &str) -> Error {
    Error::invalid(format!("the static assets could not be uploaded: {what}. Try again"))
}

struct SentBucket {
    files: usize,
    bytes: u64,
    token: Option<String>,
}

/// Sends one bucket, again if the connection breaks: a content is known by its hash, so sending it twice is harmless.
async fn send(
    api: &Api,
    token: &Secret,
    bucket: &[String],
    assets: &BuiltAssets,
    types: &HashMap<AssetHash, String>,
) -> Result<SentBucket> {
    let mut pause = PAUSE;
    for attempt in 1.. {
        let (form, bytes) = read(bucket, assets, types).await?;
        let call = Call {
            method: Method::POST,
            path: format!("/client/v4/accounts/{}/workers/assets/upload?base64=true", segment(api.account_id())),
            sent: Sent::Form(form),
            bearer: Some(token.clone()),
        };
        match api.call::<Progress>(call).await {
            Ok(progress) => return Ok(SentBucket { files: bucket.len(), bytes, token: progress.jwt }),
            Err(error) if attempt < TRIES && may_pass(&error) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(error) => return Err(error),
        }
    }
    Err(broken("the connection broke again and again"))
}

/// Whether it makes sense to try again.
fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. }) || error.status().is_some_and(|status| status >= 500 || status == 429)
}

async fn read(bucket: &[String], assets: &BuiltAssets, types: &HashMap<AssetHash, String>) -> Result<(Form, u64)> {
    let mut files = Vec::new();
    for text in bucket {
        let hash = AssetHash::from_str(text);
        let hash = hash.map_err(|_| broken(&format!("the platform asks for {text}, which is no hash")))?;
        let path = assets.folder.file(hash);
        let path =
            path.ok_or_else(|| broken(&format!("the platform asks for {text}, which is not in the manifest")))?;
        let content_type = types.get(&hash).map_or(UNKNOWN, String::as_str);
        files.push((text.clone(), content_type.to_owned(), path.to_owned()));
    }
    let reading = tokio::task::spawn_blocking(move || {
        let (mut form, mut size) = (Form::default(), 0);
        for (name, content_type, path) in files {
            let content = std::fs::read(&path).map_err(Error::file(&path))?;
            size += content.len() as u64;
            form = form.file(&name, &content_type, Bytes::from(STANDARD.encode(content)));
        }
        Ok((form, size))
    });
    reading.await.map_err(|error| broken(&error.to_string()))?
}
