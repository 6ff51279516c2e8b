//! The hash by which a content is known, as wrangler computes it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::manifest::{ManifestError, shorten};

/// What identifies a file's content: the first 16 bytes of BLAKE3 over the content in base64, followed by the file's
/// extension without its dot. It is what wrangler sends, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetHash([u8; 16]);

impl AssetHash {
    /// The hash of a content in hand. `extension` is that of the file's name, without the dot; empty if it has none.
    pub fn of(content: &[u8], extension: &str) -> Self {
        let mut hasher = AssetHasher::default();
        hasher.update(content);
        hasher.finish(extension)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for AssetHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for AssetHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for AssetHash {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, ManifestError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; 16];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let fits = pairs.len() == hash.len() && rest.is_empty();
        let is_read = fits
            && hash.iter_mut().zip(pairs).all(|(byte, [high, low])| match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    *byte = high << 4 | low;
                    true
                }
                _ => false,
            });
        if is_read { Ok(Self(hash)) } else { Err(ManifestError::Hash(shorten(text))) }
    }
}

impl Serialize for AssetHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AssetHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Makes an [`AssetHash`] of a content that comes in pieces.
#[derive(Default)]
pub struct AssetHasher {
    hasher: blake3::Hasher,
    /// Bytes that do not fill a group of three yet, which base64 makes four characters of.
    rest: Vec<u8>,
    text: String,
}

impl AssetHasher {
    /// Adds a piece.
    pub fn update(&mut self, mut piece: &[u8]) {
        const GROUPS: usize = 3 * 4_096;
        if !self.rest.is_empty() {
            let (head, tail) = piece.split_at(piece.len().min(3 - self.rest.len()));
            self.rest.extend_from_slice(head);
            piece = tail;
            if self.rest.len() < 3 {
                return;
            }
            let group = std::mem::take(&mut self.rest);
            self.encode(&group);
        }
        let (whole, rest) = piece.split_at(piece.len() / 3 * 3);
        whole.chunks(GROUPS).for_each(|groups| self.encode(groups));
        self.rest.extend_from_slice(rest);
    }

    /// The hash of all pieces.
    pub fn finish(mut self, extension: &str) -> AssetHash {
        let rest = std::mem::take(&mut self.rest);
        self.encode(&rest);
        self.hasher.update(extension.as_bytes());
        let mut hash = [0; 16];
        hash.copy_from_slice(&self.hasher.finalize().as_bytes()[..16]);
        AssetHash(hash)
    }

    fn encode(&mut self, groups: &[u8]) {
        self.text.clear();
        STANDARD.encode_string(groups, &mut self.text);
        self.hasher.update(self.text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::{AssetHash, AssetHasher, STANDARD};

    #[test]
    fn the_hash_is_wranglers() {
        // echo -n "$(base64 -w0 < file)html" | b3sum
        let content = b"<h1>hello</h1>\n";
        let mut text = STANDARD.encode(content);
        text.push_str("html");
        let expected: String = blake3::hash(text.as_bytes()).to_hex().chars().take(32).collect();
        assert_eq!(AssetHash::of(content, "html").to_string(), expected);
        assert_ne!(AssetHash::of(content, "txt").to_string(), expected);
    }

    #[test]
    fn a_hash_of_pieces_is_the_hash_of_the_whole() {
        let content: Vec<u8> = (0..100_000u32).map(|number| number.wrapping_mul(31) as u8).collect();
        for size in [1, 2, 3, 4, 5, 4_096, 50_000] {
            let mut hasher = AssetHasher::default();
            content.chunks(size).for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.finish("bin"), AssetHash::of(&content, "bin"), "{size}");
        }
    }
}
