//! Watching a Worker live: unmodified wranglers, and clients that read too slowly.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Output, PATIENCE, Platform, Project, Wrangler};

/// Speaks, and fails when it is asked to.
const WORKER: &str = r#"
    export default {
        async fetch(request) {
            const path = new URL(request.url).pathname;
            console.log("seen", { path, n: [1, 2.5, null] }, undefined, new Map([["a", 1]]));
            console.warn("%s of %d", "one", 2);
            if (path === "/boom") throw new TypeError("boom");
            if (path === "/large") console.log("x".repeat(100_000));
            return new Response("ok", { status: path === "/teapot" ? 418 : 200 });
        },
    };"#;

/// Asks until what is printed has a text: who watches may not be connected yet.
async fn ask_until(platform: &Platform, path: &str, output: &Output, wanted: &str) -> String {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        platform.get("hello.dev", path).await;
        let all = output.all();
        if all.contains(wanted) {
            return all;
        }
        assert!(std::time::Instant::now() < deadline, "{wanted:?} does not come:\n{all}");
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn interrupt(mut process: Child) {
    let id = process.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-s", "INT", &id]).status().await.expect("kill runs");
    assert!(sent.success());
    tokio::time::timeout(PATIENCE, process.wait()).await.expect("it ends").expect("it ran");
}

/// What wrangler prints with `--format json`: objects, one after the other.
pub(crate) fn documents(output: &str) -> Vec<Value> {
    let start = output.find('{').unwrap_or(output.len());
    let read = serde_json::Deserializer::from_str(&output[start..]).into_iter::<Value>();
    read.map_while(Result::ok).collect()
}

async fn tail(version: &str) {
    let Some(wrangler) = Wrangler::version(version) else { return };
    let platform = Platform::start().await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    let project = Project::new(&[]);

    let (pretty, output) = wrangler.start(&platform, project.folder(), &["tail", "hello", "--format", "pretty"]);
    let all = ask_until(&platform, "/boom", &output, "TypeError: boom").await;
    assert!(all.contains("GET http://hello.dev.localhost") && all.contains("(warn) one of 2"), "{all}");
    interrupt(pretty).await;

    let arguments = ["tail", "hello", "--format", "json", "--status", "error", "--method", "GET"];
    let (errors, output) = wrangler.start(&platform, project.folder(), &arguments);
    let tails = format!("/accounts/{}/workers/scripts/hello/tails", platform.account);
    platform.get("hello.dev", "/fine").await;
    let all = ask_until(&platform, "/boom", &output, "\"boom\"").await;
    assert!(!all.contains("/fine"), "only errors were asked for: {all}");
    let event = &documents(&all)[0];
    assert_eq!(event["outcome"], "exception", "{event}");
    assert_eq!(event["scriptName"], "hello");
    assert_eq!(event["event"]["request"]["method"], "GET");
    assert!(event["event"]["request"]["headers"]["cf-connecting-ip"].is_string(), "{event}");
    assert!(event["event"]["response"].is_null());
    let map = "Map(1) { 'a' => 1 }";
    assert_eq!(
        event["logs"][0]["message"],
        json!(["seen", { "path": "/boom", "n": [1, 2.5, null] }, "undefined", map])
    );
    assert_eq!(event["logs"][1]["level"], "warn");
    assert_eq!(event["exceptions"][0]["name"], "TypeError");
    assert_eq!(event["exceptions"][0]["message"], "boom");
    assert!(event["exceptions"][0]["stack"].as_str().is_some_and(|stack| stack.contains("index.js")), "{event}");
    assert_eq!(platform.api(Method::GET, &tails, "").await["result"].as_array().map(Vec::len), Some(1));
    interrupt(errors).await;
    assert_eq!(platform.api(Method::GET, &tails, "").await["result"], json!([]), "the session is over");
}

#[tokio::test]
async fn with_wrangler_4_164() {
    tail("4.164.0").await;
}

#[tokio::test]
async fn with_wrangler_4_86() {
    tail("4.86.0").await;
}

#[tokio::test]
async fn with_wrangler_3_114() {
    tail("3.114.17").await;
}

pub(crate) type Socket = WebSocketStream<TcpStream>;

async fn session(platform: &Platform, filters: &Value) -> Result<Socket, String> {
    let tails = format!("/accounts/{}/workers/scripts/hello/tails", platform.account);
    let made = platform.api(Method::POST, &tails, &json!({ "filters": filters }).to_string()).await;
    let Some(url) = made["result"]["url"].as_str() else { return Err(made["errors"][0]["message"].to_string()) };
    Ok(connect(url).await.expect("a session"))
}

pub(crate) async fn connect(url: &str) -> Result<Socket, Error> {
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", "trace-v1".parse().expect("a value"));
    let address = request.uri().authority().expect("an address").to_string();
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (socket, response) = client_async(request, stream).await?;
    assert_eq!(response.headers()["sec-websocket-protocol"], "trace-v1");
    Ok(socket)
}

pub(crate) async fn next(socket: &mut Socket) -> Value {
    let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("an event").expect("an event");
    serde_json::from_str(message.expect("a message").to_text().expect("text")).expect("JSON")
}

fn path(event: &Value) -> &str {
    event["event"]["request"]["url"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default()
}

#[tokio::test]
async fn filters_choose_and_secrets_are_left_out() {
    let platform = Platform::start().await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    let mut errors = session(&platform, &json!([{ "outcome": ["exception"] }])).await.unwrap();
    let mut posts = session(&platform, &json!([{ "method": ["POST"] }])).await.unwrap();
    let mut mine = session(&platform, &json!([{ "client_ip": ["self"] }, { "query": "seen" }])).await.unwrap();
    let mut others = session(&platform, &json!([{ "header": { "key": "X-Kind", "query": "special" } }])).await.unwrap();
    for (method, path, kind) in [
        ("GET", "/first", "usual"),
        ("POST", "/second", "usual"),
        ("GET", "/boom", "usual"),
        ("GET", "/last", "Special"),
    ] {
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("hello.dev.{}", platform.host))
            .header("authorization", "Bearer hunter2")
            .header("x-kind", kind)
            .body(crate::support::body(String::new()))
            .expect("a request");
        crate::support::fetch(&platform.host.replace("localhost", "127.0.0.1"), request).await;
    }
    assert_eq!(path(&next(&mut errors).await), "boom");
    assert_eq!(path(&next(&mut posts).await), "second");
    for expected in ["first", "second", "boom", "last"] {
        let event = next(&mut mine).await;
        assert_eq!(path(&event), expected);
        assert_eq!(event["event"]["request"]["headers"]["authorization"], "REDACTED");
    }
    assert_eq!(path(&next(&mut others).await), "last");

    let refused = session(&platform, &json!([{ "outcome": ["good"] }])).await.unwrap_err();
    assert!(refused.contains("is no outcome"), "{refused}");
    let refused = session(&platform, &json!([{ "sampling_rate": 2 }])).await.unwrap_err();
    assert!(refused.contains("sampling_rate"), "{refused}");
    let refused = session(&platform, &json!([{}])).await.unwrap_err();
    assert!(refused.contains("a filter is an object"), "{refused}");
}

#[tokio::test]
async fn a_session_has_one_viewer_and_an_end() {
    let platform = Platform::start().await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    let tails = format!("/accounts/{}/workers/scripts/hello/tails", platform.account);
    let made = platform.api(Method::POST, &tails, "").await;
    let (id, url) = (made["result"]["id"].as_str().expect("an id"), made["result"]["url"].as_str().expect("a URL"));
    let mut first = connect(url).await.expect("a session");
    let second = connect(url).await;
    assert!(matches!(&second, Err(Error::Http(response)) if response.status() == 401), "{second:?}");
    let unknown = connect(&url.replace(id, "123e4567-e89b-42d3-a456-426614174000")).await;
    assert!(matches!(&unknown, Err(Error::Http(response)) if response.status() == 401), "{unknown:?}");
    let ended = platform.api(Method::DELETE, &format!("{tails}/{id}"), "").await;
    assert_eq!(ended["success"], true, "{ended}");
    let close = tokio::time::timeout(PATIENCE, first.next()).await.expect("an end");
    assert!(matches!(&close, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1000), "{close:?}");
    let unknown = platform.api(Method::POST, &tails.replace("hello", "unknown"), "").await;
    assert_eq!(unknown["errors"][0]["code"], 10007, "{unknown}");

    let mut watching = Vec::new();
    for _ in 0..10 {
        watching.push(session(&platform, &json!([])).await.expect("a session"));
    }
    let refused = session(&platform, &json!([])).await.unwrap_err();
    assert!(refused.contains("10 sessions watch this Worker"), "{refused}");
}

#[tokio::test]
async fn a_slow_viewer_is_told_what_it_missed_and_holds_nobody_up() {
    let platform = Platform::start().await;
    platform.upload("hello", &[("index.js", WORKER.to_owned())]).await.expect("it is deployed");
    let mut slow = session(&platform, &json!([])).await.expect("a session");
    // More than the sockets and the queue hold. Nothing is read meanwhile.
    for _ in 0..300 {
        assert_eq!(platform.get("hello.dev", "/large").await.text, "ok");
    }
    let mut events = 0;
    let notice = loop {
        let event = next(&mut slow).await;
        if event["event"]["type"] == "overload" {
            break event;
        }
        events += 1;
        assert!(events < 600, "nothing was left out");
        // Something new, so that there is a message behind what was left out.
        platform.get("hello.dev", "/small").await;
    };
    let text = notice["event"]["message"].as_str().expect("a message");
    let missed: u64 = text.split(' ').next().and_then(|count| count.parse().ok()).expect("a number");
    assert!(missed > 0 && missed < 300, "{text}");
    slow.send(Message::Text("{\"debug\":false}".into())).await.expect("it is taken");
    let _ = tokio::time::timeout(Duration::from_secs(1), slow.close(None)).await;
}
