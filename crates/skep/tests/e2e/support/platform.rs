//! `skep serve`, and wrangler that is told to use it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use hyper::body::Bytes;
use hyper::{Method, Request};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::http::{Answer, body, fetch, try_fetch};
use super::process::{Ended, command};
use super::{Output, PATIENCE, offline};

/// The oldest Node.js that wrangler 4 runs on.
const NODE: u32 = 22;

/// `skep serve`, until this goes out of scope.
pub(crate) struct Platform {
    process: Child,
    /// What it prints.
    pub(crate) output: Output,
    /// Host and port of the API.
    pub(crate) host: String,
    /// The first account's id.
    pub(crate) account: String,
    /// Its API token.
    pub(crate) token: String,
    /// Everything that lasts.
    pub(crate) data: std::sync::Arc<TempDir>,
}

impl Platform {
    /// Starts it with a new data directory.
    pub(crate) async fn start() -> Self {
        Self::over(std::sync::Arc::new(TempDir::new().expect("a folder")), &[]).await
    }

    /// Starts it over a data directory.
    pub(crate) async fn over(data: std::sync::Arc<TempDir>, arguments: &[&str]) -> Self {
        let folder = data.path().join("data");
        let command = command(data.path(), &Self::arguments(&folder, arguments));
        Self::spawn(data, command, |_| folder).await
    }

