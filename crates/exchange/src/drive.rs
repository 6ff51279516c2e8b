//! Moves the messages of a WebSocket between a connection and the Worker's end, until one of them closes.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, protocol};

use crate::websocket::{ABNORMAL_CLOSURE, Message, NO_STATUS, WebSocket, WebSocketReceiver};

/// The largest message that is taken from the network, in bytes.
/// <https://developers.cloudflare.com/workers/platform/limits/#websocket-message-size>
const LARGEST_MESSAGE: usize = 32 * 1024 * 1024;
/// Bytes that are read at once. The room for them is filled with zeros before each read, also one that finds nothing: with the library's own
/// 128 KiB that was ten times what handling a request costs, for each message.
const READ_BUFFER: usize = 8 * 1024;
/// From so many bytes on, messages are sent before more are taken.
const SENT_TOGETHER: usize = 64 * 1024;
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
                let Ok(closes) = send_together(&mut socket, message, &mut end.receiver).await else {
                    let _ = end.sender.send(Message::Close { code: ABNORMAL_CLOSURE, reason: "WebSocket disconnected".to_owned() });
                    break;
                };
                closing = closes;
            }
            () = tokio::time::sleep(CLOSE_TIMEOUT), if closing => {
                let _ = end.sender.send(Message::Close { code: ABNORMAL_CLOSURE, reason: "the other side did not answer the close".to_owned() });
                break;
            }
        }
    }
}

/// Sends a message, and with it those that wait behind it, up to a close: each write to the network is a system call. Gives whether there was
/// a close.
async fn send_together<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    message: Message,
    waiting: &mut WebSocketReceiver,
) -> Result<bool, tungstenite::Error> {
    let (mut next, mut bytes, mut closes) = (Some(message), 0, false);
    while let Some(message) = next {
        closes = matches!(message, Message::Close { .. });
        bytes += message.size();
        socket.feed(to_wire(message)).await?;
        next = if closes || bytes >= SENT_TOGETHER { None } else { waiting.next_now() };
    }
    socket.flush().await?;
    Ok(closes)
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

    use super::{Role, drive};
    use crate::websocket::{Message, WebSocket};

    /// A connection that counts how often it is written to.
    struct Counted(DuplexStream, Arc<AtomicUsize>);

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(context, buffer)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }

    /// What the other side gets of these messages, and how often the connection was written to meanwhile.
    async fn sent(messages: Vec<Message>) -> (Vec<Message>, usize) {
        let (here, there) = tokio::io::duplex(1024 * 1024);
        let writes = Arc::<AtomicUsize>::default();
        let (ours, server) = WebSocket::pair();
        let (mut theirs, client) = WebSocket::pair();
        for message in messages {
            ours.sender.send(message).expect("there is room");
        }
        tokio::spawn(drive(Counted(here, Arc::clone(&writes)), Role::Server { accept_unmasked: false }, server));
        tokio::spawn(drive(there, Role::Client, client));
        let mut came = Vec::new();
        while let Some(message) = theirs.receiver.next().await {
            let closes = matches!(message, Message::Close { .. });
            came.push(message);
            if closes {
                break;
            }
        }
        (came, writes.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn messages_that_wait_are_sent_together() {
        let text = |number: usize| Message::Text(number.to_string());
        let close = Message::Close { code: 1000, reason: "done".to_owned() };
        let messages: Vec<Message> = (0..100).map(text).chain([close]).collect();
        let (came, writes) = sent(messages.clone()).await;
        assert_eq!(came, messages);
        assert_eq!(writes, 1);
    }

    #[tokio::test]
    async fn much_is_sent_in_pieces() {
        let messages: Vec<Message> = (0..40).map(|_| Message::Binary(vec![7; 10_000].into())).collect();
        let close = Message::Close { code: 1000, reason: String::new() };
        let (came, writes) = sent(messages.iter().cloned().chain([close]).collect()).await;
        assert_eq!(came[..40], messages);
        // Seven messages are 64 KiB and more.
        assert!((6..=7).contains(&writes), "{writes} writes");
    }
}
