//! Events that are kept, named, handed to other Workers, and told as traces.

use std::sync::Arc;
use std::time::Instant;

use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::collector::{Answer, Server};
use crate::message::Message;
use crate::support::{PATIENCE, Person, Platform, Project};

/// Prints, fails, calls another address, and prints what terminals and browsers must not obey.
const WORKER: &str = r#"
    export default {
        async fetch(request, env) {
            const url = new URL(request.url);
            console.log("ray", request.headers.get("cf-ray"));
            if (url.pathname === "/boom") throw new TypeError("boom");
            if (url.pathname === "/teapot") return new Response("no", { status: 418 });
            if (url.pathname === "/broken") return new Response("no", { status: 503 });
            if (url.pathname === "/evil") console.warn("<script>alert(1)</script>\u001b[2J\u0007");
            if (url.pathname === "/many") for (let i = 0; i < 10_000; i += 1) console.log("line", i);
            if (url.pathname === "/large") console.log("x".repeat(1_000_000));
            if (url.pathname === "/fetch") return fetch(url.searchParams.get("to"));
            return new Response("ok");
        },
    };"#;

async fn deploy(person: &Person, name: &str, script: &str, more: &Value) {
    let mut config = json!({ "name": name, "main": "index.js", "compatibility_date": "2026-10-06" });
    config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let project = Project::new(&[("index.js", script), ("wrangler.jsonc", &config.to_string())]);
    person.does(project.folder(), &["deploy"]).await;
}

/// What `skep logs` finds, oldest first.
async fn found(person: &Person, arguments: &[&str]) -> Vec<Value> {
    let printed = person.does(person.home(), &[&["logs", "--json"], arguments].concat()).await;
    printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The same, once there are so many: events come to where they are kept a moment after their answer.
async fn found_soon(person: &Person, arguments: &[&str], count: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = found(person, arguments).await;
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:?}");
            return found;
        }
        assert!(Instant::now() < deadline, "{} of {count} came: {found:?}", found.len());
    }
}

fn urls(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["url"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or("")).collect()
}

#[tokio::test]
async fn logs_are_kept_found_and_outlive_the_platform() {
    let data = Arc::new(TempDir::new().expect("a folder"));
    let mut platform = Platform::over(Arc::clone(&data), &[]).await;
    let person = Person::of(&platform).await;
    let kept = json!({ "observability": { "enabled": true } });
    deploy(&person, "kept", WORKER, &kept).await;
    deploy(&person, "silent", WORKER, &json!({})).await;
    let failures = json!({ "observability": { "enabled": true, "head_sampling_rate": 0.000_001 } });
    deploy(&person, "failures", WORKER, &failures).await;
    for path in ["/fine", "/boom", "/teapot", "/broken", "/evil", "/many", "/large"] {
        platform.get("kept.dev", path).await;
        platform.get("silent.dev", path).await;
    }
    for path in ["/fine", "/boom", "/fine"] {
        platform.get("failures.dev", path).await;
    }
    let all = found_soon(&person, &["kept"], 7).await;
    assert_eq!(urls(&all), ["fine", "boom", "teapot", "broken", "evil", "many", "large"]);
    assert_eq!((&all[1]["outcome"], &all[1]["status"]), (&json!("exception"), &Value::Null));
    assert_eq!(all[1]["event"]["exceptions"][0]["message"], "boom");
    assert_eq!((&all[0]["cold"], &all[0]["interval"]), (&json!(false), &json!(1)), "a deploy starts what it deploys");
    let many = all[5]["event"]["logs"].as_array().expect("lines").len();
    assert!(all[5]["event"]["truncated"] == true && many > 1000, "{many}");
    assert_eq!(all[6]["event"]["truncated"], true, "a megabyte is more than is kept");
    // What failed is kept whatever is sampled; nobody else is.
    assert_eq!(urls(&found_soon(&person, &["failures"], 1).await), ["boom"]);
    assert_eq!(found(&person, &["silent"]).await, Vec::<Value>::new());

    let ray = all[2]["ray"].as_str().expect("a ray");
    for (arguments, expected) in [
        (vec!["--status", "error"], vec!["boom", "broken"]),
        (vec!["--status", "418"], vec!["teapot"]),
        (vec!["--status", "5xx"], vec!["broken"]),
        (vec!["--outcome", "exception"], vec!["boom"]),
        (vec!["--search", "BOOM"], vec!["boom"]),
        (vec!["--level", "warn"], vec!["evil"]),
        (vec!["--ray", ray], vec!["teapot"]),
        (vec!["--method", "post"], vec![]),
        (vec!["--until", "1h"], vec![]),
        (vec!["--limit", "2"], vec!["many", "large"]),
    ] {
        let found = found(&person, &[&["kept"], &arguments[..]].concat()).await;
        assert_eq!(urls(&found), expected, "{arguments:?}");
    }
    let shown = person.does(person.home(), &["logs", "kept", "--search", "alert"]).await;
    assert!(shown.contains("<script>alert(1)</script>") && !shown.contains(['\u{1b}', '\u{7}']), "{shown:?}");
    let wrong = person.fails(person.home(), &["logs", "kept", "--status", "sad"]).await;
    assert!(wrong.contains("\"sad\"") && wrong.contains("5xx"), "{wrong}");
    let path = format!("/skep/v1/accounts/{}/logs?since=yesterday", platform.account);
    let refused = platform.own(Method::GET, &path, "").await;
    assert!(refused["errors"][0]["message"].to_string().contains("milliseconds since 1970"), "{refused}");

    platform.kill().await;
    let platform = Platform::over(data, &[]).await;
    let person = Person::of(&platform).await;
    assert_eq!(found(&person, &["kept"]).await.len(), 7, "what was found is on the disk");
    platform.get("kept.dev", "/first").await;
    assert_eq!(found_soon(&person, &["kept"], 8).await[7]["cold"], true);
}

