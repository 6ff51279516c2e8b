//! What `wrangler tail` and `skep tail` show with the same filters: the same events, with the same fields.
//!
//! Nothing may differ: each viewer prints the platform's document for an event, so that also times and Ray IDs are equal.

use std::time::Duration;

use futures_util::future::join_all;
use hyper::{Method, Request};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Child;

use crate::support::{Dev, Output, PATIENCE, Person, Platform, Project, Wrangler, body, fetch_over};
use crate::tail::{documents, interrupt};

/// Does what the end of the path says.
const WORKER: &str = r#"
    export default {
        async fetch(request) {
            const steps = new URL(request.url).pathname.split("/").pop().split("-");
            if (steps.includes("logs")) {
                console.log("a needle", { in: ["a", 1e21, null, undefined, 10n] }, "\u001b[31mé\u2028");
                console.error(new Error("logged"));
            }
            if (steps.includes("throws")) throw new RangeError("thrown");
            if (steps.includes("endless")) {
                const begin = (controller) => controller.enqueue(new TextEncoder().encode("begun"));
                return new Response(new ReadableStream({ start: begin }));
            }
            return new Response("done", { status: request.method === "POST" ? 201 : 200 });
        },
    };"#;

/// One Worker has 10 viewers at most, two for each case.
const AT_ONCE: usize = 4;
/// How long it takes until somebody who watches should have seen a round of requests. If it takes longer there is another round.
const ROUND: Duration = Duration::from_millis(500);

const NEAR: [u8; 4] = [127, 0, 0, 1];
const FAR: [u8; 4] = [127, 0, 0, 2];
const FARTHER: [u8; 4] = [127, 0, 0, 3];

/// A request of each round, and what becomes of it.
struct Asked {
    /// The end of its path.
    name: &'static str,
    method: &'static str,
    /// Its header `x-kind`.
    kind: Option<&'static str>,
    from: [u8; 4],
    outcome: &'static str,
    /// Whether the version before the deployed one is asked.
    before: bool,
}

impl Asked {
    fn logs(&self) -> bool {
        self.name.contains("logs")
    }

    fn special(&self) -> bool {
        self.kind == Some("Special one")
    }

    fn status(&self) -> Option<u16> {
        match (self.outcome, self.method) {
            ("exception", _) => None,
            (_, "POST") => Some(201),
            _ => Some(200),
        }
    }
}

const PLAIN: Asked = Asked { name: "plain", method: "GET", kind: None, from: NEAR, outcome: "ok", before: false };
/// Passes all filters of the combined case. Those made of it fail one each.
const ALL: Asked = Asked {
    name: "all-logs-throws",
    method: "POST",
    kind: Some("Special one"),
    from: FAR,
    outcome: "exception",
    before: false,
};

const ROUND_OF_REQUESTS: [Asked; 16] = [
    PLAIN,
    Asked { name: "logs", ..PLAIN },
    Asked { name: "throws", outcome: "exception", ..PLAIN },
    Asked { name: "post", method: "POST", ..PLAIN },
    Asked { name: "put", method: "PUT", kind: Some("usual"), ..PLAIN },
    Asked { name: "usual", kind: Some("usual"), ..PLAIN },
    Asked { name: "special", kind: Some("Special one"), ..PLAIN },
    Asked { name: "far", from: FAR, ..PLAIN },
    Asked { name: "farther", from: FARTHER, ..PLAIN },
    Asked { name: "endless", outcome: "canceled", ..PLAIN },
    Asked { name: "before", before: true, ..PLAIN },
    Asked { name: "get-logs-throws", method: "GET", ..ALL },
    Asked { name: "usual-logs-throws", kind: Some("usual"), ..ALL },
    Asked { name: "near-logs-throws", from: NEAR, ..ALL },
    Asked { name: "silent-throws", ..ALL },
    ALL,
];

/// Filters, and which requests pass them.
struct Case<'a> {
    wrangler: Vec<&'a str>,
    skep: Vec<&'a str>,
    passes: fn(&Asked) -> bool,
}

fn case<'a>(filters: &[&'a str], passes: fn(&Asked) -> bool) -> Case<'a> {
    Case { wrangler: filters.to_vec(), skep: filters.to_vec(), passes }
}

