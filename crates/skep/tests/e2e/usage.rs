//! What Workers use is counted, each event once, also when what counts is killed.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use hyper::Method;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::processes::send;
use crate::support::{PATIENCE, Person, Platform, body, fetch, skep, try_fetch};

/// Answers, echoes, throws, works for some time, streams, calls the Worker `other`.
const WORKER: &str = r#"
    export default {
        async fetch(request, env) {
            const url = new URL(request.url);
            if (url.pathname === "/echo") return new Response(await request.text());
            if (url.pathname === "/throw") throw new Error("as asked");
            if (url.pathname === "/work") {
                let sum = 0;
                for (let number = 0; number < 30_000_000; number++) sum = (sum + number) % 1_000_003;
                if (sum < 0) return new Response("never");
            }
            if (url.pathname === "/stream") return new Response(new ReadableStream({
                start(controller) {
                    for (let chunk = 0; chunk < 10; chunk++) controller.enqueue(new Uint8Array(1000));
                    controller.close();
                },
            }));
            return new Response("hello");
        },
    };"#;
/// How often a process is killed under load.
const KILLS: usize = 6;
/// Between two kills.
const BETWEEN: Duration = Duration::from_millis(700);
/// A process tells what it has counted twice a second.
const UNTOLD: Duration = Duration::from_secs(1);

impl Platform {
    /// What was used, by something.
    async fn usage(&self, by: &str) -> Value {
        let path = format!("/skep/v1/accounts/{}/usage?by={by}", self.account);
        let answer = self.own(Method::GET, &path, "").await;
        assert_eq!(answer["success"], true, "{answer}");
        answer["result"].clone()
    }