    /// The arguments of `skep serve` over a data directory.
    pub(crate) fn arguments<'a>(folder: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        let folder = folder.to_str().expect("a path");
        [&["serve", "--data-dir", folder, "--listen", "127.0.0.1:0", "--allow-loopback"], more].concat()
    }

    /// Runs a command that becomes `skep serve`. `folder` gives the data directory, as this process sees it, for the command's
    /// process id.
    pub(crate) async fn spawn(
        data: std::sync::Arc<TempDir>,
        mut command: Command,
        folder: impl FnOnce(u32) -> PathBuf,
    ) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        command.stdout(writer.try_clone().expect("a pipe")).stderr(writer);
        let process = command.spawn().expect("the command starts");
        drop(command);
        let output = Output::of(reader);
        let (host, account, token) = (String::new(), String::new(), String::new());
        let mut platform = Self { process, output, host, account, token, data };
        platform.output.until("Ready on http://").await;
        platform.host = platform.output.until(" ").await;
        let folder = folder(platform.process.id().expect("it runs"));
        platform.token = fs::read_to_string(folder.join("admin-token")).expect("a token").trim().to_owned();
        let accounts = platform.api(Method::GET, "/accounts", "").await;
        platform.account = accounts["result"][0]["id"].as_str().expect("an account").to_owned();
        platform
    }

    fn port(&self) -> &str {
        self.host.rsplit_once(':').expect("a port").1
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// A call of the API with the first account's token.
    pub(crate) async fn api(&self, method: Method, path: &str, sent: &str) -> Value {
        let answer = self.api_as(&self.token, method, path, sent).await;
        serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.text))
    }

    /// A call of the API's own part, whose paths begin with `/skep/v1`, with the first account's token.
    pub(crate) async fn own(&self, method: Method, path: &str, sent: &str) -> Value {
        let answer = self.call(&self.token, method, path.to_owned(), sent).await;
        serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.text))
    }

    /// A call of the API with a token.
    pub(crate) async fn api_as(&self, token: &str, method: Method, path: &str, sent: &str) -> Answer {
        self.call(token, method, format!("/client/v4{path}"), sent).await
    }

    async fn call(&self, token: &str, method: Method, path: String, sent: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        let local = format!("127.0.0.1:{}", self.port());
        fetch(&local, request.body(body(sent.to_owned())).expect("a request")).await
    }

    /// The body of an upload: metadata, and the modules by their names.
    pub(crate) fn form(modules: &[(&str, String)]) -> String {
        let mut form = String::new();
        let mut part = |name: &str, kind: &str, content: &str| {
            form += &format!(
                "--B\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n{content}\r\n"
            );
        };
        part("metadata", "application/json", r#"{ "main_module": "index.js", "compatibility_date": "2025-06-01" }"#);
        for (name, content) in modules {
            let kind = if name.ends_with(".js") { "application/javascript+module" } else { "text/plain" };
            part(name, kind, content);
        }
        form + "--B--\r\n"
    }

    /// The request that uploads a Worker and deploys it. Its form is to follow.
    pub(crate) fn put(&self, name: &str) -> hyper::http::request::Builder {
        Request::put(format!("/client/v4/accounts/{}/workers/scripts/{name}", self.account))
            .header("host", &self.host)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "multipart/form-data; boundary=B")
    }

    /// Sends a request to the API. Nothing if the connection broke.
    pub(crate) async fn send(&self, request: hyper::http::request::Builder, sent: impl Into<Bytes>) -> Option<Answer> {
        try_fetch(&self.address(), request.body(body(sent)).expect("a request")).await
    }

    /// Uploads a Worker and deploys it. Gives nothing if the connection broke.
    pub(crate) async fn upload(&self, name: &str, modules: &[(&str, String)]) -> Option<Value> {
        let answer = self.send(self.put(name), Self::form(modules)).await?;
        let answer: Value = serde_json::from_str(&answer.text).ok()?;
        assert_eq!(answer["success"], true, "{answer}");
        Some(answer)
    }

    /// A GET request to a host below the platform's domain, such as `hello.dev`.
    pub(crate) async fn get(&self, label: &str, path: &str) -> Answer {
        self.get_with(label, path, &[]).await
    }

    /// The same with headers.
    pub(crate) async fn get_with(&self, label: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path).header("host", format!("{label}.localhost:{}", self.port()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let local = format!("127.0.0.1:{}", self.port());
        fetch(&local, request.body(body(String::new())).expect("a request")).await
    }

    /// A command that runs wrangler, told to use this platform.
    pub(crate) fn with_wrangler(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("CLOUDFLARE_API_BASE_URL", format!("http://{}/client/v4", self.host))
            .env("CLOUDFLARE_API_TOKEN", &self.token)
            .env("CLOUDFLARE_ACCOUNT_ID", &self.account)
            .env("WRANGLER_SEND_METRICS", "false")
            .env("WRANGLER_SEND_ERROR_REPORTS", "false")
            .env("WRANGLER_LOG_PATH", self.data.path().join("wrangler-logs"))
            .env("CI", "true")
            .env("NO_COLOR", "1")
            .kill_on_drop(true);
        command
    }

    /// A GET request to the platform's own host.
    pub(crate) async fn at(&self, path: &str) -> Answer {
        let request = Request::get(path).header("host", &self.host).body(body(String::new()));
        fetch(&self.address(), request.expect("a request")).await
    }

    /// A GET request. Nothing if the connection breaks.
    pub(crate) async fn try_get(&self, label: &str, path: &str) -> Option<Answer> {
        let request = Request::get(path).header("host", format!("{label}.localhost:{}", self.port()));
        let request = request.body(body(String::new())).expect("a request");
        try_fetch(&format!("127.0.0.1:{}", self.port()), request).await
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id().expect("it runs")
    }

    /// Ends it as a crash does.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.expect("it ran");
    }

    /// Asks it to stop, and gives its exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        let id = self.process.id().expect("it runs");
        let sent = Command::new("sh").args(["-c", &format!("kill -s TERM {id}")]).status().await;
        assert!(sent.expect("a shell").success());
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        status.expect("it ends").expect("it ran").code()
    }
}

/// An unmodified wrangler from npm.
pub(crate) struct Wrangler {
    program: PathBuf,
    path: OsString,
}

