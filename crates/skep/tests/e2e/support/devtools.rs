//! A debugger: what DevTools and VS Code do, over the same protocol.
//! <https://chromedevtools.github.io/devtools-protocol/v8/>

use std::collections::VecDeque;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use sourcemap::SourceMap;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{PATIENCE, fetch, get};
use futures_util::{SinkExt as _, StreamExt as _};

/// A connected debugger.
pub(crate) struct DevTools {
    socket: WebSocketStream<TcpStream>,
    last: u64,
    /// Events that nobody has asked for yet.
    events: VecDeque<Value>,
}

impl DevTools {
    /// Connects to the first target that a debugger's port lists.
    pub(crate) async fn attach(host: &str) -> Self {
        let targets = fetch(host, get("/json/list")).await.text;
        let targets: Value = serde_json::from_str(&targets).expect("JSON");
        let url = targets[0]["webSocketDebuggerUrl"].as_str().expect("a target");
        let stream = TcpStream::connect(host).await.expect("a connection");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
        Self { socket, last: 0, events: VecDeque::new() }
    }

    /// Calls a method without waiting for its result.
    pub(crate) async fn send(&mut self, method: &str, parameters: Value) -> u64 {
        self.last += 1;
        let message = json!({ "id": self.last, "method": method, "params": parameters });
        self.socket.send(Message::text(message.to_string())).await.expect("the debugger is connected");
        self.last
    }

    /// Calls a method and gives its result.
    ///
    /// # Panics
    /// When it fails.
    pub(crate) async fn call(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.send(method, parameters).await;
        loop {
            let mut message = self.receive().await;
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.events.push_back(message);
        }
    }

    /// Waits for an event, and gives its parameters. Others are kept for later.
    pub(crate) async fn event(&mut self, method: &str) -> Value {
        let mut at = 0;
        loop {
            while let Some(event) = self.events.get(at) {
                if event["method"] == method {
                    return self.events.remove(at).expect("an event")["params"].take();
                }
                at += 1;
            }
            let message = self.receive().await;
            self.events.push_back(message);
        }
    }

    async fn receive(&mut self) -> Value {
        let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
        let message = next
            .unwrap_or_else(|_| panic!("nothing comes any more; these are left: {:#?}", self.events))
            .expect("the debugger is connected")
            .expect("a message");
        serde_json::from_str(message.to_text().expect("text")).expect("JSON")
    }

    /// Waits for the Worker's script, with its source map.
    pub(crate) async fn script(&mut self) -> Script {
        loop {
            let event = self.event("Debugger.scriptParsed").await;
            let map = event["sourceMapURL"].as_str().unwrap_or_default();
            if let Some((_, map)) = map.split_once(";base64,") {
                let map = BASE64_STANDARD.decode(map).expect("base64");
                let map = SourceMap::from_slice(&map).expect("a source map");
                return Script { url: event["url"].as_str().expect("a URL").to_owned(), map };
            }
        }
    }

    /// Sets a breakpoint at a line (from 1) of a source file, as a person does who clicks beside it.
    pub(crate) async fn set_breakpoint(&mut self, script: &Script, source: &str, line: u32) -> Value {
        let (line_number, column) = script.position(source, line);
        let at = json!({ "url": script.url, "lineNumber": line_number, "columnNumber": column });
        self.call("Debugger.setBreakpointByUrl", at).await
    }

    /// Evaluates an expression where the program is paused.
    pub(crate) async fn evaluate(&mut self, paused: &Value, expression: &str) -> Value {
        let frame = &paused["callFrames"][0]["callFrameId"];
        let what = json!({ "callFrameId": frame, "expression": expression, "returnByValue": true });
        self.call("Debugger.evaluateOnCallFrame", what).await["result"]["value"].take()
    }
}

/// A script of the Worker.
pub(crate) struct Script {
    pub(crate) url: String,
    map: SourceMap,
}

impl Script {
    /// Where the code of a source's line (from 1) begins in the script: line and column, from 0.
    fn position(&self, source: &str, line: u32) -> (u32, u32) {
        let tokens = self.map.tokens().filter(|token| token.get_source().is_some_and(|name| name.ends_with(source)));
        let position = tokens.filter(|token| token.get_src_line() + 1 == line).map(|token| token.get_dst()).min();
        position.unwrap_or_else(|| panic!("{source} has no code in line {line}"))
    }

    /// The source and its line (from 1) for a place in the script that the protocol names.
    pub(crate) fn source(&self, location: &Value) -> (String, u32) {
        let at = |name: &str| u32::try_from(location[name].as_u64().expect("a number")).expect("a small number");
        let token = self.map.lookup_token(at("lineNumber"), at("columnNumber")).expect("a place of the source");
        (token.get_source().expect("a source").to_owned(), token.get_src_line() + 1)
    }
}
