//! What a connection of HTTP/1.1 is doing, told while it happens: so that somebody else can go on with it, or say what became of its
//! request, when this process is dead.
//!
//! A connection is idle when everything that its client has sent was answered, and the answer was given to the kernel. That must be
//! certain, as what was read is lost with the process: where it is not, the connection counts as one that is answering.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};

use skep_exchange::{Body, BodyError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Nothing: what its client has sent was answered.
    Nothing,
    /// A request is being read or handled; nothing of its answer was written.
    Handling,
    /// An answer is being written, or the connection is not HTTP any more.
    Answering,
    /// Nothing, once so many bytes have been written to the connection since it began. A thread may be stopped between the moment when the kernel
    /// has the last of an answer and the one when it says so, and the client goes on meanwhile.
    NothingAfter(u64),
}

/// Told what a connection is doing, before it does it. Dropped when the connection is over.
pub trait Track: Send + Sync {
    /// From now on.
    fn doing(&self, doing: Doing);
}

/// The end of a head.
const END: &[u8] = b"\r\n\r\n";
/// The end of a chunked body without trailers. No head has a line like its last one. RFC 9112, section 7.1.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
/// A body whose length is not known.
const UNKNOWN: u64 = u64::MAX;

/// What the requests of a connection are doing, shared between the service and the socket.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Those that are not answered completely.
    open: AtomicU32,
    /// Those that have begun since the connection did nothing.
    begun: AtomicU32,
    /// The length of the last one's body in bytes.
    body: AtomicU64,
}

/// A request that is not answered yet.
pub(crate) struct Open(Arc<Requests>);

impl Requests {
    pub(crate) fn begin(self: &Arc<Self>, body: Option<u64>) -> Open {
        self.body.store(body.unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Open {
    /// The response's body, which is the end of the request. One that is at hand is written at once.
    pub(crate) fn until_sent(self, response: http::Response<Body>) -> http::Response<Body> {
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            // It is not HTTP any more: this request stays open for as long as the connection.
            self.0.open.fetch_add(1, Ordering::Relaxed);
            return response;
        }
        if response.body().as_full().is_some() {
            return response;
        }
        response.map(|body| Body::boxed(Sent { body, _open: self }))
    }
}

/// A body that is being sent.
struct Sent {
    body: Body,
    _open: Open,
}

impl hyper::body::Body for Sent {
    type Data = bytes::Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// A socket whose reads and writes are watched.
pub(crate) struct Tracked {
    stream: TcpStream,
    requests: Arc<Requests>,
    track: Box<dyn Track>,
    doing: Doing,
    /// Bytes that were read since the connection did nothing.
    read: u64,
    /// The length of the first head in them.
    head: Option<u64>,
    /// The last bytes that were read.
    last: [u8; LAST_CHUNK.len()],
    /// Something is to be written that the kernel did not take.
    blocked: bool,
    /// Bytes that were written since the connection began.
    written: u64,
}

impl Tracked {
    pub(crate) fn new(stream: TcpStream, written: u64, requests: Arc<Requests>, track: Box<dyn Track>) -> Self {
        Self {
            stream,
            requests,
            track,
            doing: Doing::Nothing,
            read: 0,
            head: None,
            last: [0; LAST_CHUNK.len()],
            blocked: false,
            written,
        }
    }

    fn set(&mut self, doing: Doing) {
        if self.doing != doing {
            self.doing = doing;
            self.track.doing(doing);
        }
    }

    fn has_read(&mut self, bytes: &[u8]) {
        if self.head.is_none() {
            self.head = self.head_end(bytes);
        }
        self.read += bytes.len() as u64;
        let keep = bytes.len().min(self.last.len());
        self.last.rotate_left(keep);
        let start = self.last.len() - keep;
        self.last[start..].copy_from_slice(&bytes[bytes.len() - keep..]);
    }

    /// Where the first head ends, if it does in these bytes. Its end may have begun in those before.
    fn head_end(&self, bytes: &[u8]) -> Option<u64> {
        if self.read > 0 {
            let before = END.len() - 1;
            let mut seam = self.last[self.last.len() - before..].to_vec();
            seam.extend_from_slice(&bytes[..bytes.len().min(before)]);
            if let Some(at) = memchr::memmem::find(&seam, END) {
                return (self.read + (at + END.len()) as u64).checked_sub(before as u64);
            }
        }
        memchr::memmem::find(bytes, END).map(|at| self.read + (at + END.len()) as u64)
    }

    /// Something was written, or there is nothing to read. If nobody is answered any more, and what was read were whole requests, the
    /// connection does nothing.
    fn rest(&mut self, nothing_to_read: bool) {
        if self.doing == Doing::Nothing || self.blocked || self.requests.open.load(Ordering::Relaxed) > 0 {
            return;
        }
        // Who wants more has looked at everything before. A head that is not complete does not end so.
        let begun = self.requests.begun.load(Ordering::Relaxed);
        let several = nothing_to_read && begun > 0 && self.last.ends_with(END);
        if self.is_one_request() || several {
            (self.read, self.head) = (0, None);
            self.requests.begun.store(0, Ordering::Relaxed);
            self.set(Doing::Nothing);
        }
    }

    /// Whether what was read is one request, all of it.
    fn is_one_request(&self) -> bool {
        let (begun, body) = (self.requests.begun.load(Ordering::Relaxed), self.requests.body.load(Ordering::Relaxed));
        begun == 1
            && match body {
                UNKNOWN => self.last == LAST_CHUNK,
                length => self.head.is_some_and(|head| head + length == self.read),
            }
    }

    /// So many bytes are to be written: all that there are.
    fn will_write(&mut self, length: usize) {
        let last = self.requests.open.load(Ordering::Relaxed) == 0 && self.is_one_request();
        self.set(if last { Doing::NothingAfter(self.written + length as u64) } else { Doing::Answering });
    }

    fn has_written(&mut self, wanted: usize, written: &Poll<io::Result<usize>>) {
        self.blocked = match written {
            Poll::Ready(Ok(written)) => {
                self.written += *written as u64;
                *written < wanted
            }
            Poll::Ready(Err(_)) | Poll::Pending => true,
        };
    }
}

impl AsyncRead for Tracked {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stream.poll_read_ready(context)?.is_pending() {
            this.rest(true);
            return Poll::Pending;
        }
        if this.doing == Doing::Nothing {
            // Before anything is taken out of the kernel.
            this.set(Doing::Handling);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        match &read {
            Poll::Ready(Ok(())) => this.has_read(&buffer.filled()[before..]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending if this.read == 0 => this.set(Doing::Nothing),
            Poll::Pending => this.rest(true),
        }
        read
    }
}

impl AsyncWrite for Tracked {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.will_write(bytes.len());
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.has_written(bytes.len(), &written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = slices.iter().map(|slice| slice.len()).sum();
        this.will_write(length);
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.has_written(length, &written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        // Only called when everything that is to be written was written.
        this.rest(false);
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