impl Wrangler {
    /// A version of it, installed once into `$HOME/.cache/skep`. Nothing if the tests are to do without the network.
    pub(crate) fn version(version: &str) -> Option<Self> {
        if offline() {
            return None;
        }
        let path = path_with_node();
        let folder = cached(&format!("wrangler-{version}"), |folder| {
            install(folder, &format!("wrangler@{version}"), &path);
        });
        Some(Self { program: folder.join("node_modules/.bin/wrangler"), path })
    }

    /// Runs it in a folder against a platform.
    pub(crate) async fn run(&self, platform: &Platform, folder: &Path, arguments: &[&str]) -> Ended {
        self.run_with(platform, folder, arguments, "").await
    }

    fn command(&self, platform: &Platform, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = platform.with_wrangler(&self.program);
        command.args(arguments).current_dir(folder).env("PATH", &self.path);
        command
    }

    /// Starts a command that goes on until it is told to stop. Gives what it prints, both streams in their order.
    pub(crate) fn start(&self, platform: &Platform, folder: &Path, arguments: &[&str]) -> (Child, Output) {
        let mut command = self.command(platform, folder, arguments);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        command.stdin(Stdio::null()).stdout(writer.try_clone().expect("a pipe")).stderr(writer);
        let process = command.spawn().expect("wrangler starts");
        (process, Output::of(reader))
    }

    /// The same as [`Self::run`] with a text as its standard input.
    pub(crate) async fn run_with(&self, platform: &Platform, folder: &Path, arguments: &[&str], input: &str) -> Ended {
        end(self.command(platform, folder, arguments), input).await
    }

    /// The same without being told where the platform is: what the folder says counts.
    pub(crate) async fn run_bare(&self, platform: &Platform, folder: &Path, arguments: &[&str]) -> Ended {
        let mut command = self.command(platform, folder, arguments);
        for name in ["CLOUDFLARE_API_BASE_URL", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"] {
            command.env_remove(name);
        }
        end(command, "").await
    }
}

/// Runs wrangler to its end, with a text as its standard input.
async fn end(mut command: Command, input: &str) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("wrangler starts");
    let mut stdin = process.stdin.take().expect("a pipe");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE * 2, process.wait_with_output()).await;
    let output = output.expect("wrangler ends").expect("it ran");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), output: text(&output.stdout), errors: text(&output.stderr) }
}

/// Installs a package into an empty folder.
fn install(folder: &Path, package: &str, path: &OsString) {
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join("package.json"), r#"{ "private": true }"#).expect("a file");
    let mut npm = std::process::Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", package]).current_dir(folder).env("PATH", path);
    let output = npm.output().expect("npm is installed");
    assert!(
        output.status.success(),
        "{npm:?} failed. It needs the npm registry; without a network, set SKEP_OFFLINE=1.\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A folder of the cache: filled once, by one test at a time.
pub(crate) fn cached(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let home = std::env::var_os("HOME").expect("there is a home folder");
    let cache = Path::new(&home).join(".cache/skep/tools");
    fs::create_dir_all(&cache).expect("a cache");
    let lock = File::create(cache.join(format!("{name}.lock"))).expect("a lock");
    lock.lock().expect("a lock");
    let folder = cache.join(name);
    let filled = cache.join(format!("{name}.filled"));
    if !filled.exists() {
        // What a run left that was stopped in the middle.
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("an empty place");
        }
        fill(&folder);
        fs::write(filled, "").expect("a marker");
    }
    folder
}

/// The folders of programs, with a Node.js that is new enough: from npm if the machine's is not.
pub(crate) fn path_with_node() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let version =
        std::process::Command::new("node").arg("--version").output().expect("Node.js with npm is installed").stdout;
    let version = String::from_utf8_lossy(&version);
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_some_and(|major: u32| major >= NODE) {
        return path;
    }
    let node = cached("node", |folder| install(folder, &format!("node@{NODE}"), &path));
    let folders = std::iter::once(node.join("node_modules/node/bin")).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).expect("a path")
}
