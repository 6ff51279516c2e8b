//! Moves the messages of a WebSocket between a connection and the Worker's end, until one of them closes.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, protocol};

use crate::websocket::{ABNORMAL_CLOSURE, Message, NO_STATUS, WebSocket};

/// The largest message that is taken from the network, in bytes.
/// <https://developers.cloudflare.com/workers/platform/limits/#websocket-message-size>
const LARGEST_MESSAGE: usize = 32 * 1024 * 1024;
/// Bytes that are read at once. The room for them is filled with zeros before each read, also one that finds nothing: with the library's own
/// 128 KiB that was ten times what handling a request costs, for each message.
const READ_BUFFER: usize = 8 * 1024;
/// How long a closed connection may take to answer the close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Which side of the handshake a connection was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It asked.
    Client,
    /// It answered.
    Server {
        /// Whether frames without a mask are taken, although RFC 6455, section 5.1, forbids them.
        accept_unmasked: bool,
    },
}

/// Moves messages between a connection, whose handshake is done, and one end of a [`WebSocket::pair`].
/// Returns when both directions are closed, or one of the two is gone.
pub async fn drive(connection: impl AsyncRead + AsyncWrite + Unpin, role: Role, mut end: WebSocket) {
    let (role, accept_unmasked) = match role {
        Role::Client => (protocol::Role::Client, false),
        Role::Server { accept_unmasked } => (protocol::Role::Server, accept_unmasked),
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE))
        .accept_unmasked_frames(accept_unmasked);
    let mut socket = WebSocketStream::from_raw_socket(connection, role, Some(config)).await;
    let mut closing = false;
    loop {
        tokio::select! {
            incoming = socket.next() => {
                let Some(message) = received(incoming) else { continue };
                let is_close = matches!(message, Message::Close { .. });
                if end.sender.send_when_room(message).await.is_err() {
                    say_goodbye(&mut socket).await;
                    break;
                }
                if is_close {
                    // The Worker may still answer; what it says after that goes nowhere.
                    let _ = tokio::time::timeout(CLOSE_TIMEOUT, async { while socket.next().await.is_some_and(|next| next.is_ok()) {} }).await;
                    break;
                }
            }
            outgoing = end.receiver.next(), if !closing => {
                let Some(message) = outgoing else {
                    say_goodbye(&mut socket).await;
                    break;
                };
                closing = matches!(message, Message::Close { .. });
                if socket.send(to_wire(message)).await.is_err() {
                    let _ = end.sender.send(Message::Close { code: ABNORMAL_CLOSURE, reason: "WebSocket disconnected".to_owned() });
                    break;
                }
            }
            () = tokio::time::sleep(CLOSE_TIMEOUT), if closing => {
                let _ = end.sender.send(Message::Close { code: ABNORMAL_CLOSURE, reason: "the other side did not answer the close".to_owned() });
                break;
            }
        }
    }
}

/// The Worker is gone: a limit stopped it, or a new version took its place.
async fn say_goodbye<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    let frame = CloseFrame { code: CloseCode::Restart, reason: "the Worker was stopped".into() };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, socket.close(Some(frame))).await;
}

/// What came from the wire, for the Worker. Pings are answered below this.
fn received(incoming: Option<Result<tungstenite::Message, tungstenite::Error>>) -> Option<Message> {
    let broken = |reason: String| Some(Message::Close { code: ABNORMAL_CLOSURE, reason });
    match incoming {
        Some(Ok(tungstenite::Message::Text(text))) => Some(Message::Text(text.as_str().to_owned())),
        Some(Ok(tungstenite::Message::Binary(bytes))) => Some(Message::Binary(bytes)),
        Some(Ok(tungstenite::Message::Close(None))) => Some(Message::Close { code: NO_STATUS, reason: String::new() }),
        Some(Ok(tungstenite::Message::Close(Some(frame)))) => {
            Some(Message::Close { code: frame.code.into(), reason: frame.reason.as_str().to_owned() })
        }
        Some(Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) | tungstenite::Message::Frame(_))) => {
            None
        }
        Some(Err(error)) => broken(error.to_string()),
        None => broken("WebSocket disconnected without sending a Close frame.".to_owned()),
    }
}

fn to_wire(message: Message) -> tungstenite::Message {
    match message {
        Message::Text(text) => tungstenite::Message::text(text),
        Message::Binary(bytes) => tungstenite::Message::binary(bytes),
        Message::Close { code, reason } => {
            let frame = CloseFrame { code: code.into(), reason: reason.into() };
            tungstenite::Message::Close((code != NO_STATUS && code != ABNORMAL_CLOSURE).then_some(frame))
        }
    }
}
