//! Debuggers: sessions of the Chrome DevTools Protocol with one isolate.
//! <https://chromedevtools.github.io/devtools-protocol/v8/>
//!
//! While a debugger has stopped the isolate at a breakpoint, the isolate's thread serves its sessions and nothing else.
//! Waiting there uses no CPU time, so no limit runs.

use deno_core::futures::StreamExt as _;
use deno_core::futures::channel::mpsc;
use deno_core::{InspectorMsg, InspectorSessionChannels, InspectorSessionKind, InspectorSessionProxy};

/// Where new sessions of an isolate are handed in.
#[derive(Clone)]
pub(crate) struct Inspector {
    sessions: mpsc::UnboundedSender<InspectorSessionProxy>,
}

impl Inspector {
    pub(crate) fn new(sessions: mpsc::UnboundedSender<InspectorSessionProxy>) -> Self {
        Self { sessions }
    }

    /// Opens a session, or nothing if the isolate is over.
    pub(crate) fn open(&self) -> Option<InspectorSession> {
        let (to_isolate, from_session) = mpsc::unbounded();
        let (to_session, from_isolate) = mpsc::unbounded();
        let channels = InspectorSessionChannels::Regular { tx: to_session, rx: from_session };
        let kind = InspectorSessionKind::NonBlocking { wait_for_disconnect: false };
        self.sessions.unbounded_send(InspectorSessionProxy { channels, kind }).ok()?;
        Some(InspectorSession { sender: to_isolate, receiver: from_isolate })
    }
}

/// A message of the protocol, as JSON.
pub type InspectorMessage = String;

/// One session with an isolate. Dropping it ends the session.
#[derive(Debug)]
pub struct InspectorSession {
    sender: mpsc::UnboundedSender<InspectorMessage>,
    receiver: mpsc::UnboundedReceiver<InspectorMsg>,
}

impl InspectorSession {
    /// Sends a message to the isolate. Gives `false` when it is over.
    pub fn send(&self, message: InspectorMessage) -> bool {
        self.sender.unbounded_send(message).is_ok()
    }

    /// The next message of the isolate, or `None` when it is over.
    pub async fn next(&mut self) -> Option<InspectorMessage> {
        self.receiver.next().await.map(|message| message.content)
    }
}
