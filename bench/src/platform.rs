//! `skep serve`: its data directory, its API, and deploys as wrangler sends them.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use skep_assets::AssetHash;

use crate::Bench;
use crate::client::{Client, get_from};
use crate::server::{Program, Runtime, Server};

/// The label of the first account in addresses.
const SUBDOMAIN: &str = "dev";
/// Between the parts of an upload.
const BOUNDARY: &str = "----skep-bench";

/// An account beside the first one.
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) token: String,
    subdomain: String,
}

/// A platform that runs.
pub(crate) struct Platform {
    pub(crate) server: Server,
    /// The first account's id.
    pub(crate) account: String,
    token: String,
    api: Client,
}

impl Platform {
    /// The folder of a platform for one benchmark, empty.
    pub(crate) fn new_data(bench: &Bench, name: &str) -> Result<PathBuf, Box<dyn Error>> {
        let data = bench.output.join(name);
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        fs::create_dir_all(&data)?;
        Ok(data)
    }

    /// Starts it over a folder, on some cores.
    pub(crate) fn start(bench: &Bench, data: &Path, cores: &str, more: &[&str]) -> Result<Self, Box<dyn Error>> {
        let program = Program { runtime: Runtime::SkepServe, ..bench.skep.clone() };
        Self::start_as(bench, &program, Vec::new(), data, cores, more)
    }

    /// Starts it in another program, such as valgrind, which is given these arguments first.
    pub(crate) fn start_inside(
        bench: &Bench,
        outer: &str,
        arguments: &[OsString],
        data: &Path,
        cores: &str,
        more: &[&str],
    ) -> Result<Self, Box<dyn Error>> {
        let program = Program { runtime: Runtime::SkepServe, path: outer.into(), version: String::new() };
        let arguments = arguments.iter().cloned().chain([bench.skep.path.clone().into()]).collect();
        Self::start_as(bench, &program, arguments, data, cores, more)
    }

    fn start_as(
        bench: &Bench,
        program: &Program,
        mut arguments: Vec<OsString>,
        data: &Path,
        cores: &str,
        more: &[&str],
    ) -> Result<Self, Box<dyn Error>> {
        arguments.extend(program.arguments(""));
        arguments.extend(["--subdomain".into(), SUBDOMAIN.into(), "--data-dir".into(), data.into()]);
        arguments.extend(more.iter().map(OsString::from));
        let server = program.start_with(arguments, data, cores, &bench.output.join("logs/skep-serve.log"))?;
        let token = fs::read_to_string(data.join("admin-token"))?.trim().to_owned();
        let api = Client::connect(server.address)?;
        let mut platform = Self { server, account: String::new(), token, api };
        let accounts = platform.call("GET", "/accounts", "application/json", b"")?;
        platform.account = text(&accounts["result"][0]["id"])?;
        Ok(platform)
    }

    /// The host at which a Worker answers.
    pub(crate) fn host(worker: &str) -> String {
        format!("{worker}.{SUBDOMAIN}.localhost")
    }

    /// The request that a Worker answers.
    pub(crate) fn request(worker: &str, path: &str) -> Vec<u8> {
        get_from(&Self::host(worker), path)
    }

