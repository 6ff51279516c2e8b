//! The ids of traces and spans: bytes, of which one at least is not zero, written as hexadecimal digits.
//!
//! <https://www.w3.org/TR/trace-context/#trace-id>, <https://www.w3.org/TR/trace-context/#parent-id>

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// An id of so many bytes. Never all zeros, which stands for none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<const BYTES: usize>([u8; BYTES]);

/// The id of a trace: 32 digits.
pub type TraceId = Id<16>;

/// The id of a span: 16 digits.
pub type SpanId = Id<8>;

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It is too short or too long.
    #[error("an id has {0} hexadecimal digits")]
    Length(usize),
    /// Something is no digit. Capital letters are none.
    #[error("an id has digits from 0 to 9 and from a to f only, no capital letters")]
    Digit,
    /// It is all zeros.
    #[error("an id of zeros only stands for none")]
    Zero,
}

impl<const BYTES: usize> Id<BYTES> {
    /// An id of these bytes. None if all are zero.
    pub fn new(bytes: [u8; BYTES]) -> Option<Self> {
        (bytes != [0; BYTES]).then_some(Self(bytes))
    }

    /// An id that nothing else has.
    pub fn random() -> Self {
        loop {
            let mut bytes = [0; BYTES];
            for part in bytes.chunks_mut(16) {
                part.copy_from_slice(&Uuid::new_v4().as_bytes()[..part.len()]);
            }
            if let Some(id) = Self::new(bytes) {
                return id;
            }
        }
    }

    /// Its bytes, as they go over the wire.
    pub fn bytes(self) -> [u8; BYTES] {
        self.0
    }

    /// The id that is written so.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, IdError> {
        if text.len() != 2 * BYTES {
            return Err(IdError::Length(2 * BYTES));
        }
        let mut bytes = [0; BYTES];
        for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = byte_of(digits[0], digits[1]).ok_or(IdError::Digit)?;
        }
        Self::new(bytes).ok_or(IdError::Zero)
    }
}

impl<const BYTES: usize> FromStr for Id<BYTES> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text.as_bytes())
    }
}

impl<const BYTES: usize> fmt::Display for Id<BYTES> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl<const BYTES: usize> fmt::Debug for Id<BYTES> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Id({self})")
    }
}

impl<const BYTES: usize> Serialize for Id<BYTES> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const BYTES: usize> Deserialize<'de> for Id<BYTES> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// The byte that two lower-case hexadecimal digits write.
pub(crate) fn byte_of(high: u8, low: u8) -> Option<u8> {
    let digit = |letter: u8| match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    };
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_lower_case_digits_and_not_all_zero() {
        for (text, expected) in [
            ("00f067aa0ba902b7", Ok([0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7])),
            ("0000000000000001", Ok([0, 0, 0, 0, 0, 0, 0, 1])),
            ("0000000000000000", Err(IdError::Zero)),
            ("00F067aa0ba902b7", Err(IdError::Digit)),
            ("00f067aa0ba902bg", Err(IdError::Digit)),
            ("+0f067aa0ba902b7", Err(IdError::Digit)),
            ("00f067aa0ba902b", Err(IdError::Length(16))),
            ("00f067aa0ba902b70", Err(IdError::Length(16))),
            ("", Err(IdError::Length(16))),
            ("é0f067aa0ba902b", Err(IdError::Digit)),
        ] {
            assert_eq!(text.parse().map(SpanId::bytes), expected, "{text}");
        }
        let trace: TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse().expect("an id");
        assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(format!("{trace:?}"), "Id(4bf92f3577b34da6a3ce929d0e0e4736)");
        assert_eq!(TraceId::new([0; 16]), None);
    }

    #[test]
    fn no_two_are_the_same() {
        let traces: BTreeSet<_> = (0..1000).map(|_| TraceId::random()).collect();
        let spans: BTreeSet<_> = (0..1000).map(|_| SpanId::random()).collect();
        assert_eq!((traces.len(), spans.len()), (1000, 1000));
    }
}
