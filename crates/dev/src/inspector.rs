//! The debugger's port: lists the Worker to Chrome DevTools and VS Code, and connects them to its isolate.
//! <https://chromedevtools.github.io/devtools-protocol/>
//!
//! A debugger keeps its connection when a new version goes live: what it has told the old isolate (which domains are on,
//! which breakpoints are set) is told the new one again, and it learns that the old contexts are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use skep_exchange::{Body, Message, Request, Response, WebSocket};
use skep_gateway::{Answering, Handler, Page};
use skep_isolate::{InspectorSession, Slot};
use tokio::sync::watch;

use crate::live::{self, Live};

/// The id of the only thing there is to debug.
const TARGET: &str = "7f3c1f8e-5e1b-4c57-9f0e-6f3a2d1c0b5a";

/// Answers on the debugger's port.
pub(crate) struct InspectorHandler {
    pub(crate) live: watch::Receiver<Live>,
    pub(crate) worker: watch::Receiver<String>,
}

impl Handler for InspectorHandler {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        Box::pin(std::future::ready(self.respond(&request)))
    }
}

impl InspectorHandler {
    fn respond(&self, request: &Request) -> Response {
        let headers = request.headers();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
        if !is_local(&host) || !is_trusted(headers) {
            let message = "The debugger's port answers to this machine and to DevTools only.";
            return Page { status: StatusCode::FORBIDDEN, title: "Forbidden", message, detail: None }.response();
        }
        match request.uri().path() {
            "/json" | "/json/list" => as_json(&json!([self.target(&host)])),
            "/json/version" => as_json(&json!({
                "Browser": concat!("skep/", env!("CARGO_PKG_VERSION")),
                "Protocol-Version": "1.3",
            })),
            _ => self.connect(),
        }
    }

    fn target(&self, host: &str) -> Value {
        let worker = self.worker.borrow().clone();
        let socket = format!("{host}/{TARGET}");
        json!({
            "id": TARGET,
            "type": "node",
            "title": worker,
            "description": format!("The Worker {worker}"),
            "url": "file:///",
            "webSocketDebuggerUrl": format!("ws://{socket}"),
            "devtoolsFrontendUrl": format!("devtools://devtools/bundled/js_app.html?experiments=true&v8only=true&ws={socket}"),
            "faviconUrl": "",
        })
    }

    /// Connects a debugger. What is not a WebSocket handshake is refused by the gateway, which finds no key in it.
    fn connect(&self) -> Response {
        let (ours, theirs) = WebSocket::pair();
        tokio::spawn(debug(self.live.clone(), ours));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        theirs.attach(&mut response);
        response
    }
}