    /// The same, once so many requests are counted.
    pub(crate) async fn usage_of(&self, requests: u64, by: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let usage = self.usage(by).await;
            let counted = usage["total"]["requests"].as_u64().expect("a number");
            assert!(counted <= requests, "{usage}");
            if counted == requests {
                return usage;
            }
            assert!(Instant::now() < deadline, "{requests} requests are not counted: {usage}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What a row has of something.
fn of<'u>(usage: &'u Value, name: &str) -> &'u Value {
    let rows = usage["rows"].as_array().expect("rows");
    rows.iter().find(|row| row["of"] == name).unwrap_or_else(|| panic!("no {name} in {usage}"))
}

#[tokio::test]
async fn every_event_is_counted_once_with_what_it_used() {
    let mut platform = Platform::start().await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    platform.upload("other", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    for _ in 0..5 {
        assert_eq!(platform.get("hello.dev", "/").await.text, "hello");
    }
    let request = hyper::Request::post("/echo").header("host", "hello.dev.localhost");
    let echoed = fetch(&platform.address(), request.body(body("x".repeat(1234))).expect("a request")).await;
    assert_eq!(echoed.text.len(), 1234);
    assert_eq!(platform.get("hello.dev", "/throw").await.status, 500);
    assert_eq!(platform.get("hello.dev", "/stream").await.text.len(), 10_000);
    platform.get("other.dev", "/work").await;
    // A page that nobody answers is nobody's.
    assert_eq!(platform.get("nobody.dev", "/").await.status, 404);

    let usage = platform.usage_of(9, "worker").await;
    let (hello, other) = (of(&usage, "hello"), of(&usage, "other"));
    assert_eq!((hello["requests"].as_u64(), other["requests"].as_u64()), (Some(8), Some(1)));
    assert_eq!(hello["bytes_in"].as_u64(), Some(1234));
    assert_eq!(hello["bytes_out"].as_u64(), Some(5 * 5 + 1234 + 10_000));
    let (cpu, wall) = (other["cpu_us"].as_u64().expect("a number"), other["wall_us"].as_u64().expect("a number"));
    let of_hello = hello["cpu_us"].as_u64().expect("a number");
    // Thirty million steps take longer than eight short answers, on any machine.
    assert!(cpu > of_hello && cpu >= 10_000 && cpu <= wall + 1_000, "{other} {hello}");
    assert_eq!(other["wall_ms"].as_u64(), Some(wall.div_ceil(1000)));
    let outcomes = platform.usage("outcome").await;
    assert_eq!(of(&outcomes, "exception")["requests"].as_u64(), Some(1));
    assert_eq!(of(&outcomes, "ok")["requests"].as_u64(), Some(8));
    assert_eq!(of(&platform.usage("kind").await, "fetch")["requests"].as_u64(), Some(9));
    let today = platform.usage("day").await;
    assert_eq!(today["rows"].as_array().map(Vec::len), Some(1), "{today}");
    // It is all there after a restart.
    let (data, account) = (Arc::clone(&platform.data), platform.account.clone());
    platform.stop().await;
    let platform = Platform::over(data, &[]).await;
    assert_eq!(platform.account, account);
    assert_eq!(platform.usage("worker").await["total"], usage["total"]);
}

#[tokio::test]
async fn what_was_used_is_shown_to_people() {
    let platform = Platform::start().await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    platform.get("hello.dev", "/").await;
    platform.usage_of(1, "worker").await;
    let person = Person::of(&platform).await;
    let folder = platform.data.path();
    let table = person.does(folder, &["usage"]).await;
    assert!(table.contains("WORKER") && table.contains("hello") && table.contains("total"), "{table}");
    let json = person.json(folder, &["usage", "--by", "version"]).await;
    assert_eq!((json["rows"][0]["worker"].as_str(), json["total"]["requests"].as_u64()), (Some("hello"), Some(1)));
    assert!(person.does(folder, &["usage", "verify"]).await.contains("is whole"));
    let all = person.json(folder, &["usage", "--all-accounts", "--by", "account"]).await;
    assert_eq!(all["rows"][0]["of"].as_str(), Some(&*platform.account));
    for (arguments, says) in [
        (&["usage", "--from", "2026-13-01"][..], "write it like 2026-11-26"),
        (&["usage", "--from", "2026-11-26", "--to", "2026-11-25"], "give the earlier day first"),
        (&["usage", "--from", "2020-01-01"], "a year at a time"),
        (&["usage", "--by", "account"], "use worker, version, day, hour, kind, outcome"),
    ] {
        let error = person.fails(folder, arguments).await;
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}

#[tokio::test]
async fn a_flipped_byte_of_the_ledger_is_found_and_the_rest_is_read() {
    let mut platform = Platform::start().await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    for requests in 1..=3 {
        platform.get("hello.dev", "/").await;
        platform.usage_of(requests, "worker").await;
    }
    let data = Arc::clone(&platform.data);
    let folder = data.path().join("data");
    let in_use = skep(data.path(), &["usage", "verify", "--data-dir", folder.to_str().expect("a path")]).await;
    assert!(in_use.errors.contains("in use"), "{in_use:?}");
    platform.stop().await;
    let journals: Vec<PathBuf> = fs::read_dir(folder.join("usage"))
        .expect("the ledger")
        .map(|file| file.expect("a file").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal-")))
        .collect();
    let [journal] = &journals[..] else { panic!("{journals:?}") };
    let mut bytes = fs::read(journal).expect("read");
    bytes[60] ^= 1;
    fs::write(journal, bytes).expect("written");
    let found = skep(data.path(), &["usage", "verify", "--data-dir", folder.to_str().expect("a path")]).await;
    assert!(
        found.code != Some(0) && found.output.contains("journal-") && found.output.contains("damaged"),
        "{found:?}"
    );
    let platform = Platform::over(data, &[]).await;
    // One batch is lost, and it is told.
    let usage = platform.usage("worker").await;
    assert_eq!(usage["total"]["requests"].as_u64(), Some(2), "{usage}");
    let path = format!("/skep/v1/accounts/{}/usage/verification", platform.account);
    let verification = platform.own(Method::GET, &path, "").await;
    assert_eq!(verification["result"]["clean"], false, "{verification}");
    assert!(platform.output.all().contains("damaged"), "{}", platform.output.all());
}

/// Visitors who count what they were answered, and when.
struct Visitors {
    answered: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Visitors {
    fn come(address: &str) -> Self {
        let (answered, sent, stop) =
            (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let tasks = (0..4).map(|_| {
            let (answered, sent, stop) = (Arc::clone(&answered), Arc::clone(&sent), Arc::clone(&stop));
            let address = address.to_owned();
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    sent.fetch_add(1, Ordering::Relaxed);
                    let request = hyper::Request::get("/").header("host", "hello.dev.localhost");
                    let request = request.body(body("")).expect("a request");
                    match try_fetch(&address, request).await {
                        Some(answer) if answer.text == "hello" => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        _ => tokio::time::sleep(Duration::from_millis(2)).await,
                    }
                }
            })
        });
        let tasks = tasks.collect();
        Self { answered, sent, stop, tasks }
    }

    async fn leave(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a visitor");
        }
        (self.answered.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn a_websocket_that_a_kill_ends_is_counted() {
    let platform = Platform::start().await;
    let socket = r#"
        export default {
            fetch() {
                const [client, server] = Object.values(new WebSocketPair());
                server.accept();
                return new Response(null, { status: 101, webSocket: client });
            },
        };"#;
    platform.upload("socket", &[("index.js", socket.to_owned())]).await.expect("it is deployed");
    let mut request = format!("ws://{}/", platform.address()).into_client_request().expect("a request");
    request.headers_mut().insert("host", "socket.dev.localhost".parse().expect("a value"));
    let stream = TcpStream::connect(platform.address()).await.expect("a connection");
    let (mut visitor, _) = tokio_tungstenite::client_async(request, stream).await.expect("a WebSocket");
    // It is open, and counted already.
    platform.usage_of(1, "worker").await;
    let [runtime] = platform.runtimes()[..] else { panic!("{:?}", platform.runtimes()) };
    send("KILL", runtime).await;
    assert!(!matches!(visitor.next().await, Some(Ok(_))));
    platform.runtime_after(runtime).await;
    let usage = platform.usage_of(1, "worker").await;
    assert_eq!(of(&usage, "socket")["requests"].as_u64(), Some(1));
}

#[tokio::test]
async fn nothing_is_billed_twice_when_processes_are_killed() {
    let mut platform = Platform::start().await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    let (mut answered, mut sent, mut may_be_lost) = (0, 0, 0);
    for kill in 0..KILLS {
        let visitors = Visitors::come(&platform.address());
        tokio::time::sleep(BETWEEN).await;
        let before = visitors.answered.load(Ordering::Relaxed);
        tokio::time::sleep(UNTOLD).await;
        may_be_lost += visitors.answered.load(Ordering::Relaxed) - before;
        if kill % 3 == 2 {
            platform.kill().await;
            let (more, tried) = visitors.leave().await;
            (answered, sent) = (answered + more, sent + tried);
            platform = Platform::over(Arc::clone(&platform.data), &[]).await;
        } else {
            let [runtime] = platform.runtimes()[..] else { panic!("{:?}", platform.runtimes()) };
            send("KILL", runtime).await;
            platform.runtime_after(runtime).await;
            // And it serves again.
            platform.get("hello.dev", "/").await;
            let (more, tried) = visitors.leave().await;
            (answered, sent) = (answered + more + 1, sent + tried + 1);
        }
    }
    let data = Arc::clone(&platform.data);
    platform.stop().await;
    let platform = Platform::over(data, &[]).await;
    let billed = platform.usage("worker").await["total"]["requests"].as_u64().expect("a number");
    assert!(billed <= sent, "{billed} of {sent} are billed");
    assert!(
        answered - billed.min(answered) <= may_be_lost,
        "{billed} of {answered} are billed, {may_be_lost} may be lost"
    );
    assert!(billed > 0);
    let path = format!("/skep/v1/accounts/{}/usage/verification", platform.account);
    let verification = platform.own(Method::GET, &path, "").await;
    assert_eq!(verification["result"]["clean"], true, "{verification}");
}
