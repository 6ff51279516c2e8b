//! WebSockets as messages: one end of a connection whose other end somebody else moves.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

/// The close code of a connection that was closed without one. RFC 6455, section 7.4.1.
pub const NO_STATUS: u16 = 1005;
/// The close code of a connection that broke off. RFC 6455, section 7.4.1.
pub const ABNORMAL_CLOSURE: u16 = 1006;

/// Bytes that may wait to be sent. A Worker that sends faster than its client reads gets an error.
const MOST_BYTES_WAITING: usize = 16 * 1024 * 1024;
/// Messages that may wait to be sent.
const MOST_MESSAGES_WAITING: usize = 16 * 1024;

/// One message of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
    /// The end of the connection.
    Close {
        /// Why, as a number. [`NO_STATUS`] and [`ABNORMAL_CLOSURE`] never go over the wire.
        code: u16,
        /// Why, in words.
        reason: String,
    },
}

impl Message {
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Close { reason, .. } => reason.len(),
        }
    }
}

/// Why a message could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The other end is gone.
    #[error("the WebSocket is closed")]
    Closed,
    /// Too much is waiting.
    #[error("the WebSocket's send buffer is full: the other end reads too slowly (16 MiB or 16,384 messages may wait)")]
    Full,
}

/// One end of a connection.
#[derive(Debug)]
pub struct WebSocket {
    /// Where messages go.
    pub sender: WebSocketSender,
    /// Where messages come from.
    pub receiver: WebSocketReceiver,
}

impl WebSocket {
    /// Two ends, connected to each other.
    pub fn pair() -> (Self, Self) {
        let (left_sender, right_receiver) = direction();
        let (right_sender, left_receiver) = direction();
        (Self { sender: left_sender, receiver: left_receiver }, Self { sender: right_sender, receiver: right_receiver })
    }
}

/// Carries a [`WebSocket`] among the extensions of a response with status 101, until it is taken.
#[derive(Clone, Debug)]
struct Upgrade(Arc<Mutex<Option<WebSocket>>>);

impl WebSocket {
    /// Puts this end into a response.
    pub fn attach<B>(self, response: &mut http::Response<B>) {
        response.extensions_mut().insert(Upgrade(Arc::new(Mutex::new(Some(self)))));
    }

    /// Takes the end out of a response.
    pub fn take<B>(response: &mut http::Response<B>) -> Option<Self> {
        let Upgrade(end) = response.extensions_mut().remove::<Upgrade>()?;
        end.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

fn direction() -> (WebSocketSender, WebSocketReceiver) {
    let (sender, receiver) = mpsc::channel(MOST_MESSAGES_WAITING);
    let room = Arc::new(Semaphore::new(MOST_BYTES_WAITING));
    (WebSocketSender { sender, room: Arc::clone(&room) }, WebSocketReceiver { receiver, room })
}

/// What a message takes of the room for waiting bytes. One larger than the room passes alone.
fn weight(message: &Message) -> u32 {
    u32::try_from(message.size().min(MOST_BYTES_WAITING)).unwrap_or(u32::MAX)
}

/// The sending half of an end.
#[derive(Clone, Debug)]
pub struct WebSocketSender {
    sender: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
}

impl WebSocketSender {
    /// Queues a message.
    ///
    /// # Errors
    /// When the other end is gone, or too much is waiting.
    pub fn send(&self, message: Message) -> Result<(), SendError> {
        let weight = self.room.try_acquire_many(weight(&message)).map_err(|_| SendError::Full)?;
        self.sender.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Full,
            mpsc::error::TrySendError::Closed(_) => SendError::Closed,
        })?;
        weight.forget();
        Ok(())
    }

    /// Sends a message, waiting for room first: for a reader of the network, so that it reads no faster than the Worker.
    ///
    /// # Errors
    /// When the other end is gone.
    pub async fn send_when_room(&self, message: Message) -> Result<(), SendError> {
        let wait = async {
            let weight = self.room.acquire_many(weight(&message)).await.map_err(|_| SendError::Closed)?;
            let slot = self.sender.reserve().await.map_err(|_| SendError::Closed)?;
            weight.forget();
            Ok(slot)
        };
        let slot = tokio::select! {
            slot = wait => slot?,
            () = self.sender.closed() => return Err(SendError::Closed),
        };
        slot.send(message);
        Ok(())
    }

    /// The bytes that wait to be sent.
    pub fn buffered(&self) -> usize {
        MOST_BYTES_WAITING - self.room.available_permits()
    }

    /// Waits until the other end is gone.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

/// The receiving half of an end.
#[derive(Debug)]
pub struct WebSocketReceiver {
    receiver: mpsc::Receiver<Message>,
    room: Arc<Semaphore>,
}

impl WebSocketReceiver {
    /// The next message, or `None` when the other end is gone without a close.
    pub async fn next(&mut self) -> Option<Message> {
        let message = self.receiver.recv().await?;
        self.room.add_permits(weight(&message) as usize);
        Some(message)
    }

    /// The next message if it is there already.
    pub(crate) fn next_now(&mut self) -> Option<Message> {
        let message = self.receiver.try_recv().ok()?;
        self.room.add_permits(weight(&message) as usize);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Message, SendError, WebSocket};

    #[tokio::test]
    async fn messages_cross() {
        let (left, mut right) = WebSocket::pair();
        left.sender.send(Message::Text("hi".to_owned())).unwrap();
        assert_eq!(left.sender.buffered(), 2);
        assert_eq!(right.receiver.next().await, Some(Message::Text("hi".to_owned())));
        assert_eq!(left.sender.buffered(), 0);
        drop(left);
        assert_eq!(right.receiver.next().await, None);
        assert_eq!(right.sender.send(Message::Text("late".to_owned())), Err(SendError::Closed));
    }

    #[tokio::test]
    async fn a_slow_reader_does_not_fill_the_memory() {
        let (left, _right) = WebSocket::pair();
        let megabyte = Bytes::from(vec![0; 1024 * 1024]);
        let sent = std::iter::repeat_with(|| left.sender.send(Message::Binary(megabyte.clone())))
            .take_while(Result::is_ok)
            .count();
        assert_eq!(sent, 16);
    }
}