fn cases(before: &str) -> Vec<Case<'_>> {
    let all = ["--status", "error", "--method", "POST", "--header", "x-kind:special", "--ip", "127.0.0.2", "--search"];
    vec![
        case(&[], |_| true),
        case(&["--search", "", "--header", ""], |_| true),
        case(&["--status", "ok"], |asked| asked.outcome == "ok"),
        case(&["--status", "error"], |asked| asked.outcome == "exception"),
        case(&["--status", "canceled"], |asked| asked.outcome == "canceled"),
        case(&["--status", "canceled", "--status", "ok"], |asked| asked.outcome != "exception"),
        case(&["--method", "POST"], |asked| asked.method == "POST"),
        case(&["--method", "get", "--method", "Put"], |asked| asked.method != "POST"),
        case(&["--header", " X-Kind : special "], Asked::special),
        case(&["--header", " X-Kind "], |asked| asked.kind.is_some()),
        case(&["--search", "a needle"], Asked::logs),
        case(&["--ip", "self"], |asked| asked.from == NEAR),
        case(&["--ip", "127.0.0.2", "--ip", "self"], |asked| asked.from != FARTHER),
        Case {
            // Wrangler refuses 1. So much less does not leave out anything, either.
            wrangler: vec!["--sampling-rate", "0.9999999999999"],
            skep: vec!["--sampling-rate", "1"],
            passes: |_| true,
        },
        case(&["--version-id", before], |asked| asked.before),
        case(&[&all[..], &["needle"]].concat(), |asked| asked.name == ALL.name),
    ]
}

/// A Worker with two versions, and who asks it.
struct Scene {
    platform: Platform,
    person: Person,
    project: Project,
    wrangler: Wrangler,
    /// The version before the deployed one.
    before: String,
    /// How many rounds of requests there were.
    rounds: u32,
}

impl Scene {
    async fn new(wrangler: Wrangler) -> Self {
        let data = std::sync::Arc::new(tempfile::TempDir::new().expect("a folder"));
        // All events are gathered, however fast the rounds are.
        let platform = Platform::over(data, &["--events-per-second", "1000000"]).await;
        platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
        let versions = format!("/accounts/{}/workers/scripts/hello/versions", platform.account);
        let listed = platform.api(Method::GET, &versions, "").await;
        let before = listed["result"]["items"][0]["id"].as_str().expect("a version").to_owned();
        platform.upload("hello", &[("index.js", format!("{WORKER}\n"))]).await.expect("it is deployed");
        let (person, project) = (Person::of(&platform).await, Project::new(&[]));
        Self { platform, person, project, wrangler, before, rounds: 0 }
    }

    /// Sends every request once. Gives the number of the round.
    async fn ask(&mut self) -> u32 {
        self.rounds += 1;
        for asked in &ROUND_OF_REQUESTS {
            let label = if asked.before { &format!("{}-hello", &self.before[..8]) } else { "hello" };
            let host = format!("{label}.dev.{}", self.platform.host);
            let path = format!("/{}/{}", self.rounds, asked.name);
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind((asked.from, 0).into()).expect("an address of this machine");
            let address = self.platform.address().parse().expect("an address");
            let stream = socket.connect(address).await.expect("a connection");
            if asked.outcome == "canceled" {
                ask_and_go(stream, &host, &path).await;
                continue;
            }
            let request = Request::builder().method(asked.method).uri(path);
            let request = asked.kind.iter().fold(request, |request, kind| request.header("x-kind", *kind));
            let answer = fetch_over(stream, &host, request.body(body("")).expect("a request")).await;
            assert_eq!(answer.status.as_u16(), asked.status().unwrap_or(500), "{}: {}", asked.name, answer.text);
        }
        self.rounds
    }

