//! Bodies as resources: what JavaScript streams read from and write to.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::Write as _;
use std::rc::Rc;

use bytes::Bytes;
use deno_core::{
    AsyncRefCell, AsyncResult, BufView, CancelHandle, CancelTryFuture as _, OpState, RcRef, Resource, ResourceId, op2,
};
use deno_error::JsErrorBox;
use skep_exchange::{Body, BodyError, BodySender};

/// The most bytes that cross between a stream and the network at once.
const CHUNK: usize = 64 * 1024;

/// A body that JavaScript reads.
pub(crate) struct BodyResource {
    body: AsyncRefCell<Reader>,
    cancel: CancelHandle,
    length: Option<u64>,
    /// Bytes that were read.
    read: Rc<Cell<u64>>,
}

struct Reader {
    body: Body,
    /// The rest of a chunk that was larger than the reader wanted.
    rest: Bytes,
}

impl BodyResource {
    pub(crate) fn new(body: Body) -> Self {
        let length = http_body::Body::size_hint(&body).exact();
        Self {
            body: AsyncRefCell::new(Reader { body, rest: Bytes::new() }),
            cancel: CancelHandle::default(),
            length,
            read: Rc::default(),
        }
    }

    /// How many bytes of it were read, as it goes on.
    pub(crate) fn bytes_read(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.read)
    }
}

impl Resource for BodyResource {
    fn name(&self) -> Cow<'_, str> {
        "body".into()
    }

    fn read(self: Rc<Self>, limit: usize) -> AsyncResult<BufView> {
        Box::pin(async move {
            let cancel = RcRef::map(&self, |this| &this.cancel);
            let mut reader = RcRef::map(&self, |this| &this.body).borrow_mut().await;
            async {
                if reader.rest.is_empty() {
                    match reader.body.chunk().await {
                        Some(chunk) => {
                            reader.rest = chunk.map_err(|error| JsErrorBox::type_error(error.to_string()))?
                        }
                        None => return Ok(BufView::empty()),
                    }
                }
                let length = reader.rest.len().min(limit);
                self.read.set(self.read.get() + length as u64);
                Ok::<_, JsErrorBox>(BufView::from(reader.rest.split_to(length)))
            }
            .try_or_cancel(cancel)
            .await
        })
    }

    fn size_hint(&self) -> (u64, Option<u64>) {
        (self.length.unwrap_or(0), self.length)
    }

    fn cancel_read_ops(self: Rc<Self>) {
        self.cancel.cancel();
    }

    fn close(self: Rc<Self>) {
        self.cancel.cancel();
    }
}

/// How many bytes a body has, -1 if that is not known.
#[op2(fast)]
pub(crate) fn op_body_length(state: &OpState, #[smi] rid: ResourceId) -> f64 {
    let body = state.resource_table.get::<BodyResource>(rid).ok();
    body.and_then(|body| body.length).map_or(-1.0, |length| length as f64)
}

/// How a body is encoded on its way out: the `content-encoding` that a Worker asked for.
pub(crate) enum Encoder {
    Plain,
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Deflate(flate2::write::ZlibEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
}

const GZIP_LEVEL: flate2::Compression = flate2::Compression::new(6);
const BROTLI_BUFFER: usize = 4096;
const BROTLI_QUALITY: u32 = 4;
const BROTLI_WINDOW: u32 = 20;

impl Encoder {
    /// The encoder for a `content-encoding`, plain if it is none that is encoded here.
    pub(crate) fn new(content_encoding: &[u8]) -> Self {
        match content_encoding {
            b"gzip" | b"x-gzip" => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), GZIP_LEVEL)),
            b"deflate" => Self::Deflate(flate2::write::ZlibEncoder::new(Vec::new(), GZIP_LEVEL)),
            b"br" => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                BROTLI_QUALITY,
                BROTLI_WINDOW,
            ))),
            _ => Self::Plain,
        }
    }

    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }

    /// Encodes a chunk, flushed, so that a reader sees it at once.
    fn encode(&mut self, chunk: &[u8]) -> std::io::Result<Bytes> {
        let output = match self {
            Self::Plain => return Ok(Bytes::copy_from_slice(chunk)),
            Self::Gzip(encoder) => {
                encoder.write_all(chunk)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Self::Deflate(encoder) => {
                encoder.write_all(chunk)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Self::Brotli(encoder) => {
                encoder.write_all(chunk)?;
                encoder.flush()?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(output).into())
    }

    fn finish(self) -> std::io::Result<Bytes> {
        Ok(match self {
            Self::Plain => Bytes::new(),
            Self::Gzip(encoder) => encoder.finish()?.into(),
            Self::Deflate(encoder) => encoder.finish()?.into(),
            Self::Brotli(encoder) => encoder.into_inner().into(),
        })
    }

    /// Encodes a whole body.
    pub(crate) fn encode_all(mut self, bytes: Bytes) -> std::io::Result<Bytes> {
        if self.is_plain() {
            return Ok(bytes);
        }
        let mut encoded = self.encode(&bytes)?.to_vec();
        encoded.extend_from_slice(&self.finish()?);
        Ok(encoded.into())
    }
}

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// All of it was read.
    Completely,
    /// The reader went away.
    Abandoned,
    /// The stream failed, with this message.
    Failed(String),
}

/// Moves a resource's bytes into a body until either ends. Closes the resource. `sent` grows by the bytes that the body was given.
pub(crate) async fn pump(
    resource: Rc<dyn Resource>,
    mut sender: BodySender,
    mut encoder: Encoder,
    sent: &Cell<u64>,
) -> Pumped {
    let result = loop {
        let chunk = tokio::select! {
            chunk = resource.clone().read(CHUNK) => chunk,
            () = sender.closed() => break Pumped::Abandoned,
        };
        let encoded = match chunk {
            Ok(view) if view.is_empty() => match encoder.finish() {
                Ok(rest) => {
                    if !rest.is_empty() {
                        sent.set(sent.get() + rest.len() as u64);
                        sender.send(Ok(rest)).await;
                    }
                    sender.finish();
                    resource.close();
                    return Pumped::Completely;
                }
                Err(error) => break Pumped::Failed(error.to_string()),
            },
            Ok(view) => encoder.encode(&view).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match encoded {
            Ok(bytes) => {
                let length = bytes.len() as u64;
                if !sender.send(Ok(bytes)).await {
                    break Pumped::Abandoned;
                }
                sent.set(sent.get() + length);
            }
            Err(message) => break Pumped::Failed(message),
        }
    };
    if let Pumped::Failed(message) = &result {
        sender.send(Err(BodyError::Stream(message.clone()))).await;
    }
    resource.close();
    result
}