#[tokio::test]
async fn a_platform_may_keep_nothing() {
    let data = Arc::new(TempDir::new().expect("a folder"));
    let platform = Platform::over(Arc::clone(&data), &["--logs-mib", "0"]).await;
    let person = Person::of(&platform).await;
    deploy(&person, "kept", WORKER, &json!({ "observability": { "enabled": true } })).await;
    platform.get("kept.dev", "/boom").await;
    let refused = person.fails(person.home(), &["logs", "kept"]).await;
    assert!(refused.contains("keeps no logs"), "{refused}");
    assert!(!data.path().join("data/logs").exists());
}

#[tokio::test]
async fn a_request_has_a_name_everywhere() {
    let platform = Platform::start().await;
    let person = Person::of(&platform).await;
    deploy(&person, "named", WORKER, &json!({ "observability": { "enabled": true } })).await;
    let fine = platform.get("named.dev", "/fine").await;
    let ray = fine.header("cf-ray").to_owned();
    let made_up = platform.get_with("named.dev", "/fine", &[("cf-ray", "made-up")]).await;
    assert!(made_up.header("cf-ray") != "made-up" && made_up.header("cf-ray") != ray);
    let boom = platform.get("named.dev", "/boom").await;
    assert!(boom.text.contains(&format!("Ray ID: {}", boom.header("cf-ray"))), "{}", boom.text);
    let nobody = platform.get("nobody.dev", "/").await;
    assert!(nobody.text.contains(nobody.header("cf-ray")), "{}", nobody.text);
    let event = &found_soon(&person, &["named", "--ray", &ray], 1).await[0];
    assert_eq!(event["event"]["logs"][0]["message"], json!(["ray", ray]));
}