/// A name that only this machine has: a page on the web cannot make a browser send it.
fn is_local(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host });
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.ends_with(".localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

/// Not a page on the web: those send an origin of theirs.
fn is_trusted(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    origin.to_str().is_ok_and(|origin| {
        origin.starts_with("devtools://")
            || origin.starts_with("vscode-")
            || origin.starts_with("chrome-extension://")
            || origin.split_once("://").is_some_and(|(_, host)| is_local(host))
    })
}

fn as_json(value: &Value) -> Response {
    let mut response = Response::new(Body::full(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    response
}

/// One debugger, for as long as it is connected.
async fn debug(mut live: watch::Receiver<Live>, mut debugger: WebSocket) {
    let mut memory = Memory::default();
    let mut current: Option<(Arc<Slot>, InspectorSession)> = None;
    loop {
        if current.is_none() {
            live.mark_unchanged();
            let slot = match live::settled(&mut live).await {
                Live::Ready(served) | Live::Broken { previous: Some(served), .. } => served.slot.clone(),
                Live::Broken { previous: None, .. } => None,
                Live::Building => return,
            };
            // A project may have no script, or none that starts: a debugger waits for one.
            let Some(slot) = slot else {
                if live.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if let Some(session) = slot.inspect().await {
                for message in memory.replay() {
                    session.send(message);
                }
                current = Some((slot, session));
            } else if live.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some((slot, session)) = current.as_mut() else { continue };
        tokio::select! {
            message = debugger.receiver.next() => match message {
                Some(Message::Text(text)) => {
                    memory.sent(&text);
                    session.send(text);
                }
                Some(Message::Binary(_)) => {}
                Some(Message::Close { .. }) | None => return,
            },
            message = session.next() => match message {
                Some(text) => {
                    if let Some(text) = memory.received(text)
                        && debugger.sender.send_when_room(Message::Text(text)).await.is_err()
                    {
                        return;
                    }
                }
                // A limit ended the isolate: the next one is debugged.
                None => current = None,
            },
            changed = live.changed() => {
                if changed.is_err() {
                    return;
                }
                let replaced = matches!(
                    &*live.borrow_and_update(),
                    Live::Ready(next) if next.slot.as_ref().is_none_or(|next| !Arc::ptr_eq(next, slot))
                );
                if replaced {
                    current = None;
                    let cleared = json!({ "method": "Runtime.executionContextsCleared" }).to_string();
                    if debugger.sender.send_when_room(Message::Text(cleared)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// What a debugger has told an isolate that the next one must know too.
#[derive(Default)]
struct Memory {
    told: Vec<Told>,
}

struct Told {
    id: u64,
    method: String,
    parameters: Value,
    /// The breakpoint that it made, once the isolate has said so.
    breakpoint: Option<String>,
}

/// The first id of messages that are told again: debuggers count from 1 and never get here, and V8 takes 31 bits.
const FIRST_REPLAY: u64 = 1 << 30;
static NEXT_REPLAY: AtomicU64 = AtomicU64::new(FIRST_REPLAY);

impl Memory {
    /// Remembers a message to the isolate if it is one that lasts.
    fn sent(&mut self, text: &str) {
        let Ok(message) = serde_json::from_str::<Value>(text) else { return };
        let method = message["method"].as_str().unwrap_or_default();
        match method.split_once('.') {
            Some((domain, "disable")) => self.told.retain(|told| !told.method.starts_with(&format!("{domain}."))),
            Some(("Debugger", "removeBreakpoint")) => {
                let breakpoint = message["params"]["breakpointId"].as_str();
                self.told.retain(|told| told.breakpoint.as_deref() != breakpoint || breakpoint.is_none());
            }
            Some((_, action)) if lasts(action) => {
                // A later word on the same thing is the one that counts.
                if action != "setBreakpointByUrl" {
                    self.told.retain(|told| told.method != method);
                }
                self.told.push(Told {
                    id: message["id"].as_u64().unwrap_or_default(),
                    method: method.to_owned(),
                    parameters: message["params"].clone(),
                    breakpoint: None,
                });
            }
            _ => {}
        }
    }

    /// Sees a message of the isolate. Gives it back if it is for the debugger.
    fn received(&mut self, text: String) -> Option<String> {
        // Events are most of the traffic, and have no id.
        if !text.starts_with("{\"id\":") {
            return Some(text);
        }
        let message: Value = serde_json::from_str(&text).ok()?;
        let id = message["id"].as_u64()?;
        if id >= FIRST_REPLAY {
            return None;
        }
        if let Some(breakpoint) = message["result"]["breakpointId"].as_str()
            && let Some(told) = self.told.iter_mut().find(|told| told.id == id)
        {
            told.breakpoint = Some(breakpoint.to_owned());
        }
        Some(text)
    }

    /// What to tell a new isolate.
    fn replay(&self) -> Vec<String> {
        self.told
            .iter()
            .map(|told| {
                let id = NEXT_REPLAY.fetch_add(1, Ordering::Relaxed);
                json!({ "id": id, "method": told.method, "params": told.parameters }).to_string()
            })
            .collect()
    }
}

/// Whether what a method asks for holds until it is taken back.
fn lasts(action: &str) -> bool {
    matches!(
        action,
        "enable"
            | "addBinding"
            | "setAsyncCallStackDepth"
            | "setBlackboxPatterns"
            | "setBlackboxExecutionContexts"
            | "setBreakpointByUrl"
            | "setBreakpointsActive"
            | "setCustomObjectFormatterEnabled"
            | "setMaxCallStackSizeToCapture"
            | "setPauseOnExceptions"
            | "setSamplingInterval"
            | "setSkipAllPauses"
    )
}

#[cfg(test)]
mod tests {
    use super::{Memory, is_local};

    #[test]
    fn local_names() {
        let check = |host: &str, local: bool| assert_eq!(is_local(host), local, "{host}");
        check("localhost:9229", true);
        check("127.0.0.1:9229", true);
        check("[::1]:9229", true);
        check("app.localhost", true);
        check("evil.example:9229", false);
        check("localhost.evil.example", false);
        check("", false);
    }

    #[test]
    fn a_new_isolate_learns_what_the_old_one_was_told() {
        let mut memory = Memory::default();
        memory.sent(r#"{"id":1,"method":"Runtime.enable"}"#);
        memory.sent(r#"{"id":2,"method":"Debugger.enable","params":{}}"#);
        memory.sent(r#"{"id":3,"method":"Debugger.setBreakpointByUrl","params":{"lineNumber":4,"url":"a"}}"#);
        memory.sent(r#"{"id":4,"method":"Debugger.setBreakpointByUrl","params":{"lineNumber":5,"url":"a"}}"#);
        memory.sent(r#"{"id":5,"method":"Runtime.evaluate","params":{"expression":"1"}}"#);
        assert!(memory.received(r#"{"id":3,"result":{"breakpointId":"1:4:0:a","locations":[]}}"#.to_owned()).is_some());
        memory.sent(r#"{"id":6,"method":"Debugger.removeBreakpoint","params":{"breakpointId":"1:4:0:a"}}"#);
        let replayed = memory.replay();
        let methods: Vec<String> = replayed
            .iter()
            .map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap()["method"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(methods, ["Runtime.enable", "Debugger.enable", "Debugger.setBreakpointByUrl"]);
        assert!(replayed[2].contains("\"lineNumber\":5"), "{}", replayed[2]);
        let id = serde_json::from_str::<serde_json::Value>(&replayed[0]).unwrap()["id"].as_u64().unwrap();
        assert_eq!(
            memory.received(format!("{{\"id\":{id},\"result\":{{}}}}")),
            None,
            "its answer is not the debugger's"
        );
    }
}
