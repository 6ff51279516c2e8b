//! Sessions of calls between two isolates: frames of bytes with streams attached, both ways, until either end goes away.
//!
//! What a frame means is the business of the two isolates; here it is bytes. An isolate's frames that nobody has taken yet
//! share its [`Room`], so that a peer that does not listen cannot fill the memory.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::wake::CrossingContext;
use crate::{Body, BodySender, Depth};

/// Bytes that one isolate's frames may have under way, in all its sessions together.
const MOST_BYTES_UNDER_WAY: usize = 64 * 1024 * 1024;
/// What a frame weighs beside its bytes.
const FRAME: usize = 1024;

/// A message of a session.
#[derive(Debug)]
pub struct Frame {
    /// What it asks or answers.
    pub head: Box<[u8]>,
    /// The value that goes with it: arguments, a result or an error.
    pub payload: Box<[u8]>,
    /// Streams that it hands over.
    pub attachments: Vec<Attachment>,
}

/// A stream that goes with a frame.
#[derive(Debug)]
pub enum Attachment {
    /// One that the receiver reads.
    Source(Body),
    /// One that the receiver writes.
    Sink(BodySender),
}

/// The first call of a session, for the isolate that is to answer it.
#[derive(Debug)]
pub struct Opening {
    /// The name of the method, for logs.
    pub method: String,
    /// The trace that it is a part of, as headers of a request would carry it.
    pub headers: HeaderMap,
    /// How many Workers have called each other to come here.
    pub depth: Depth,
    /// The answering end.
    pub session: Session,
}

/// What becomes of an [`Opening`] that was given to an isolate.
#[derive(Debug)]
pub enum Ending {
    /// The session was answered until its caller closed it.
    Closed,
    /// It broke.
    Failure(crate::Failure),
    /// The isolate ended before it looked at the session: another one can answer it.
    NotStarted(Box<Opening>),
}

/// The room that an isolate's frames under way share.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_BYTES_UNDER_WAY)))
    }
}

/// What a frame takes of the room. One larger than the room passes alone.
fn weight(frame: &Frame) -> u32 {
    u32::try_from((frame.head.len() + frame.payload.len() + FRAME).min(MOST_BYTES_UNDER_WAY)).unwrap_or(u32::MAX)
}

/// A frame with its part of the room, which is free again when the frame is taken.
#[derive(Debug)]
struct Weighed {
    frame: Frame,
    _room: OwnedSemaphorePermit,
}

/// One end of a session. Dropping it ends the session.
#[derive(Debug)]
pub struct Session {
    /// Where frames go.
    pub sender: FrameSender,
    /// Where frames come from.
    pub receiver: FrameReceiver,
}

impl Session {
    /// Two ends, connected to each other.
    pub fn pair() -> (Self, Self) {
        let (left_sender, right_receiver) = direction();
        let (right_sender, left_receiver) = direction();
        (Self { sender: left_sender, receiver: left_receiver }, Self { sender: right_sender, receiver: right_receiver })
    }
}

#[allow(clippy::disallowed_methods, reason = "its bound is the room of who sends, in bytes")]
fn direction() -> (FrameSender, FrameReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (FrameSender { sender, room: Room::default() }, FrameReceiver { receiver, crossing: CrossingContext::default() })
}

/// Why a frame could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other end is gone.
    #[error("the RPC session is closed")]
    Closed,
    /// Too much is under way: here is the frame back.
    #[error("64 MiB of RPC calls and results are under way already")]
    Full(Frame),
}

/// The sending half of an end.
#[derive(Clone, Debug)]
pub struct FrameSender {
    sender: mpsc::UnboundedSender<Weighed>,
    room: Room,
}

impl FrameSender {
    /// Has frames take their room from an isolate's own.
    pub fn share(&mut self, room: &Room) {
        self.room = room.clone();
    }

    /// Sends a frame, if there is room.
    ///
    /// # Errors
    /// When the other end is gone, or too much is under way.
    pub fn try_send(&self, frame: Frame) -> Result<(), FrameError> {
        match Arc::clone(&self.room.0).try_acquire_many_owned(weight(&frame)) {
            Ok(room) => self.sender.send(Weighed { frame, _room: room }).map_err(|_| FrameError::Closed),
            Err(_) => Err(FrameError::Full(frame)),
        }
    }

    /// Sends a frame when there is room. Gives `false` when the other end is gone.
    pub async fn send(&self, frame: Frame) -> bool {
        tokio::select! {
            room = Arc::clone(&self.room.0).acquire_many_owned(weight(&frame)) => match room {
                Ok(room) => self.sender.send(Weighed { frame, _room: room }).is_ok(),
                Err(_) => false,
            },
            () = self.sender.closed() => false,
        }
    }
}

/// The receiving half of an end.
#[derive(Debug)]
pub struct FrameReceiver {
    receiver: mpsc::UnboundedReceiver<Weighed>,
    /// The sender is on another thread.
    crossing: CrossingContext,
}

impl FrameReceiver {
    /// The next frame, `None` when the other end is gone.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        let waker = self.crossing.waker(context);
        let weighed = ready!(self.receiver.poll_recv(&mut Context::from_waker(waker)));
        Poll::Ready(weighed.map(|weighed| weighed.frame))
    }

    /// The next frame, `None` when the other end is gone.
    pub async fn next(&mut self) -> Option<Frame> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, FrameError, MOST_BYTES_UNDER_WAY, Room, Session};

    fn frame(size: usize) -> Frame {
        Frame { head: Box::default(), payload: vec![0; size].into(), attachments: Vec::new() }
    }

    #[tokio::test]
    async fn frames_cross_until_an_end_is_gone() {
        let (left, mut right) = Session::pair();
        left.sender.try_send(frame(3)).unwrap();
        assert_eq!(right.receiver.next().await.unwrap().payload.len(), 3);
        left.sender.try_send(frame(4)).unwrap();
        drop(left);
        assert_eq!(right.receiver.next().await.unwrap().payload.len(), 4, "what was sent arrives");
        assert!(right.receiver.next().await.is_none());
        assert!(matches!(right.sender.try_send(frame(1)), Err(FrameError::Closed)));
    }

    #[tokio::test]
    async fn all_sessions_of_an_isolate_share_its_room() {
        let room = Room::default();
        let (mut one, mut other_of_one) = Session::pair();
        let (mut two, _other_of_two) = Session::pair();
        one.sender.share(&room);
        two.sender.share(&room);
        one.sender.try_send(frame(MOST_BYTES_UNDER_WAY)).unwrap();
        let refused = two.sender.try_send(frame(1));
        assert!(matches!(refused, Err(FrameError::Full(_))));
        let waiting = two.sender.send(frame(1));
        tokio::pin!(waiting);
        let pending =
            std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending())).await;
        assert!(pending, "a full room makes the sender wait");
        assert!(other_of_one.receiver.next().await.is_some());
        assert!(waiting.await);
    }
}
