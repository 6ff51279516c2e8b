//! The processes that run Workers die: what was idle goes on, what was lost is said, who was there is named, and who does it again and again is
//! sent away. And what such a process cannot do.

use std::fs;
use std::time::{Duration, Instant};

use hyper::Method;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::support::{PATIENCE, Platform, body, command, fetch, free_port, get};

/// Answers at once, or after it was told to go on, or never.
const WORKER: &str = r#"
    export default {
        async fetch(request, env, ctx) {
            const url = new URL(request.url);
            const gate = url.searchParams.get("gate");
            if (url.pathname === "/spin") {
                await fetch(gate);
                for (;;);
            }
            if (url.pathname === "/wait") {
                await fetch(gate);
                await new Promise((resolve) => setTimeout(resolve, 600_000));
            }
            if (url.pathname === "/stream") {
                return new Response(new ReadableStream({
                    async start(controller) {
                        controller.enqueue(new TextEncoder().encode("first"));
                        await new Promise((resolve) => setTimeout(resolve, 600_000));
                    },
                }));
            }
            if (url.pathname === "/echo") return new Response(await request.text());
            if (url.pathname === "/told") return Response.json([request.url, Object.fromEntries(request.headers)]);
            return new Response("hello");
        },
    };"#;

async fn deployed() -> Platform {
    let platform = Platform::start().await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    platform
}