#[tokio::test]
async fn events_go_to_other_workers() {
    let platform = Platform::start().await;
    let person = Person::of(&platform).await;
    let consumer = r#"
        export default {
            async fetch() { return new Response("not asked"); },
            async tail(events) {
                for (const { scriptName, outcome, event, logs, exceptions } of events) {
                    const secret = event.request.headers.authorization;
                    const whole = event.request.getUnredacted().headers.authorization;
                    console.log(scriptName, outcome, event.request.method, secret, whole, logs.length, exceptions.length);
                }
            },
        };"#;
    let kept = json!({ "observability": { "enabled": true }, "tail_consumers": [{ "service": "consumer" }] });
    // One that consumes itself has an end.
    deploy(&person, "consumer", consumer, &kept).await;
    let producer = json!({
        "name": "producer", "main": "index.js", "compatibility_date": "2026-10-06",
        "tail_consumers": [{ "service": "consumer" }, { "service": "nobody" }],
    });
    let project = Project::new(&[("index.js", WORKER), ("wrangler.jsonc", &producer.to_string())]);
    let ended = person.run(project.folder(), &["deploy"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(ended.errors.contains("Tail Worker nobody does not exist on this account"), "{}", ended.errors);
    deploy(&person, "producer", WORKER, &json!({ "tail_consumers": [{ "service": "consumer" }] })).await;
    let secret = [("authorization", "Bearer mine")];
    platform.get_with("producer.dev", "/fine", &secret).await;
    platform.get_with("producer.dev", "/boom", &secret).await;
    let deadline = Instant::now() + PATIENCE;
    let lines = loop {
        let events = found(&person, &["consumer"]).await;
        let lines: Vec<Value> = events
            .iter()
            .flat_map(|event| event["event"]["logs"].as_array().cloned().unwrap_or_default())
            .map(|line| line["message"].clone())
            .collect();
        if lines.len() >= 2 {
            let consumed: Vec<&Value> = events
                .iter()
                .flat_map(|event| event["event"]["event"]["consumedEvents"].as_array().expect("events"))
                .collect();
            assert_eq!(consumed, [&json!({ "scriptName": "producer" }), &json!({ "scriptName": "producer" })]);
            break lines;
        }
        assert!(Instant::now() < deadline, "{lines:?}");
    };
    let expected =
        |outcome: &str, exceptions: u32| json!(["producer", outcome, "GET", "REDACTED", "Bearer mine", 1, exceptions]);
    assert_eq!(lines, [expected("ok", 0), expected("exception", 1)]);
}

/// A span's attribute, as the tests of `telemetry` write it.
fn has(span: &Message, attribute: &str) -> bool {
    span.attributes().iter().any(|found| found == attribute)
}

fn spans(collector: &Server, worker: &str) -> Vec<Message> {
    let resources = collector.requests().into_iter().flat_map(|request| request.message().list("resource_spans"));
    let of_worker = resources.filter(|spans| {
        let resource = spans.message("resource").expect("a resource");
        has(&resource, &format!("service.name=string {worker:?}"))
    });
    of_worker.flat_map(|spans| spans.list("scope_spans")).flat_map(|scope| scope.list("spans")).collect()
}

#[tokio::test]
async fn traces_go_to_a_collector() {
    let collector = Server::start(|_| Answer::status(200)).await;
    let data = Arc::new(TempDir::new().expect("a folder"));
    let endpoint = format!("http://{}", collector.address);
    let arguments = ["--traces-endpoint", &endpoint];
    let mut platform = Platform::over(Arc::clone(&data), &arguments).await;
    let person = Person::of(&platform).await;
    let traced = json!({ "observability": { "traces": { "enabled": true } } });
    deploy(&person, "inner", WORKER, &traced).await;
    let methods = r#"
        import { WorkerEntrypoint } from "cloudflare:workers";
        export default class extends WorkerEntrypoint {
            add(a, b) { return a + b; }
        }"#;
    deploy(&person, "methods", methods, &traced).await;
    let outer = r#"
        export default {
            async fetch(request, env) {
                if (new URL(request.url).pathname === "/boom") throw new RangeError("too far");
                await env.INNER.fetch("http://inner/teapot");
                await env.METHODS.add(1, 2);
                return new Response("ok");
            },
        };"#;
    let mut bound = traced.clone();
    bound["services"] =
        json!([{ "binding": "INNER", "service": "inner" }, { "binding": "METHODS", "service": "methods" }]);
    deploy(&person, "outer", outer, &bound).await;
    deploy(&person, "untraced", WORKER, &json!({ "observability": { "enabled": true } })).await;
    // A deploy starts what it deploys: nothing runs after a restart.
    assert_eq!(platform.stop().await, Some(0));
    let mut platform = Platform::over(data, &arguments).await;

    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [("traceparent", &*parent), ("tracestate", "vendor=1")];
    platform.get_with("outer.dev", "/call", &headers).await;
    platform.get_with("outer.dev", "/boom", &headers).await;
    platform.get_with("untraced.dev", "/fine", &headers).await;
    let not_sampled = format!("00-{trace}-00f067aa0ba902b7-00");
    platform.get_with("outer.dev", "/quiet", &[("traceparent", &not_sampled)]).await;
    // What was seen is told when the platform stops.
    assert_eq!(platform.stop().await, Some(0));

    assert_eq!(spans(&collector, "untraced").len(), 0);
    let outer = spans(&collector, "outer");
    let named = |name: &str| outer.iter().filter(|span| span.text("name") == name).collect::<Vec<_>>();
    let roots = named("GET");
    assert_eq!(roots.len(), 2, "the one that is not sampled is left out");
    let hexadecimal = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for root in &roots {
        assert_eq!(hexadecimal(root.bytes("trace_id")), trace);
        assert_eq!(hexadecimal(root.bytes("parent_span_id")), "00f067aa0ba902b7");
        assert_eq!(
            (root.variant("kind").as_str(), root.text("trace_state").as_str()),
            ("SPAN_KIND_SERVER", "vendor=1")
        );
    }
    let (call, boom) = (roots[0], roots[1]);
    let told = call.attributes();
    assert!(has(call, "http.response.status_code=int 200") && has(call, "faas.coldstart=bool true"), "{told:?}");
    assert_eq!(boom.message("status").expect("a status").variant("code"), "STATUS_CODE_ERROR");
    assert!(has(&boom.list("events")[0], "exception.type=string \"RangeError\""));
    let (cold, binding) = (named("cold start"), named("service binding"));
    assert_eq!((cold.len(), binding.len()), (1, 1));
    assert_eq!(cold[0].bytes("parent_span_id"), call.bytes("span_id"));
    assert_eq!(binding[0].bytes("parent_span_id"), call.bytes("span_id"));
    assert!(has(binding[0], "http.response.status_code=int 418"), "{:?}", binding[0].attributes());
    // The Workers that are called go on with the same trace, however they are called.
    for (worker, root, call) in [("inner", "GET", "service binding"), ("methods", "add", "rpc")] {
        let called = spans(&collector, worker);
        let roots: Vec<_> = called.iter().filter(|span| span.text("name") == root).collect();
        assert_eq!((roots.len(), named(call).len()), (1, 1), "{worker}");
        assert_eq!(hexadecimal(roots[0].bytes("trace_id")), trace);
        assert_eq!(roots[0].bytes("parent_span_id"), named(call)[0].bytes("span_id"));
    }
}

#[tokio::test]
async fn an_upload_says_what_is_kept() {
    let platform = Platform::start().await;
    let person = Person::of(&platform).await;
    deploy(&person, "kept", WORKER, &json!({ "observability": { "enabled": true } })).await;
    platform.get("kept.dev", "/fine").await;
    found_soon(&person, &["kept"], 1).await;
    // The next event already goes by the new settings.
    let settings = format!("/accounts/{}/workers/scripts/kept/script-settings", platform.account);
    let changed = platform.api(Method::PATCH, &settings, r#"{ "observability": { "enabled": false } }"#).await;
    assert_eq!(changed["success"], true, "{changed}");
    platform.get("kept.dev", "/teapot").await;
    let changed = platform.api(Method::PATCH, &settings, r#"{ "observability": { "enabled": true } }"#).await;
    assert_eq!(changed["success"], true, "{changed}");
    platform.get("kept.dev", "/broken").await;
    assert_eq!(urls(&found_soon(&person, &["kept"], 2).await), ["fine", "broken"]);
}
