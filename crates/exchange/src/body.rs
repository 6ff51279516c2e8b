//! Bodies: bytes in hand, or a stream with back-pressure.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use crate::wake::CrossingContext;

/// How many chunks may wait between a writer and a reader. A chunk has 64 KiB at most where Skep cuts it.
const CHUNKS_IN_FLIGHT: usize = 4;

/// Why a body broke off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The other side closed the connection, or the transfer broke a rule of HTTP.
    #[error("the body was not transferred completely: {0}")]
    Transport(String),
    /// The writer gave up.
    #[error("the body's stream failed: {0}")]
    Stream(String),
    /// More bytes than allowed.
    #[error("the body is larger than {0} bytes, the most that is allowed")]
    TooLarge(u64),
}

/// The body of a request or a response.
#[derive(Debug, Default)]
pub struct Body(Kind);

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Channel {
        receiver: mpsc::Receiver<Result<Bytes, BodyError>>,
        /// The bytes that are still to come, if that is known.
        length: Option<u64>,
        /// Set when the writer has finished, if that makes a difference.
        finished: Option<Arc<AtomicBool>>,
        /// The writer is on another thread.
        crossing: CrossingContext,
    },
    Boxed(UnsyncBoxBody<Bytes, BodyError>),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// Bytes in hand.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(if bytes.is_empty() { Kind::Empty } else { Kind::Full(bytes) })
    }

    /// A body that is written chunk by chunk. `length` is the number of bytes, if it is known.
    pub fn channel(length: Option<u64>) -> (BodySender, Self) {
        Self::channel_with(length, None)
    }

    /// As [`Self::channel`], for a writer that may be stopped in the middle: a body whose writer goes away without
    /// [`BodySender::finish`] broke off.
    pub fn checked_channel(length: Option<u64>) -> (BodySender, Self) {
        Self::channel_with(length, Some(Arc::default()))
    }

    fn channel_with(length: Option<u64>, finished: Option<Arc<AtomicBool>>) -> (BodySender, Self) {
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let sender = PollSender::new(sender);
        let sender = BodySender { sender, finished: finished.clone(), crossing: CrossingContext::default() };
        (sender, Self(Kind::Channel { receiver, length, finished, crossing: CrossingContext::default() }))
    }

    /// Any other body.
    pub fn boxed(body: impl http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Self(Kind::Boxed(body.boxed_unsync()))
    }

    /// Whether there is certainly nothing in it.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Kind::Empty)
    }

    /// The bytes, if they are all in hand.
    pub fn as_full(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Empty => Some(&[]),
            Kind::Full(bytes) => Some(bytes),
            Kind::Channel { .. } | Kind::Boxed(_) => None,
        }
    }

    /// The next chunk, or `None` at the end. Never an empty chunk.
    ///
    /// # Errors
    /// When the body broke off.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            match ready!(Pin::new(&mut *self).poll_frame_inner(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Some(Ok(bytes))),
                    // Trailers and empty chunks carry nothing for us.
                    Ok(_) | Err(_) => {}
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// The next chunk, or `None` at the end.
    ///
    /// # Errors
    /// When the body broke off.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    /// All of it.
    ///
    /// # Errors
    /// When the body broke off, or has more than `limit` bytes.
    pub async fn collect(mut self, limit: u64) -> Result<Bytes, BodyError> {
        if let Some(bytes) = self.as_full().filter(|bytes| bytes.len() as u64 <= limit) {
            return Ok(Bytes::copy_from_slice(bytes));
        }
        let mut collected = Vec::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            if collected.len() as u64 + chunk.len() as u64 > limit {
                return Err(BodyError::TooLarge(limit));
            }
            collected.extend_from_slice(&chunk);
        }
        Ok(collected.into())
    }

    fn poll_frame_inner(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match &mut this.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Channel { receiver, length, finished, crossing } => {
                let mut chunk = ready!(receiver.poll_recv(&mut Context::from_waker(crossing.waker(context))));
                if chunk.is_none() && finished.take().is_some_and(|finished| !finished.load(Ordering::Acquire)) {
                    chunk = Some(Err(BodyError::Stream("its writer was stopped before the end".to_owned())));
                }
                if let (Some(length), Some(Ok(bytes))) = (length, &chunk) {
                    *length = length.saturating_sub(bytes.len() as u64);
                }
                Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
            }
            Kind::Boxed(body) => Pin::new(body).poll_frame(context),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll_frame_inner(context)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Boxed(body) => body.is_end_stream(),
            Kind::Full(_) | Kind::Channel { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Channel { length: Some(length), .. } => SizeHint::with_exact(*length),
            Kind::Channel { length: None, .. } => SizeHint::default(),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}

/// The writing end of [`Body::channel`]. Dropping it ends the body.
#[derive(Debug)]
pub struct BodySender {
    sender: PollSender<Result<Bytes, BodyError>>,
    finished: Option<Arc<AtomicBool>>,
    crossing: CrossingContext,
}

impl BodySender {
    /// Writes a chunk, or the error that breaks the body off. Waits while the reader is behind.
    /// Gives `false` when the reader is gone.
    pub async fn send(&mut self, chunk: Result<Bytes, BodyError>) -> bool {
        let Self { sender, crossing, .. } = self;
        let reserve =
            std::future::poll_fn(|context| sender.poll_reserve(&mut Context::from_waker(crossing.waker(context))));
        reserve.await.is_ok() && sender.send_item(chunk).is_ok()
    }

    /// What was written is all of it: the body ends when this is dropped.
    pub fn finish(&mut self) {
        if let Some(finished) = &self.finished {
            finished.store(true, Ordering::Release);
        }
    }

    /// Waits until the reader is gone.
    pub async fn closed(&self) {
        if let Some(sender) = self.sender.get_ref() {
            sender.closed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Body as _;

    use super::{Body, BodyError};

    #[tokio::test]
    async fn a_channel_has_back_pressure() {
        let (mut sender, mut body) = Body::channel(None);
        for _ in 0..super::CHUNKS_IN_FLIGHT {
            assert!(sender.send(Ok(Bytes::from_static(b"x"))).await);
        }
        let blocked = sender.send(Ok(Bytes::from_static(b"y")));
        tokio::pin!(blocked);
        let pending =
            std::future::poll_fn(|context| std::task::Poll::Ready(blocked.as_mut().poll(context).is_pending())).await;
        assert!(pending, "a full channel makes the writer wait");
        assert_eq!(body.chunk().await, Some(Ok(Bytes::from_static(b"x"))));
        assert!(blocked.await);
    }

    #[tokio::test]
    async fn the_writer_learns_that_the_reader_is_gone() {
        let (mut sender, body) = Body::channel(None);
        drop(body);
        sender.closed().await;
        assert!(!sender.send(Ok(Bytes::new())).await);
    }

    #[tokio::test]
    async fn a_checked_channel_tells_an_end_from_a_stop() {
        let (mut sender, mut body) = Body::checked_channel(None);
        assert!(sender.send(Ok(Bytes::from_static(b"x"))).await);
        sender.finish();
        drop(sender);
        assert_eq!(body.chunk().await, Some(Ok(Bytes::from_static(b"x"))));
        assert_eq!(body.chunk().await, None);
        let (sender, mut body) = Body::checked_channel(None);
        drop(sender);
        assert!(matches!(body.chunk().await, Some(Err(BodyError::Stream(_)))));
        assert_eq!(body.chunk().await, None);
    }

    #[tokio::test]
    async fn collect_keeps_its_limit() {
        assert_eq!(Body::full("four").collect(4).await, Ok(Bytes::from_static(b"four")));
        assert_eq!(Body::full("five5").collect(4).await, Err(BodyError::TooLarge(4)));
    }

    #[test]
    fn a_known_length_is_hinted() {
        assert_eq!(Body::full("four").size_hint().exact(), Some(4));
        assert_eq!(Body::empty().size_hint().exact(), Some(0));
        assert_eq!(Body::channel(Some(9)).1.size_hint().exact(), Some(9));
        assert_eq!(Body::channel(None).1.size_hint().exact(), None);
    }
}