impl Platform {
    /// The processes that run Workers.
    pub(crate) fn runtimes(&self) -> Vec<u32> {
        let own = self.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        // The thread that started a process is its parent to the kernel.
        let threads = fs::read_dir(format!("/proc/{own}/task")).expect("threads");
        let of_threads = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
        let mut all: Vec<u32> = of_threads.chain([children]).flat_map(|text| numbers(&text)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The process that runs all Workers, once there is another one than `before`.
    pub(crate) async fn runtime_after(&self, before: u32) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // One that is dead and was not waited for is a child, too.
            if let Some(other) = self.runtimes().into_iter().find(|process| *process > before && is_alive(*process)) {
                return other;
            }
            assert!(Instant::now() < deadline, "no other process comes: {}", self.output.all());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn numbers(text: &str) -> Vec<u32> {
    text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn is_alive(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z') && !line.contains('X'))
}

pub(crate) async fn send(signal: &str, process: u32) {
    let sent = Command::new("kill").args(["-s", signal, &process.to_string()]).status().await.expect("kill runs");
    assert!(sent.success());
}

/// A connection that is used again and again.
struct Client(TcpStream);

impl Client {
    async fn connect(platform: &Platform) -> Self {
        Self(TcpStream::connect(platform.address()).await.expect("a connection"))
    }

    async fn ask(&mut self, request: &str) {
        let request = request.replace('\n', "\r\n");
        self.0.write_all(request.as_bytes()).await.expect("sent");
    }

    async fn get(&mut self, path: &str) {
        self.ask(&format!("GET {path} HTTP/1.1\nhost: hello.dev.localhost\n\n")).await;
    }

    /// Reads until the text ends so.
    async fn read_until(&mut self, end: &str) -> String {
        self.try_read_until(end).await.unwrap_or_else(|text| panic!("the connection ended after {text:?}"))
    }

    /// The same; what came, if the connection ended before.
    async fn try_read_until(&mut self, end: &str) -> Result<String, String> {
        let mut text = String::new();
        let read = async {
            while !text.ends_with(end) {
                let mut bytes = [0; 4096];
                match self.0.read(&mut bytes).await {
                    Ok(length @ 1..) => text += &String::from_utf8_lossy(&bytes[..length]),
                    Ok(0) | Err(_) => return Err(text),
                }
            }
            Ok(text)
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer in time")
    }

    /// Asks for a page over a connection that was idle when a process died.
    async fn goes_on(&mut self, platform: &Platform) {
        self.get("/").await;
        match self.try_read_until("hello").await {
            Ok(text) => assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}"),
            Err(text) => panic!("{:?} ended after {text:?}: {}", self.0, platform.output.all()),
        }
    }

    /// Everything that comes until the connection ends, and whether that was in order.
    async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        // A connection that is reset has said what it had to.
        let _ = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.expect("an end in time");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A server that Workers call, so that a test knows where they are.
struct Gate(TcpListener);

impl Gate {
    async fn open() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    fn path(&self, path: &str) -> String {
        format!("{path}?gate=http://{}/", self.0.local_addr().expect("an address"))
    }

    /// Waits for a Worker, and lets it go on.
    async fn pass(&self) {
        let accepted = tokio::time::timeout(PATIENCE, self.0.accept()).await.expect("it comes in time");
        let (mut stream, _) = accepted.expect("a connection");
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes).await.expect("a request");
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await.expect("sent");
    }
}

/// CPU time of a process's isolates, in ticks. `proc_pid_stat(5)`.
fn isolate_ticks(process: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return 0 };
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    let of_isolates = stats.filter(|stat| stat.contains("(isolate hello)"));
    let ticks = |stat: String| {
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_ascii_whitespace().nth(11)?.parse::<u64>().ok()
    };
    of_isolates.filter_map(ticks).sum()
}

/// Has the Worker's code run for ever, and waits until it does.
async fn spin(platform: &Platform, gate: &Gate, process: u32) -> Client {
    let mut client = Client::connect(platform).await;
    client.get(&gate.path("/spin")).await;
    gate.pass().await;
    let (before, deadline) = (isolate_ticks(process), Instant::now() + PATIENCE);
    while isolate_ticks(process) < before + 5 {
        assert!(Instant::now() < deadline, "the Worker does not run");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client
}

#[tokio::test]
async fn a_process_that_takes_no_connections_is_ended() {
    // More than there is room for between the two processes.
    const CLIENTS: usize = 600;
    let mut platform = deployed().await;
    let [runtime] = platform.runtimes()[..] else { panic!("{:?}", platform.runtimes()) };
    send("STOP", runtime).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::connect(&platform).await;
        client.get("/").await;
        clients.push(client);
    }
    platform.runtime_after(runtime).await;
    for client in &mut clients {
        let answer = client.try_read_until("hello").await;
        assert!(answer.is_ok(), "{answer:?}: {}", platform.output.all());
    }
    assert_eq!(platform.stop().await, Some(0));
}

#[tokio::test]
async fn idle_connections_go_on_after_a_death() {
    let mut platform = deployed().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::connect(&platform).await);
    }
    // One that has asked nothing, one that has sent a body, one that had two answers.
    clients[1].ask("POST /echo HTTP/1.1\nhost: hello.dev.localhost\ncontent-length: 5\n\nabcde").await;
    clients[1].read_until("abcde").await;
    for _ in 0..2 {
        clients[2].get("/").await;
        clients[2].read_until("hello").await;
    }
    for _ in 0..3 {
        let before = platform.runtimes()[0];
        send("KILL", before).await;
        for client in &mut clients {
            client.goes_on(&platform).await;
        }
        platform.runtime_after(before).await;
        platform.output.until(&format!("The process {before} that runs Workers ended")).await;
        platform.output.until("(SIGKILL (9))").await;
    }
    // A chunked body, and one in two parts: what comes after them is whole.
    clients[0].ask("POST /echo HTTP/1.1\nhost: hello.dev.localhost\ntransfer-encoding: chunked\n\n3\nabc\n0\n\n").await;
    clients[0].read_until("abc").await;
    clients[1].ask("POST /echo HTTP/1.1\nhost: hello.dev.localhost\ncontent-length: 6\n\nabc").await;
    clients[1].ask("def").await;
    clients[1].read_until("abcdef").await;
    let before = platform.runtimes()[0];
    send("KILL", before).await;
    for client in &mut clients {
        client.goes_on(&platform).await;
    }
    assert_eq!(platform.stop().await, Some(0));
}

#[tokio::test]
async fn a_request_that_is_lost_is_said_to_be() {
    let mut platform = deployed().await;
    let gate = Gate::open().await;
    let (mut waiting, mut streaming, mut idle) =
        (Client::connect(&platform).await, Client::connect(&platform).await, Client::connect(&platform).await);
    waiting.get(&gate.path("/wait")).await;
    gate.pass().await;
    streaming.get("/stream").await;
    streaming.read_until("first\r\n").await;
    idle.get("/").await;
    idle.read_until("hello").await;
    // Half of a request is one that was begun.
    let mut half = Client::connect(&platform).await;
    let path = gate.path("/wait");
    half.ask(&format!("POST {path} HTTP/1.1\nhost: hello.dev.localhost\ncontent-length: 10\n\nabc")).await;
    gate.pass().await;
    let before = platform.runtimes()[0];
    send("KILL", before).await;
    let text = waiting.rest().await;
    assert!(text.starts_with("HTTP/1.1 502 Bad Gateway\r\n") && text.contains("The request was lost"), "{text}");
    assert!(!streaming.rest().await.contains("\r\n0\r\n\r\n"), "the answer is not said to be complete");
    let text = half.rest().await;
    assert!(text.starts_with("HTTP/1.1 502"), "{text}");
    idle.get("/").await;
    idle.read_until("hello").await;
    platform.output.until("Connections: ").await;
    let line = platform.output.line().await;
    assert_eq!(line, "1 idle ones go on, 2 were told that their request is lost, 1 broke off");
}

#[tokio::test]
async fn with_tls_and_http_2_connections_go_on_too() {
    let data = std::sync::Arc::new(tempfile::TempDir::new().expect("a folder"));
    let made = rcgen::generate_simple_self_signed(["hello.dev.localhost".to_owned(), "localhost".to_owned()]);
    let made = made.expect("a certificate");
    let (chain, key) = (data.path().join("chain.pem"), data.path().join("key.pem"));
    fs::write(&chain, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    {
        let mut plain = Platform::over(std::sync::Arc::clone(&data), &[]).await;
        plain.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
        assert_eq!(plain.stop().await, Some(0));
    }
    let folder = data.path().join("data");
    let (chain, key) = (chain.to_str().expect("a path"), key.to_str().expect("a path"));
    let arguments = Platform::arguments(&folder, &["--tls-certificate", chain, "--tls-key", key]);
    let mut command = command(data.path(), &arguments);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    command.stdout(writer.try_clone().expect("a pipe")).stderr(writer);
    let process = command.spawn().expect("it starts");
    drop(command);
    let mut output = crate::support::Output::of(reader);
    output.until("Ready on https://localhost:").await;
    let port = output.until(" ").await;
    let id = process.id().expect("it runs");
    let child = || {
        let threads = fs::read_dir(format!("/proc/{id}/task")).expect("threads");
        let children = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
        children.flat_map(|text| numbers(&text)).find(|process| is_alive(*process))
    };

    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).expect("pem"))
        .expect("root");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = |protocol: &[u8]| {
        let config = rustls::ClientConfig::builder_with_provider(std::sync::Arc::clone(&provider));
        let config = config.with_safe_default_protocol_versions().expect("versions");
        let mut config = config.with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        tokio_rustls::TlsConnector::from(std::sync::Arc::new(config))
    };
    let connect = async |protocol: &[u8]| {
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).await.expect("a connection");
        let name = rustls::pki_types::ServerName::try_from("hello.dev.localhost").expect("a name");
        hyper_util::rt::TokioIo::new(config(protocol).connect(name, stream).await.expect("a handshake"))
    };
    let (mut one, connection) =
        hyper::client::conn::http1::handshake(connect(b"http/1.1").await).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut two, connection) =
        hyper::client::conn::http2::handshake(executor, connect(b"h2").await).await.expect("HTTP/2");
    tokio::spawn(connection);
    let url = format!("https://hello.dev.localhost:{port}/told");
    for _ in 0..3 {
        let request = hyper::Request::get("/told").header("host", format!("hello.dev.localhost:{port}"));
        let answer = one.send_request(request.body(body("")).expect("a request")).await.expect("an answer");
        assert_eq!(told(answer).await, (url.clone(), "127.0.0.1".to_owned()));
        let request = hyper::Request::get(&url).body(body("")).expect("a request");
        let answer = two.send_request(request).await.expect("an answer");
        assert_eq!(told(answer).await, (url.clone(), "127.0.0.1".to_owned()));
        send("KILL", child().expect("a process")).await;
        output.until("another one takes its place").await;
    }
}

