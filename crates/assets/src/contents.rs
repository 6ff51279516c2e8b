//! Where contents come from: the trait that a store of files implements, two small implementations, and the body that reads a
//! large file piece by piece.

use std::collections::HashMap;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use skep_exchange::BodyError;

use crate::{AssetHash, Encoding};

/// How much of a large file is in memory for each response, in bytes.
pub(crate) const PIECE: u64 = 256 * 1024;

/// A content that is being read; nothing if there is none of that hash and coding.
pub type Reading<'a> = Pin<Box<dyn Future<Output = io::Result<Option<Bytes>>> + Send + 'a>>;

/// Where contents are stored, by their hash. Whoever stores them has checked that they fit it: [`AssetHash::of`].
///
/// It is asked only for what is not in the cache, and may wait, but not block the thread.
pub trait Contents: Send + Sync + 'static {
    /// Reads a whole content.
    fn read(&self, hash: AssetHash, encoding: Encoding) -> Reading<'_>;

    /// Reads some bytes of a content: of files over 1 MiB only, 256 KiB at a time. Fewer bytes than asked for are its end.
    fn read_range(&self, hash: AssetHash, encoding: Encoding, range: Range<u64>) -> Reading<'_> {
        let whole = self.read(hash, encoding);
        Box::pin(async move {
            let part = |whole: Bytes| {
                let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(whole.len());
                whole.slice(usize::try_from(range.start).unwrap_or(usize::MAX).min(end)..end)
            };
            Ok(whole.await?.map(part))
        })
    }
}

/// Contents in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryContents(HashMap<(AssetHash, Encoding), Bytes>);

impl MemoryContents {
    /// Adds a content.
    pub fn add(&mut self, hash: AssetHash, encoding: Encoding, content: impl Into<Bytes>) {
        self.0.insert((hash, encoding), content.into());
    }
}

impl Contents for MemoryContents {
    fn read(&self, hash: AssetHash, encoding: Encoding) -> Reading<'_> {
        Box::pin(std::future::ready(Ok(self.0.get(&(hash, encoding)).cloned())))
    }
}

/// Files on disk as they were when they were hashed: what the development server serves. See [`Folder::contents`](crate::upload::Folder::contents).
#[derive(Clone, Debug, Default)]
pub struct FileContents(pub(crate) HashMap<AssetHash, PathBuf>);

impl FileContents {
    /// Reads on a thread that may block.
    fn on_disk(&self, hash: AssetHash, encoding: Encoding, range: Option<Range<u64>>) -> Reading<'_> {
        let Some(path) = self.0.get(&hash).filter(|_| encoding == Encoding::Identity).cloned() else {
            return Box::pin(std::future::ready(Ok(None)));
        };
        let read = move || match read_file(&path, range) {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))),
        };
        Box::pin(async move { tokio::task::spawn_blocking(read).await.map_err(io::Error::other)? })
    }
}

impl Contents for FileContents {
    fn read(&self, hash: AssetHash, encoding: Encoding) -> Reading<'_> {
        self.on_disk(hash, encoding, None)
    }

    fn read_range(&self, hash: AssetHash, encoding: Encoding, range: Range<u64>) -> Reading<'_> {
        self.on_disk(hash, encoding, Some(range))
    }
}

/// Reads a file, or some bytes of it. A file that grew since it was hashed is read to its old limit only.
fn read_file(path: &PathBuf, range: Option<Range<u64>>) -> io::Result<Vec<u8>> {
    let range = range.unwrap_or(0..crate::manifest::MAX_FILE_SIZE);
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(range.start))?;
    let mut content = Vec::new();
    file.take(range.end.saturating_sub(range.start)).read_to_end(&mut content)?;
    Ok(content)
}

/// A body that reads a stored content piece by piece, as fast as the client takes it.
pub(crate) struct Pieces {
    contents: Arc<dyn Contents>,
    hash: AssetHash,
    encoding: Encoding,
    /// What is still to be read.
    range: Range<u64>,
    /// The piece that was read to see that there is a content, or that is being read.
    first: Option<Bytes>,
    reading: Option<Reading<'static>>,
}

impl Pieces {
    /// Reads the first piece. Gives nothing if there is no such content.
    pub(crate) async fn open(
        contents: Arc<dyn Contents>,
        hash: AssetHash,
        encoding: Encoding,
        range: Range<u64>,
    ) -> io::Result<Option<Self>> {
        let first = contents.read_range(hash, encoding, next_piece(&range)).await?;
        Ok(first.map(|first| Self { contents, hash, encoding, range, first: Some(first), reading: None }))
    }
}

fn next_piece(range: &Range<u64>) -> Range<u64> {
    range.start..range.end.min(range.start.saturating_add(PIECE))
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.range.is_empty() {
            return Poll::Ready(None);
        }
        let piece = match this.first.take() {
            Some(first) => Ok(Some(first)),
            None => {
                let (contents, hash, encoding) = (Arc::clone(&this.contents), this.hash, this.encoding);
                let wanted = next_piece(&this.range);
                let reading = this
                    .reading
                    .get_or_insert_with(|| Box::pin(async move { contents.read_range(hash, encoding, wanted).await }));
                let piece = ready!(reading.as_mut().poll(context));
                this.reading = None;
                piece
            }
        };
        let left = this.range.end - this.range.start;
        let result = match piece {
            Ok(Some(piece)) if !piece.is_empty() => {
                let piece = piece.slice(..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                this.range.start += piece.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            Ok(_) => BodyError::Transport("the file became shorter while it was sent".to_owned()),
            Err(error) => BodyError::Transport(error.to_string()),
        };
        this.range.start = this.range.end;
        Poll::Ready(Some(Err(result)))
    }

    fn is_end_stream(&self) -> bool {
        self.range.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.end - self.range.start)
    }
}
