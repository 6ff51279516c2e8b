//! Segments: the files of one Worker, and the heads of the frames in them, which are in memory.
//!
//! A file is only added to. What could not be written whole is cut off again, and the next frame goes to another file. Opening reads heads and no
//! blocks: a frame that was begun at the end of a file is cut off, and a place where no frame is, is told and left out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::Unpacker;
use crate::frame::{self, HEAD, Head, LONGEST_NAMES, MARK, Owner, Summary};

/// What a file takes on a disk is a multiple of this, in bytes.
const PAGE: u64 = 4096;
/// Ends of names.
const PACKED: &str = "log";
const YOUNG: &str = "young";

/// Whether frames of a file have their full size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// They have.
    Packed,
    /// They are what came in a second, and are packed later.
    Young,
}

/// Where a frame is, and its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) offset: u64,
    pub(crate) head: Head,
}

/// A file.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) path: Arc<Path>,
    /// By sequence.
    pub(crate) frames: Vec<Placed>,
    /// What all of them hold.
    pub(crate) summary: Summary,
    /// Where the last frame ends, in bytes.
    pub(crate) length: u64,
    /// Whether nothing may be added to it, as something that is no frame may be behind the last one.
    pub(crate) is_closed: bool,
}

/// Why a frame cannot be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The file is not there: it was packed, or removed for its age or the room that it took.
    Gone,
    /// What is there is not what was written, or cannot be read.
    Damaged(String),
    /// The file cannot be opened now: it says nothing about what is in it.
    Closed(io::Error),
}

impl Segment {
    /// A file that is made with its first frame, which begins with an entry of a sequence.
    pub(crate) fn new(folder: &Path, owner: &Owner, kind: Kind, first: u64) -> Self {
        let end = if kind == Kind::Packed { PACKED } else { YOUNG };
        let path = folder.join(format!("{}-{first:016x}.{end}", worker_id(owner)));
        Self::empty(path.into())
    }

    fn empty(path: Arc<Path>) -> Self {
        Self { path, frames: Vec::new(), summary: Summary::EMPTY, length: 0, is_closed: false }
    }

    fn hold(&mut self, placed: Placed) {
        self.summary.add(&placed.head.summary);
        self.frames.push(placed);
    }

    /// What it takes on the disk, in bytes.
    pub(crate) fn cost(&self) -> u64 {
        self.length.next_multiple_of(PAGE)
    }

    /// Adds a frame. When that fails nothing of it is there.
    pub(crate) fn append(&mut self, head: Head, frame: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true).create_new(self.length == 0).mode(0o600);
        let written = options.open(&self.path).and_then(|mut file| {
            // In one call, so that a frame is whole or the file's end.
            file.write_all(frame).inspect_err(|_| drop(file.set_len(self.length)))
        });
        match written {
            Ok(()) => {
                self.hold(Placed { offset: self.length, head });
                self.length += frame.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.is_closed = true;
                if self.length == 0 {
                    // If it stays, it is empty, or the beginning of a frame, which the next start removes.
                    drop(fs::remove_file(&self.path));
                }
                Err(error)
            }
        }
    }

    /// The name of its file.
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

/// The part of a file's name that stands for its Worker.
fn worker_id(owner: &Owner) -> String {
    let id: [u8; 8] = frame::seal(&[owner.account.as_bytes(), &[0], owner.worker.as_bytes()]);
    format!("{:016x}", u64::from_be_bytes(id))
}

/// The kind of a file with a name. `None` if it is not ours.
fn kind_of(name: &str) -> Option<Kind> {
    let (name, end) = name.rsplit_once('.')?;
    let (worker, first) = name.split_once('-')?;
    let is_number = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let kind = match end {
        PACKED => Kind::Packed,
        YOUNG => Kind::Young,
        _ => return None,
    };
    (is_number(worker) && is_number(first)).then_some(kind)
}

/// What is in a folder.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// Files of each kind with the Worker that they belong to, by their first sequence.
    pub(crate) segments: Vec<(Owner, Kind, Segment)>,
    /// What the operator should know.
    pub(crate) damages: Vec<String>,
}