/// The URL and the client's address that the Worker was told.
async fn told(answer: hyper::Response<hyper::body::Incoming>) -> (String, String) {
    let bytes = http_body_util::BodyExt::collect(answer.into_body()).await.expect("a body").to_bytes();
    let told: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&bytes)));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert!(!bytes.windows(7).any(|window| window == b"x-skep-"), "{told}");
    (text(&told[0]), text(&told[1]["cf-connecting-ip"]))
}

#[tokio::test]
async fn who_ends_processes_again_and_again_is_sent_away() {
    let mut platform = deployed().await;
    platform.upload("other", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    let gate = Gate::open().await;
    let mut process = platform.runtimes()[0];
    for death in 0..2 {
        let _lost = spin(&platform, &gate, process).await;
        send("ABRT", process).await;
        let line = format!("The process {process} that runs Workers ended");
        platform.output.until(&line).await;
        platform.output.until("Code of the Worker hello of account ").await;
        let rest = platform.output.line().await;
        assert_eq!(rest.contains("a process of its own"), death == 1, "{rest}");
        process = platform.runtime_after(process).await;
    }
    // It answers from another process, as if nothing had happened; others are where they were.
    assert_eq!(platform.get("hello.dev", "/").await.text, "hello");
    assert_eq!(platform.get("other.dev", "/").await.text, "hello");
    let answer =
        platform.get_with("hello.dev", "/told", &[("x-skep-version", "a/b"), ("x-skep-scheme", "https")]).await;
    assert!(
        answer.text.starts_with("[\"http://hello.dev.localhost") && !answer.text.contains("x-skep"),
        "{}",
        answer.text
    );
    for death in 0..2 {
        let own = platform.runtime_after(process).await;
        let _lost = spin(&platform, &gate, own).await;
        send("ABRT", own).await;
        platform.output.until(&format!("The process {own} that runs Workers ended")).await;
        platform.output.until("Code of the Worker hello of account ").await;
        let rest = platform.output.line().await;
        assert_eq!(rest.contains("it is stopped for 60 s. Deploy another version"), death == 1, "{rest}");
        if death == 0 {
            assert_eq!(platform.get("hello.dev", "/").await.text, "hello");
        }
    }
    let answer = platform.get("hello.dev", "/").await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert!(answer.text.contains("Error 1104"), "{}", answer.text);
    assert_eq!(platform.get("other.dev", "/").await.text, "hello");
    assert!(is_alive(process), "the process of all others is the one it was");
    // It is in the audit log, and another version runs.
    let path = format!("/skep/v1/accounts/{}/audit", platform.account);
    let deadline = Instant::now() + PATIENCE;
    loop {
        // It is written after the log.
        let audit = platform.own(Method::GET, &path, "").await.to_string();
        if audit.matches("runtime.died").count() == 4 {
            break;
        }
        assert!(Instant::now() < deadline, "{audit}");
        tokio::task::yield_now().await;
    }
    platform.upload("hello", &[("index.js", format!("{WORKER}\n"))]).await.expect("it is deployed");
    assert_eq!(platform.get("hello.dev", "/").await.text, "hello");
    assert_eq!(platform.stop().await, Some(0));
}

#[tokio::test]
async fn who_only_was_there_when_somebody_killed_the_process_stays() {
    let mut platform = deployed().await;
    let gate = Gate::open().await;
    let mut process = platform.runtimes()[0];
    for _ in 0..3 {
        let _lost = spin(&platform, &gate, process).await;
        send("KILL", process).await;
        platform.output.until("Code of the Worker hello of account ").await;
        assert!(!platform.output.line().await.contains("process of its own"));
        process = platform.runtime_after(process).await;
    }
    assert_eq!(platform.get("hello.dev", "/").await.text, "hello");
    assert_eq!(platform.runtimes().len(), 1);
}

#[tokio::test]
async fn a_process_that_runs_workers_has_no_secrets_and_few_rights() {
    let platform = deployed().await;
    let process = platform.runtimes()[0];
    let read = |file: &str| fs::read(format!("/proc/{process}/{file}")).expect("a file of the process");
    let status = String::from_utf8(read("status")).expect("text");
    let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!((value("NoNewPrivs:"), value("Seccomp:")), (Some("1"), Some("2")), "{status}");
    let environment = String::from_utf8_lossy(&read("environ")).into_owned();
    assert!(!environment.contains("SKEP_"), "{environment}");
    let files: Vec<_> = fs::read_dir(format!("/proc/{process}/fd"))
        .expect("descriptors")
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .map(|path| path.display().to_string())
        .collect();
    assert!(!files.iter().any(|path| path.contains("skep.db") || path.contains("master-key")), "{files:?}");
    let all = platform.output.all();
    assert!(all.contains("Sandbox: no new privileges, "), "{all}");
}

#[tokio::test]
async fn who_watches_goes_on_after_a_death() {
    use futures_util::StreamExt as _;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

    let platform = deployed().await;
    let tails = format!("/accounts/{}/workers/scripts/hello/tails", platform.account);
    let made = platform.api(Method::POST, &tails, "{}").await;
    let url = made["result"]["url"].as_str().expect("an address").to_owned();
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", "trace-v1".parse().expect("a value"));
    let stream = TcpStream::connect(platform.address()).await.expect("a connection");
    let (mut viewer, _) = tokio_tungstenite::client_async(request, stream).await.expect("a WebSocket");
    platform.get("hello.dev", "/first").await;
    let seen = tokio::time::timeout(PATIENCE, viewer.next()).await.expect("an event in time");
    assert!(seen.expect("an event").expect("a message").to_string().contains("/first"));
    let before = platform.runtimes()[0];
    send("KILL", before).await;
    platform.runtime_after(before).await;
    // The viewer's connection does not go through the process that died.
    assert_eq!(platform.get("hello.dev", "/second").await.text, "hello");
    let sees = async {
        loop {
            let event = viewer.next().await.expect("the connection goes on").expect("a message");
            if event.to_string().contains("/second") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, sees).await.expect("an event in time");
}

/// Workers whose isolates have no room together.
const WORKERS: usize = 16;

/// The value of a metric.
async fn metric(address: &str, name: &str) -> f64 {
    let request = hyper::Request::get("/metrics").header("accept", "application/openmetrics-text; version=1.0.0");
    let answer = fetch(address, request.body(body("")).expect("a request")).await;
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let line = answer.text.lines().find(|line| line.split(' ').next() == Some(name));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("{name} is not in {}", answer.text))
}

async fn becomes(address: &str, name: &str, wanted: f64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let value = metric(address, name).await;
        if (value - wanted).abs() < 0.5 {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is {value} and not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn metrics_tell_of_all_processes_and_memory_that_is_short_is_made() {
    let metrics = format!("127.0.0.1:{}", free_port().await);
    let data = std::sync::Arc::new(tempfile::TempDir::new().expect("a folder"));
    // Less than the process has with all Workers loaded.
    let arguments = ["--listen-metrics", metrics.as_str(), "--memory-mib", "64", "--spare-isolates", "0"];
    let mut platform = Platform::over(data, &arguments).await;
    let names: Vec<String> = (0..WORKERS).map(|number| format!("worker-{number}")).collect();
    for name in &names {
        platform.upload(name, &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
        assert_eq!(platform.get(&format!("{name}.dev"), "/").await.text, "hello");
    }
    becomes(&metrics, "skep_workers", WORKERS as f64).await;
    assert!(metric(&metrics, "skep_cold_starts_total").await > WORKERS as f64 - 0.5);
    // They would stay for ten minutes if there was memory.
    let deadline = Instant::now() + PATIENCE;
    while metric(&metrics, "skep_isolates").await > WORKERS as f64 - 0.5 {
        assert!(Instant::now() < deadline, "every isolate stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for name in &names {
        assert_eq!(platform.get(&format!("{name}.dev"), "/").await.text, "hello");
    }
    let before = platform.runtimes()[0];
    send("KILL", before).await;
    platform.runtime_after(before).await;
    becomes(&metrics, "skep_process_restarts_total", 1.0).await;
    becomes(&metrics, "skep_processes", 1.0).await;
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/", 404)] {
        assert_eq!(fetch(&metrics, get(path)).await.status, status, "{path}");
    }
    assert_eq!(platform.stop().await, Some(0));
}

#[tokio::test]
async fn nobody_else_starts_such_a_process() {
    let ended = crate::support::skep(std::env::temp_dir().as_path(), &["runtime"]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("this command is for `skep serve`"), "{}", ended.errors);
}
