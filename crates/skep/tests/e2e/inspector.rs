//! Debuggers: breakpoints in TypeScript, the console, heap snapshots, CPU profiles, and what a reload does to them.

use serde_json::json;

use crate::support::{Dev, DevTools, Project, fetch, get};

const SHOP: &str = r#"interface Order { count: number }
type Price = number;

function total(order: Order, price: Price): number {
  let sum = 0;
  for (let i = 0; i < order.count; i++) sum += price;
  return sum;
}

export default {
  async fetch(request: Request): Promise<Response> {
    const count = Number(new URL(request.url).searchParams.get("count"));
    return new Response(String(total({ count }, 7)));
  },
};
"#;
/// The line `return sum;`.
const RETURN: u32 = 7;

/// Sends a request that is answered later.
fn asked(dev: &Dev, path: &'static str) -> tokio::task::JoinHandle<String> {
    let host = dev.host.clone();
    tokio::spawn(async move { fetch(&host, get(path)).await.text })
}

#[tokio::test]
async fn a_breakpoint_in_typescript_stops_the_worker() {
    let project = Project::worker(SHOP);
    let mut dev = project.dev(&[]).await;
    let mut tools = DevTools::attach(&dev.debugger().await).await;
    tools.call("Runtime.enable", json!({})).await;
    tools.call("Debugger.enable", json!({})).await;
    let script = tools.script().await;
    let set = tools.set_breakpoint(&script, "src/index.ts", RETURN).await;

    let answer = asked(&dev, "/?count=6");
    let paused = tools.event("Debugger.paused").await;
    assert_eq!(paused["hitBreakpoints"], json!([set["breakpointId"]]));
    let frame = &paused["callFrames"][0];
    assert_eq!(frame["functionName"], "total");
    let (source, line) = script.source(&frame["location"]);
    let folder = project.folder().canonicalize().unwrap();
    assert_eq!((source, line), (format!("file://{}/src/index.ts", folder.display()), RETURN));
    assert_eq!(tools.evaluate(&paused, "sum").await, 42);
    assert_eq!(tools.evaluate(&paused, "order").await, json!({ "count": 6 }));

    // Step out, to the line that calls.
    tools.call("Debugger.stepOut", json!({})).await;
    let paused = tools.event("Debugger.paused").await;
    assert_eq!(script.source(&paused["callFrames"][0]["location"]).1, 13);
    tools.call("Debugger.resume", json!({})).await;
    assert_eq!(answer.await.unwrap(), "42");

    let id = &set["breakpointId"];
    tools.call("Debugger.removeBreakpoint", json!({ "breakpointId": id })).await;
    assert_eq!(dev.get("/?count=1").await.text, "7");
}

#[tokio::test]
async fn a_worker_that_is_stopped_uses_none_of_its_time() {
    let project = Project::worker(SHOP);
    project.write(
        "wrangler.jsonc",
        r#"{ "name": "shop", "main": "src/index.ts", "compatibility_date": "2026-10-06", "limits": { "cpu_ms": 50 } }"#,
    );
    let mut dev = project.dev(&[]).await;
    let mut tools = DevTools::attach(&dev.debugger().await).await;
    tools.call("Debugger.enable", json!({})).await;
    let script = tools.script().await;
    tools.set_breakpoint(&script, "src/index.ts", RETURN).await;
    let answer = asked(&dev, "/?count=2");
    tools.event("Debugger.paused").await;
    // What is tested is that time passes.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    tools.call("Debugger.resume", json!({})).await;
    assert_eq!(answer.await.unwrap(), "14");
}

#[tokio::test]
async fn console_messages_reach_the_debugger() {
    let project =
        Project::worker("export default { fetch() { console.warn('look', { at: 'this' }); return new Response(); } };");
    let mut dev = project.dev(&[]).await;
    let mut tools = DevTools::attach(&dev.debugger().await).await;
    tools.call("Runtime.enable", json!({})).await;
    dev.get("/").await;
    let called = tools.event("Runtime.consoleAPICalled").await;
    assert_eq!(called["type"], "warning");
    assert_eq!(called["args"][0]["value"], "look");
    assert_eq!(called["args"][1]["preview"]["properties"][0]["value"], "this", "{called}");
    dev.output.until("▲ [WARNING] look { at: 'this' }\n").await;
}

#[tokio::test]
async fn expressions_are_evaluated_in_the_worker() {
    let project = Project::worker("globalThis.answer = 41; export default { fetch() { return new Response(); } };");
    let mut dev = project.dev(&[]).await;
    let mut tools = DevTools::attach(&dev.debugger().await).await;
    tools.call("Runtime.enable", json!({})).await;
    let result = tools.call("Runtime.evaluate", json!({ "expression": "answer + 1" })).await;
    assert_eq!(result["result"]["value"], 42);
}