/// Opens all files of a folder.
///
/// # Errors
/// When the folder or a file cannot be read, or what was begun cannot be cut off.
pub(crate) fn open(folder: &Path) -> io::Result<Opened> {
    let mut opened = Opened::default();
    let mut paths: Vec<(PathBuf, Kind)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(kind) = path.file_name().and_then(|name| name.to_str()).and_then(kind_of) {
            paths.push((path, kind));
        }
    }
    for (path, kind) in paths {
        if let Some((owner, segment)) = open_file(path, &mut opened.damages)? {
            opened.segments.push((owner, kind, segment));
        }
    }
    opened.segments.sort_by_key(|(.., segment)| segment.summary.first);
    Ok(opened)
}

/// Opens a file. `None` if no frame in it can be read: then it goes, as nobody would ever remove it.
fn open_file(path: PathBuf, damages: &mut Vec<String>) -> io::Result<Option<(Owner, Segment)>> {
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let size = file.metadata()?.len();
    let mut segment = Segment::empty(path.into());
    let mut whose: Option<Owner> = None;
    let mut buffer = vec![0; HEAD + LONGEST_NAMES];
    let mut offset = 0;
    while offset < size {
        let read = read_up_to(&file, &mut buffer, offset)?;
        let Some(head) = Head::read(&buffer[..read]) else {
            if size - offset < HEAD as u64 {
                break;
            }
            let next = next_head(&file, offset + 1, size)?;
            let length = next.unwrap_or(size) - offset;
            damages.push(damage(&segment, offset, &format!("{length} bytes are no frame")));
            match next {
                Some(next) => offset = next,
                None => break,
            }
            continue;
        };
        if size - offset < head.length() {
            break;
        }
        let owner = head.owner(&buffer[HEAD..read]);
        // Whoever put another Worker's frame into this file did not do it by flipping a bit.
        match owner.filter(|owner| whose.as_ref().is_none_or(|whose| whose == owner)) {
            Some(owner) => {
                whose.get_or_insert(owner);
                segment.hold(Placed { offset, head });
            }
            None => damages.push(damage(&segment, offset, "whose frame it is cannot be read")),
        }
        offset += head.length();
        segment.length = offset;
    }
    if segment.length < size {
        file.set_len(segment.length)?;
    }
    let Some(owner) = whose else {
        fs::remove_file(&segment.path)?;
        return Ok(None);
    };
    Ok(Some((owner, segment)))
}

/// What the operator is told about a place of a file.
pub(crate) fn damage(segment: &Segment, offset: u64, what: &str) -> String {
    format!(
        "the log file {} is damaged at byte {offset}: {what}; that part is left out of searches, the rest is served: look at the disk",
        segment.name()
    )
}

/// Fills a buffer from an offset, or as much of it as the file has.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Where the next whole head is. Files are small: the rest is read at once.
fn next_head(file: &File, from: u64, size: u64) -> io::Result<Option<u64>> {
    let mut rest = vec![0; usize::try_from(size - from).map_err(io::Error::other)?];
    file.read_exact_at(&mut rest, from)?;
    let is_head = |at: &usize| Head::read(&rest[*at..]).is_some();
    Ok(memchr::memmem::find_iter(&rest, &MARK).find(is_head).map(|at| from + at as u64))
}

/// Reads blocks of frames, one after the other.
pub(crate) struct Reader {
    unpacker: Unpacker,
    block: Vec<u8>,
    /// The entries of the block that was read last.
    pub(crate) raw: Vec<u8>,
}

impl Reader {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { unpacker: Unpacker::new()?, block: Vec::new(), raw: Vec::new() })
    }

    /// Reads the block of a frame into [`Self::raw`].
    pub(crate) fn read(&mut self, segment: &Segment, placed: &Placed) -> Result<(), Unreadable> {
        let damaged = |why: String| Unreadable::Damaged(damage(segment, placed.offset, &why));
        let file = File::open(&segment.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unreadable::Gone,
            _ => Unreadable::Closed(error),
        })?;
        self.block.resize(placed.head.block as usize, 0);
        let begin = placed.offset + (HEAD + placed.head.owner_length()) as u64;
        file.read_exact_at(&mut self.block, begin).map_err(|error| damaged(error.to_string()))?;
        if frame::seal(&[&self.block]) != placed.head.seal {
            return Err(damaged("a frame's seal is not that of its entries".to_owned()));
        }
        let unpacked = self.unpacker.unpack(&self.block, &placed.head.summary, &mut self.raw);
        unpacked.map_err(|error| damaged(error.to_string()))
    }
}
