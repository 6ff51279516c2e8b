//! What the API has acknowledged or said to be there is not removed as unused, however an upload goes on.

use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::{Value, json};
use skep_assets::{AssetHash, Manifest};
use skep_control::{Addresses, Control};
use skep_exchange::Body;
use skep_store::{Account, Actor, Content, MasterKeys, NewToken, Permission, Store};
use tempfile::TempDir;

#[path = "support/runtime.rs"]
mod runtime;

/// Static assets of the site.
const ASSETS: [&str; 2] = ["<p>one</p>", "<p>two</p>"];

struct Site {
    _folder: TempDir,
    control: Arc<Control>,
    store: Store,
    account: Account,
    token: String,
}

impl Site {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let keys = MasterKeys::parse([MasterKeys::generate().reveal()]).expect("a key");
        let store = Store::open(folder.path(), keys).await.expect("a store");
        let account = store.create_account("test", "Skep", "dev").await.expect("an account");
        let new = NewToken {
            name: "test".to_owned(),
            permissions: vec![Permission::WorkersWrite],
            worker: None,
            expires_on: None,
        };
        let (_, token) = store.create_token(&Actor::platform(&account.id, "test"), new).await.expect("a token");
        let addresses = Addresses { domain: "localhost".to_owned(), scheme: "http", port: None };
        let control = Control::new(store.clone(), runtime::none(store.clone()), addresses);
        Self { _folder: folder, control, store, account, token: token.reveal().to_owned() }
    }

    /// Removes what is unused, then calls the API with a form or JSON, and gives the result.
    async fn call(&self, method: Method, path: &str, token: &str, body: String) -> Value {
        self.remove_unused().await;
        let content_type = if body.starts_with("--B") { "multipart/form-data; boundary=B" } else { "application/json" };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://localhost/accounts/{}/workers{path}", self.account.id))
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, content_type)
            .body(Body::full(body))
            .expect("a request");
        let response = Arc::clone(&self.control).handle(request).await;
        let bytes = response.into_body().collect(1 << 20).await.expect("an answer");
        let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(answer["success"], true, "{path}: {answer}");
        answer["result"].clone()
    }

    async fn remove_unused(&self) {
        let removed = self.store.remove_unused(Duration::ZERO).await.expect("removed");
        assert!(removed.unreadable.is_empty(), "{removed:?}");
    }

    /// Opens an upload session for all assets.
    async fn open(&self) -> Value {
        let files = ASSETS
            .iter()
            .enumerate()
            .map(|(number, text)| (format!("/{number}.html"), json!({ "hash": hash(text), "size": text.len() })));
        let manifest: serde_json::Map<_, _> = files.collect();
        let sent = json!({ "manifest": manifest }).to_string();
        self.call(Method::POST, "/scripts/site/assets-upload-session", &self.token, sent).await
    }

    /// Uploads one asset of a session.
    async fn upload(&self, session: &Value, text: &str) -> Value {
        let form = part(&hash(text), "text/html", &BASE64_STANDARD.encode(text));
        self.call(Method::POST, "/assets/upload?base64=true", jwt(session), form + "--B--\r\n").await
    }

    /// Deploys the Worker, with what the metadata says of its assets.
    async fn deploy(&self, metadata: Value) {
        let mut sent = json!({ "main_module": "index.js", "compatibility_date": "2025-06-01" });
        sent.as_object_mut().expect("an object").extend(metadata.as_object().expect("an object").clone());
        let form = part("metadata", "application/json", &sent.to_string())
            + &part("index.js", "application/javascript+module", "export default {}")
            + "--B--\r\n";
        self.call(Method::PUT, "/scripts/site", &self.token, form).await;
    }

    /// Reads all that the newest version consists of.
    async fn read(&self) {
        self.remove_unused().await;
        let worker = self.store.worker(&self.account.id, "site").await.expect("read").expect("a Worker");
        let version = self.store.latest_version(worker.id).await.expect("read").expect("a version");
        self.store.files().modules(&version).expect("its modules");
        let Content { assets: Some(assets), .. } = version.content else { panic!("it has no assets") };
        let manifest = self.store.with_files(move |files| files.read(&assets.manifest)).await.expect("its manifest");
        let manifest: Manifest = serde_json::from_slice(&manifest).expect("a manifest");
        assert_eq!(manifest.len(), ASSETS.len());
        for asset in manifest.iter() {
            let file = self.store.asset_file(&asset.hash().to_string(), "identity").await.expect("read");
            let content = self.store.with_files(move |files| files.read(&file.expect("an asset"))).await;
            assert_eq!(content.expect("its content").len() as u64, asset.size());
        }
    }
}

fn hash(text: &str) -> String {
    AssetHash::of(text.as_bytes(), "html").to_string()
}

fn jwt(session: &Value) -> &str {
    session["jwt"].as_str().expect("a token")
}

fn part(name: &str, content_type: &str, content: &str) -> String {
    format!(
        "--B\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\nContent-Type: {content_type}\r\n\r\n{content}\r\n"
    )
}

#[tokio::test]
async fn an_upload_session_finds_what_it_was_told() {
    let site = Site::new().await;
    let session = site.open().await;
    assert_eq!(session["buckets"][0].as_array().map(Vec::len), Some(2), "{session}");
    assert!(site.upload(&session, ASSETS[0]).await["jwt"].is_null());
    let complete = site.upload(&session, ASSETS[1]).await;
    site.deploy(json!({ "assets": { "jwt": jwt(&complete) } })).await;
    site.read().await;
    // A version that keeps the assets of the one before.
    site.deploy(json!({ "keep_assets": true })).await;
    site.read().await;

    // Everything is there, so it stays, also when nothing else needs it any more.
    let session = site.open().await;
    assert_eq!(session["buckets"], json!([]), "{session}");
    let actor = Actor::platform(&site.account.id, "test");
    site.store.delete_worker(&actor, "site").await.expect("deleted");
    site.deploy(json!({ "assets": { "jwt": jwt(&session) } })).await;
    site.read().await;
}