#[tokio::test]
async fn a_heap_snapshot_is_taken() {
    let project = Project::worker(
        "class Parcel {} globalThis.parcels = Array.from({ length: 3 }, () => new Parcel());
         export default { fetch() { return new Response(); } };",
    );
    let mut dev = project.dev(&[]).await;
    let mut tools = DevTools::attach(&dev.debugger().await).await;
    tools.call("HeapProfiler.enable", json!({})).await;
    // The result comes after the last piece.
    tools.call("HeapProfiler.takeHeapSnapshot", json!({ "reportProgress": false })).await;
    let mut text = String::new();
    while !text.ends_with("]}\n") && !text.ends_with("]}") {
        text.push_str(tools.event("HeapProfiler.addHeapSnapshotChunk").await["chunk"].as_str().unwrap());
    }
    let snapshot: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(snapshot["snapshot"]["node_count"].as_u64().unwrap() > 1000);
    assert!(snapshot["strings"].as_array().unwrap().contains(&json!("Parcel")));
}

#[tokio::test]
async fn a_cpu_profile_is_recorded() {
    let project = Project::worker(
        r#"function busy(end: number): number {
  let sum = 0;
  for (let i = 0; i < end; i++) sum += Math.sqrt(i);
  return sum;
}
export default { fetch() { return new Response(String(busy(2e7))); } };
"#,
    );
    let mut dev = project.dev(&[]).await;
    let mut tools = DevTools::attach(&dev.debugger().await).await;
    tools.call("Profiler.enable", json!({})).await;
    tools.call("Profiler.start", json!({})).await;
    dev.get("/").await;
    let profile = tools.call("Profiler.stop", json!({})).await;
    let nodes = profile["profile"]["nodes"].as_array().unwrap();
    assert!(nodes.iter().any(|node| node["callFrame"]["functionName"] == "busy"), "{nodes:?}");
}

#[tokio::test]
async fn two_debuggers_at_once() {
    let project = Project::worker(SHOP);
    let mut dev = project.dev(&[]).await;
    let host = dev.debugger().await;
    let mut first = DevTools::attach(&host).await;
    let mut second = DevTools::attach(&host).await;
    first.call("Debugger.enable", json!({})).await;
    let script = first.script().await;
    let result = second.call("Runtime.evaluate", json!({ "expression": "6 * 7" })).await;
    assert_eq!(result["result"]["value"], 42);
    first.set_breakpoint(&script, "src/index.ts", RETURN).await;
    let answer = asked(&dev, "/?count=3");
    first.event("Debugger.paused").await;
    // The second one still gets answers, and the first one's going away lets the Worker run on.
    let result = second.call("Runtime.evaluate", json!({ "expression": "1 + 1" })).await;
    assert_eq!(result["result"]["value"], 2);
    drop(first);
    assert_eq!(answer.await.unwrap(), "21");
    let result = second.call("Runtime.evaluate", json!({ "expression": "2 + 2" })).await;
    assert_eq!(result["result"]["value"], 4);
}

#[tokio::test]
async fn a_debugger_stays_attached_when_the_worker_is_reloaded() {
    let project = Project::worker(SHOP);
    let mut dev = project.dev(&[]).await;
    let mut tools = DevTools::attach(&dev.debugger().await).await;
    tools.call("Runtime.enable", json!({})).await;
    tools.call("Debugger.enable", json!({})).await;
    let script = tools.script().await;
    tools.set_breakpoint(&script, "src/index.ts", RETURN).await;

    project.write("src/index.ts", &SHOP.replace("let sum = 0", "let sum = 1"));
    dev.output.until("Reloaded in ").await;
    tools.event("Runtime.executionContextsCleared").await;
    let script = tools.script().await;
    let answer = asked(&dev, "/?count=6");
    let paused = tools.event("Debugger.paused").await;
    assert_eq!(script.source(&paused["callFrames"][0]["location"]).1, RETURN);
    assert_eq!(tools.evaluate(&paused, "sum").await, 43);
    tools.call("Debugger.resume", json!({})).await;
    assert_eq!(answer.await.unwrap(), "43");
}

#[tokio::test]
async fn a_reload_does_not_wait_for_a_worker_that_is_stopped() {
    let project = Project::worker(SHOP);
    let mut dev = project.dev(&[]).await;
    let mut tools = DevTools::attach(&dev.debugger().await).await;
    tools.call("Debugger.enable", json!({})).await;
    let script = tools.script().await;
    let set = tools.set_breakpoint(&script, "src/index.ts", RETURN).await;
    let answer = asked(&dev, "/?count=6");
    tools.event("Debugger.paused").await;
    project.write("src/index.ts", &SHOP.replace("String(total({ count }, 7))", "\"new\""));
    dev.output.until("Reloaded in ").await;
    assert_eq!(answer.await.unwrap(), "42", "the old version finishes what it was handling");
    tools.call("Debugger.removeBreakpoint", json!({ "breakpointId": set["breakpointId"] })).await;
    assert_eq!(dev.get("/").await.text, "new");
}

#[tokio::test]
async fn pages_of_the_web_cannot_reach_the_debugger() {
    let project = Project::worker(SHOP);
    let mut dev = project.dev(&[]).await;
    let host = dev.debugger().await;
    let mut request = get("/json/list");
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    assert_eq!(fetch(&host, request).await.status, 403);
    let mut request = get("/json/list");
    request.headers_mut().insert("host", "evil.example".parse().unwrap());
    assert_eq!(fetch(&host, request).await.status, 403);
    assert_eq!(fetch(&host, get("/json/version")).await.status, 200);
}
