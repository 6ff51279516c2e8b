//! Frames: what files of the ledger consist of.
//!
//! A frame is a mark, the length of what it holds, the seal of the frame before it, what it holds, and its own seal over all of that (BLAKE3, cut to
//! 16 bytes). A flipped bit breaks the frame's seal, a frame that was taken out or put in breaks the next one's. Who reads goes on at the next
//! mark whose seal holds.

use std::io::{self, Read, Write};

/// What a frame begins with.
const MARK: [u8; 4] = *b"SKU1";
/// Bytes of a seal.
pub(super) const SEAL: usize = 16;
/// Bytes before what a frame holds: mark, length, the seal before.
const BEFORE: usize = MARK.len() + 4 + SEAL;
/// The largest frame. A length above that is none.
const LARGEST: usize = 64 << 20;

/// The seal of a frame.
pub(super) type Seal = [u8; SEAL];

/// The seal that comes before a file's first frame.
pub(super) const FIRST: Seal = [0; SEAL];

fn seal(parts: &[&[u8]]) -> Seal {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut seal = FIRST;
    hasher.finalize_xof().fill(&mut seal);
    seal
}

/// Writes a frame after one that has the seal `before`. Gives its own and its length in bytes.
pub(super) fn write(to: &mut impl Write, before: &Seal, holds: &[u8]) -> io::Result<(Seal, u64)> {
    let length = u32::try_from(holds.len()).ok().filter(|_| holds.len() <= LARGEST);
    let length = length.ok_or_else(|| io::Error::other("a frame of the ledger is too large"))?.to_le_bytes();
    let own = seal(&[&MARK, &length, before, holds]);
    // In one call, so that a frame is whole or the file's end.
    let frame = [&MARK, &length[..], before, holds, &own].concat();
    to.write_all(&frame)?;
    Ok((own, frame.len() as u64))
}

/// What is at a place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'f> {
    /// A frame.
    Frame {
        /// Where it begins.
        offset: usize,
        /// What it holds.
        holds: &'f [u8],
        /// Whether it is the one that was written after the frame before it.
        follows: bool,
    },
    /// Bytes that are no frame, with another frame after them.
    Broken { offset: usize, length: usize },
    /// The beginning of a frame at the end of the file, or what looks like one.
    Torn { offset: usize, length: usize },
}

/// The frames of a file.
pub(super) struct Frames<'f> {
    file: &'f [u8],
    offset: usize,
    last: Seal,
}

/// Reads a file whole.
pub(super) fn read(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl<'f> Frames<'f> {
    pub(super) fn new(file: &'f [u8]) -> Self {
        Self { file, offset: 0, last: FIRST }
    }

    /// The seal of the last frame that was read.
    pub(super) fn last_seal(&self) -> Seal {
        self.last
    }

    /// The frame at an offset, if its seal holds: what it holds, the seal before it, its own, and where it ends.
    fn at(&self, offset: usize) -> Option<(&'f [u8], Seal, Seal, usize)> {
        let head = self.file.get(offset..offset + BEFORE)?;
        let length = u32::from_le_bytes(head[MARK.len()..MARK.len() + 4].try_into().ok()?);
        let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST)?;
        let (begin, end) = (offset + BEFORE, offset + BEFORE + length);
        let holds = self.file.get(begin..end)?;
        let own: Seal = self.file.get(end..end + SEAL)?.try_into().ok()?;
        let before: Seal = head[MARK.len() + 4..].try_into().ok()?;
        let is_whole = head.starts_with(&MARK) && seal(&[head, holds]) == own;
        is_whole.then_some((holds, before, own, end + SEAL))
    }
}

impl<'f> Iterator for Frames<'f> {
    type Item = Found<'f>;

    fn next(&mut self) -> Option<Found<'f>> {
        let offset = self.offset;
        if offset >= self.file.len() {
            return None;
        }
        if let Some((holds, before, own, end)) = self.at(offset) {
            let follows = before == self.last;
            (self.offset, self.last) = (end, own);
            return Some(Found::Frame { offset, holds, follows });
        }
        let marks =
            (offset + 1..self.file.len().saturating_sub(BEFORE)).filter(|at| self.file[*at..].starts_with(&MARK));
        match marks.into_iter().find(|at| self.at(*at).is_some()) {
            Some(next) => {
                self.offset = next;
                Some(Found::Broken { offset, length: next - offset })
            }
            None => {
                self.offset = self.file.len();
                Some(Found::Torn { offset, length: self.file.len() - offset })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST, Found, Frames, write};

    fn file(frames: &[&[u8]]) -> Vec<u8> {
        let (mut file, mut last) = (Vec::new(), FIRST);
        for frame in frames {
            last = write(&mut file, &last, frame).expect("written").0;
        }
        file
    }

    fn held(file: &[u8]) -> (Vec<&[u8]>, usize) {
        let (mut held, mut other) = (Vec::new(), 0);
        for found in Frames::new(file) {
            match found {
                Found::Frame { holds, follows: true, .. } => held.push(holds),
                Found::Frame { holds, follows: false, .. } => {
                    held.push(holds);
                    other += 1;
                }
                _ => other += 1,
            }
        }
        (held, other)
    }

    #[test]
    fn what_is_written_is_read() {
        let file = file(&[b"one", b"", b"three"]);
        assert_eq!(held(&file), (vec![&b"one"[..], b"", b"three"], 0));
        assert_eq!(Frames::new(&[]).next(), None);
    }

    #[test]
    fn every_flipped_bit_is_found_and_costs_one_frame() {
        let whole = file(&[b"one", b"two", b"three"]);
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (held, other) = held(&flipped);
            assert_eq!(held.len(), 2, "bit {bit}");
            assert!(other >= 1, "bit {bit}");
        }
    }

    #[test]
    fn every_cut_is_found_but_one_between_frames() {
        let whole = file(&[b"one", b"two"]);
        let first = file(&[b"one"]).len();
        for length in 1..whole.len() {
            let (held, other) = held(&whole[..length]);
            assert_eq!(held.len(), usize::from(length >= first), "{length}");
            assert_eq!(other, usize::from(length != first), "{length}");
        }
    }

    #[test]
    fn a_frame_that_is_taken_out_or_put_in_is_found() {
        let whole = file(&[b"one", b"two", b"three"]);
        let (one, two) = (file(&[b"one"]).len(), file(&[b"one", b"two"]).len());
        assert_eq!(held(&[&whole[..one], &whole[two..]].concat()), (vec![&b"one"[..], b"three"], 1));
        assert_eq!(held(&[&whole[..two], &whole[one..]].concat()).1, 1);
    }
}