    /// Lets both viewers of each case watch the same rounds of requests.
    async fn watch(&mut self, cases: &[Case<'_>]) {
        let folder = self.project.folder();
        let of_wrangler: Vec<(Child, Output)> =
            cases.iter().map(|case| self.wrangler.start(&self.platform, folder, &tail(&case.wrangler))).collect();
        let mut of_skep: Vec<Dev> =
            cases.iter().map(|case| Dev::spawn(self.person.command(folder, &tail(&case.skep)))).collect();
        for viewer in &mut of_skep {
            viewer.output.until("Connected to hello").await;
        }
        // With JSON wrangler does not say that it watches; it does once it shows anything.
        let begun = tokio::time::Instant::now();
        loop {
            self.ask().await;
            let shown =
                join_all(of_wrangler.iter().map(|(_, output)| output.when(|text| text.contains("\"outcome\""))));
            if tokio::time::timeout(ROUND, shown).await.is_ok() {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "a wrangler does not show anything");
        }
        // A round that counts, and one behind it, so that what should not have been shown has been.
        let (round, last) = (self.ask().await, self.ask().await);
        for ((case, (_, wrangler)), skep) in cases.iter().zip(&of_wrangler).zip(&of_skep) {
            let by_wrangler = shown(wrangler, round, last, case).await;
            let by_skep = shown(&skep.output, round, last, case).await;
            let names = |events: &[Value]| {
                let mut names: Vec<String> = events.iter().map(|event| name(event, round)).collect();
                names.sort_unstable();
                names
            };
            let mut wanted: Vec<&str> = wanted(case).map(|asked| asked.name).collect();
            wanted.sort_unstable();
            assert_eq!(names(&by_wrangler), wanted, "wrangler tail {:?}", case.wrangler);
            assert_eq!(names(&by_skep), wanted, "skep tail {:?}", case.skep);
            for (one, other) in by_wrangler.iter().zip(&by_skep) {
                assert_eq!(one, other, "wrangler tail {:?} and skep tail {:?}", case.wrangler, case.skep);
                is_of(one, ROUND_OF_REQUESTS.iter().find(|asked| name(one, round) == asked.name).expect("a request"));
            }
        }
        join_all(of_wrangler.into_iter().map(|(process, _)| interrupt(process))).await;
        for mut viewer in of_skep {
            viewer.signal("INT").await;
            assert_eq!(viewer.end().await, Some(0), "{}", viewer.output.all());
        }
    }
}

fn tail<'a>(filters: &[&'a str]) -> Vec<&'a str> {
    [&["tail", "hello", "--format", "json"], filters].concat()
}

/// A client that goes away when the answer has begun.
async fn ask_and_go(mut stream: TcpStream, host: &str, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("begun") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
        assert!(read.expect("an answer in time").expect("an answer") > 0, "{}", String::from_utf8_lossy(&answer));
    }
}

fn wanted<'a>(case: &'a Case<'_>) -> impl Iterator<Item = &'static Asked> + 'a {
    ROUND_OF_REQUESTS.iter().filter(|asked| (case.passes)(asked))
}

/// The events of a round that a viewer shows, once it has shown what it should of this one and the last.
async fn shown(viewer: &Output, round: u32, last: u32, case: &Case<'_>) -> Vec<Value> {
    let all = || [round, last].into_iter().flat_map(|round| wanted(case).map(move |asked| (round, asked.name)));
    let complete = viewer.when(|text| {
        all().all(|(round, name)| text.contains(&format!("/{round}/{name}\""))) && {
            let events = documents(text);
            all().all(|(round, wanted)| events.iter().any(|event| name(event, round) == wanted))
        }
    });
    // What is missing is told by who compares.
    let _ = tokio::time::timeout(PATIENCE, complete).await;
    documents(&viewer.all()).into_iter().filter(|event| !name(event, round).is_empty()).collect()
}

/// The name of an event's request, if it is one of a round.
fn name(event: &Value, round: u32) -> String {
    let url = event["event"]["request"]["url"].as_str().unwrap_or_default();
    url.split_once(&format!("/{round}/")).map(|(_, name)| name.to_owned()).unwrap_or_default()
}

/// An event tells what became of a request.
fn is_of(event: &Value, asked: &Asked) {
    let request = &event["event"]["request"];
    assert_eq!(event["outcome"], asked.outcome, "{event}");
    assert_eq!(event["scriptName"], "hello", "{event}");
    assert_eq!(request["method"], asked.method, "{event}");
    assert_eq!(request["headers"]["x-kind"].as_str(), asked.kind, "{event}");
    assert!(request["headers"]["cf-ray"].is_string(), "{event}");
    assert_eq!(event["event"]["response"]["status"].as_u64(), asked.status().map(u64::from), "{event}");
    assert!(event["eventTimestamp"].as_u64().is_some_and(|time| time > 0), "{event}");
    let count = |list: &Value| list.as_array().expect("a list").len();
    assert_eq!(count(&event["logs"]), if asked.logs() { 2 } else { 0 }, "{event}");
    assert_eq!(count(&event["exceptions"]), usize::from(asked.outcome == "exception"), "{event}");
}

#[tokio::test]
async fn wrangler_and_skep_show_the_same() {
    let Some(wrangler) = Wrangler::version("4.164.0") else { return };
    let mut scene = Scene::new(wrangler).await;
    let before = scene.before.clone();
    for cases in cases(&before).chunks(AT_ONCE) {
        scene.watch(cases).await;
    }
}