    pub(crate) fn call(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Value, Box<dyn Error>> {
        let token = self.token.clone();
        self.call_as(&token, method, path, kind, body)
    }

    fn call_as(
        &mut self,
        token: &str,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<Value, Box<dyn Error>> {
        let head = format!(
            "{method} /client/v4{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = self.api.call(&[head.as_bytes(), body].concat())?;
        let answer: Value = serde_json::from_slice(&answer)?;
        if answer["success"] == true { Ok(answer) } else { Err(format!("{method} {path}: {answer}").into()) }
    }

    /// Uploads a script and deploys it. Gives the version's id.
    pub(crate) fn deploy(&mut self, worker: &str, script: &str) -> Result<String, Box<dyn Error>> {
        let metadata = json!({ "main_module": "index.js", "compatibility_date": "2026-10-06" }).to_string();
        self.put(worker, &script_parts(&metadata, script))
    }

    /// Makes another account, with a label of its own.
    pub(crate) fn new_account(&mut self, subdomain: &str) -> Result<Account, Box<dyn Error>> {
        let path = format!("/skep/v1/accounts/{}/accounts", self.account);
        let body = json!({ "name": subdomain, "subdomain": subdomain }).to_string();
        let made = self.call("POST", &path, "application/json", body.as_bytes())?;
        let [id, token] = ["id", "token"].map(|key| text(&made["result"][key]));
        Ok(Account { id: id?, token: token?, subdomain: subdomain.to_owned() })
    }

    /// Uploads a script of another account, perhaps with a limit of CPU time in milliseconds, and deploys it.
    pub(crate) fn deploy_for(
        &mut self,
        account: &Account,
        worker: &str,
        script: &str,
        cpu_ms: Option<u32>,
    ) -> Result<(), Box<dyn Error>> {
        let limits = cpu_ms.map_or_else(|| json!({}), |cpu_ms| json!({ "cpu_ms": cpu_ms }));
        let metadata =
            json!({ "main_module": "index.js", "compatibility_date": "2026-10-06", "limits": limits }).to_string();
        let path = format!("/accounts/{}/workers/scripts/{worker}", account.id);
        self.call_as(&account.token, "PUT", &path, &form_kind(), &form(&script_parts(&metadata, script)))?;
        Ok(())
    }

    /// Has the events of an account's Worker kept.
    pub(crate) fn keep_events(&mut self, account: &Account, worker: &str) -> Result<(), Box<dyn Error>> {
        let path = format!("/accounts/{}/workers/scripts/{worker}/script-settings", account.id);
        let settings = json!({ "observability": { "enabled": true } }).to_string();
        self.call_as(&account.token, "PATCH", &path, "application/json", settings.as_bytes())?;
        Ok(())
    }

    fn put(&mut self, worker: &str, parts: &[(&str, &str, &[u8])]) -> Result<String, Box<dyn Error>> {
        let path = format!("/accounts/{}/workers/scripts/{worker}", self.account);
        let answer = self.call("PUT", &path, &form_kind(), &form(parts))?;
        text(&answer["result"]["deployment_id"])
    }

    /// Deploys a version that is there.
    pub(crate) fn roll_back(&mut self, worker: &str, version: &str) -> Result<(), Box<dyn Error>> {
        let path = format!("/accounts/{}/workers/scripts/{worker}/deployments", self.account);
        let versions = json!([{ "version_id": version, "percentage": 100 }]);
        let body = json!({ "strategy": "percentage", "versions": versions }).to_string();
        self.call("POST", &path, "application/json", body.as_bytes())?;
        Ok(())
    }

    /// Deploys a Worker that has one static asset and no script.
    pub(crate) fn deploy_asset(&mut self, worker: &str, path: &str, content: &[u8]) -> Result<(), Box<dyn Error>> {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        let hash = AssetHash::of(content, extension).to_string();
        let manifest = json!({ "manifest": { path: { "hash": hash, "size": content.len() } } }).to_string();
        let account = self.account.clone();
        let session = format!("/accounts/{account}/workers/scripts/{worker}/assets-upload-session");
        let opened = self.call("POST", &session, "application/json", manifest.as_bytes())?;
        let upload = format!("/accounts/{account}/workers/assets/upload?base64=true");
        let content = BASE64.encode(content);
        let form = form(&[(&hash, "text/html; charset=utf-8", content.as_bytes())]);
        let done = self.call_as(&text(&opened["result"]["jwt"])?, "POST", &upload, &form_kind(), &form)?;
        let assets = json!({ "jwt": text(&done["result"]["jwt"])?, "config": {} });
        let metadata = json!({ "assets": assets, "compatibility_date": "2026-10-06" }).to_string();
        self.put(worker, &[("metadata", "application/json", metadata.as_bytes())])?;
        Ok(())
    }
}

impl Account {
    /// The request that one of its Workers answers.
    pub(crate) fn request(&self, worker: &str, path: &str) -> Vec<u8> {
        get_from(&format!("{worker}.{}.localhost", self.subdomain), path)
    }
}

/// The parts of an upload that has one module.
fn script_parts<'a>(metadata: &'a str, script: &'a str) -> [(&'a str, &'a str, &'a [u8]); 2] {
    [
        ("metadata", "application/json", metadata.as_bytes()),
        ("index.js", "application/javascript+module", script.as_bytes()),
    ]
}

fn form_kind() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

fn text(value: &Value) -> Result<String, Box<dyn Error>> {
    Ok(value.as_str().ok_or("the API's answer has no such text")?.to_owned())
}

/// A body of `multipart/form-data`. Each part has a name, a content type and a content.
fn form(parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, kind, content) in parts {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
             Content-Type: {kind}\r\n\r\n"
        );
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    form
}
