//! A site from a list of paths, and questions to it. The content of each file is its path.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::sync::Arc;

use http::{HeaderMap, Request, StatusCode};
use skep_assets::manifest::{AssetHash, File, ManifestBuilder, Variants};
use skep_assets::{Answer, Config, Encoding, Manifest, MemoryContents, Script, Server, Site, WorkerReason, upload};
use skep_worker::Compatibility;

/// An answer as tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Status and body.
    Content(u16, String),
    /// Status and location.
    To(u16, String),
    Worker(WorkerReason),
}

pub struct Tested {
    pub site: Site,
    pub server: Server,
}

/// A path as a file's extension is read from it.
fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or("", |(_, extension)| extension)
}

pub fn hash_of(path: &str) -> AssetHash {
    AssetHash::of(path.as_bytes(), extension(path))
}

pub fn manifest_of(paths: &[&str]) -> (Manifest, MemoryContents) {
    let mut contents = MemoryContents::default();
    let mut manifest = ManifestBuilder::default();
    for path in paths {
        let hash = hash_of(path);
        contents.add(hash, Encoding::Identity, path.as_bytes().to_vec());
        let content_type = upload::content_type(path).map(Into::into);
        let file = File { hash, size: path.len() as u64, content_type, variants: Variants::default() };
        manifest.add(path, &file).unwrap();
    }
    (manifest.build().unwrap(), contents)
}

impl Tested {
    pub fn new(paths: &[&str], config: &Config, script: Script<'_>) -> Self {
        let (manifest, contents) = manifest_of(paths);
        let (site, _) = Site::new(manifest, config, script);
        Self { site, server: Server::new(Arc::new(contents), 1024 * 1024) }
    }

    /// Only assets.
    pub fn assets(paths: &[&str], config: &Config) -> Self {
        Self::new(paths, config, Script::None)
    }

    /// A Worker of that compatibility date beside them.
    pub fn with_worker(paths: &[&str], config: &Config, date: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let compatibility = Compatibility::new(date.parse().unwrap(), flags).unwrap();
        Self::new(paths, config, Script::With(&compatibility))
    }

    pub async fn get(&self, path: &str) -> Seen {
        self.ask(request("GET", path, &[])).await
    }

    pub async fn ask(&self, request: Request<()>) -> Seen {
        seen(self.server.answer(&self.site, &request)).await
    }

    pub async fn fetch(&self, request: Request<()>) -> Seen {
        seen(self.server.fetch(&self.site, &request)).await
    }

    /// The whole response: status, headers and body.
    pub async fn full(&self, request: Request<()>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let response = self.server.answer(&self.site, &request).response().await.unwrap().unwrap();
        let (head, body) = response.into_parts();
        (head.status, head.headers, body.collect(u64::MAX).await.unwrap().to_vec())
    }

    /// One header of the answer to a GET.
    pub async fn header(&self, url: &str, name: &str) -> Option<String> {
        let (_, headers, _) = self.full(request("GET", url, &[])).await;
        headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }
}

/// A request for a path of `https://example.com`, or for a whole URL.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let url = if target.starts_with('/') { format!("https://example.com{target}") } else { target.to_owned() };
    let builder = headers
        .iter()
        .fold(Request::builder().method(method).uri(url), |builder, (name, value)| builder.header(*name, *value));
    builder.body(()).unwrap()
}

pub async fn seen(answer: Answer) -> Seen {
    if let Answer::Worker(reason) = answer {
        return Seen::Worker(reason);
    }
    let response = answer.response().await.unwrap().unwrap();
    let status = response.status().as_u16();
    if let Some(location) = response.headers().get("location") {
        return Seen::To(status, location.to_str().unwrap().to_owned());
    }
    let body = response.into_body().collect(u64::MAX).await.unwrap();
    Seen::Content(status, String::from_utf8_lossy(&body).into_owned())
}

pub fn content(path: &str) -> Seen {
    Seen::Content(200, path.to_owned())
}

pub fn to(path: &str) -> Seen {
    Seen::To(307, path.to_owned())
}

pub fn nothing() -> Seen {
    Seen::Content(404, String::new())
}

pub fn config(json: serde_json::Value) -> Config {
    serde_json::from_value(json).unwrap()
}
