//! Paths of requests: decoded for the manifest, encoded for rules and redirects.
//!
//! A file has one path at which it is served: its own, each segment encoded as `encodeURIComponent` does. Other spellings of
//! it are redirected there, and rules are compared with this spelling only, so that none can be passed by writing `%61` for `a`.

use std::borrow::Cow;

/// A request's path in both forms.
#[derive(Debug)]
pub(crate) struct CanonicalPath<'a> {
    /// As files are named.
    pub(crate) decoded: Cow<'a, str>,
    /// As it is served.
    pub(crate) encoded: Cow<'a, str>,
    /// Whether the request wrote it as it is served.
    pub(crate) is_canonical: bool,
}

/// Characters that `encodeURIComponent` leaves as they are.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

impl<'a> CanonicalPath<'a> {
    pub(crate) fn of(raw: &'a str) -> Self {
        if is_plain(raw) {
            return Self { decoded: Cow::Borrowed(raw), encoded: Cow::Borrowed(raw), is_canonical: true };
        }
        let mut decoded = String::with_capacity(raw.len());
        for segment in without_dots(raw) {
            decoded.push('/');
            decoded.push_str(&decode(segment));
        }
        let decoded = collapse(&decoded);
        let encoded = encode(&decoded);
        let is_canonical = encoded == raw;
        Self { decoded: Cow::Owned(decoded), encoded: Cow::Owned(encoded), is_canonical }
    }
}

/// Whether a path is its own encoded and decoded form.
fn is_plain(raw: &str) -> bool {
    let mut before = b'x';
    raw.starts_with('/')
        && raw.bytes().all(|byte| {
            let is_plain = match byte {
                // an empty segment, or one that may be "." or ".."
                b'/' | b'.' => before != b'/',
                byte => is_unreserved(byte),
            };
            before = byte;
            is_plain
        })
}

/// The segments of a path, `.` and `..` resolved and backslashes taken for slashes, as the URL standard has it.
fn without_dots(raw: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    let mut all = raw.strip_prefix(['/', '\\']).unwrap_or(raw).split(['/', '\\']).peekable();
    while let Some(segment) = all.next() {
        let dots = match segment.len() {
            1 | 3 => usize::from(matches!(segment, "." | "%2e" | "%2E")),
            _ => 0,
        };
        let is_double = segment.to_ascii_lowercase().replace("%2e", ".") == "..";
        if is_double {
            segments.pop();
        } else if dots == 0 {
            segments.push(segment);
        }
        if (is_double || dots > 0) && all.peek().is_none() {
            segments.push("");
        }
    }
    segments
}

/// Decodes a text, unless it is not UTF-8 then or has a `%` that begins nothing: such a one is left as it is.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while place < bytes.len() {
        if bytes[place] != b'%' {
            decoded.push(bytes[place]);
            place += 1;
            continue;
        }
        let digit = |place: usize| bytes.get(place).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(place + 1), digit(place + 2)) else { return Cow::Borrowed(text) };
        decoded.push((high << 4 | low) as u8);
        place += 3;
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Several slashes in a row are one: a redirect to `//host` would lead to another site.
pub(crate) fn collapse(path: &str) -> String {
    let mut collapsed = String::with_capacity(path.len());
    for char in path.chars() {
        if char != '/' || !collapsed.ends_with('/') {
            collapsed.push(char);
        }
    }
    collapsed
}

/// Encodes each segment.
pub(crate) fn encode(path: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte == b'/' || is_unreserved(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    encoded
}

/// A piece of a rule's path in the form in which requests' paths are compared.
pub(crate) fn canonical_piece(piece: &str) -> String {
    let decoded: Vec<Cow<'_, str>> = piece.split('/').map(decode).collect();
    encode(&collapse(&decoded.join("/")))
}

#[cfg(test)]
mod tests {
    use super::CanonicalPath;

    #[test]
    fn one_spelling_is_canonical() {
        let check = |raw: &str, decoded: &str, encoded: &str| {
            let path = CanonicalPath::of(raw);
            assert_eq!((&*path.decoded, &*path.encoded), (decoded, encoded), "{raw}");
            assert_eq!(path.is_canonical, raw == encoded, "{raw}");
            let again = CanonicalPath::of(encoded);
            assert!(again.is_canonical, "{encoded} is redirected again");
        };
        check("/", "/", "/");
        check("/a/b.html", "/a/b.html", "/a/b.html");
        check("/.well-known/x", "/.well-known/x", "/.well-known/x");
        check("/...", "/...", "/...");
        check("/[boop]", "/[boop]", "/%5Bboop%5D");
        check("/%5Bboop%5D", "/[boop]", "/%5Bboop%5D");
        check("/%5bboop%5d", "/[boop]", "/%5Bboop%5D");
        check("/%255Bboop%255D", "/%5Bboop%5D", "/%255Bboop%255D");
        check("/beep/b%C3%B2op", "/beep/bòop", "/beep/b%C3%B2op");
        check("/bòop", "/bòop", "/b%C3%B2op");
        check("/@user", "/@user", "/%40user");
        check("/a//b///c", "/a/b/c", "/a/b/c");
        check("//evil.example", "/evil.example", "/evil.example");
        check("/\\evil.example", "/evil.example", "/evil.example");
        check("/bin%2F", "/bin/", "/bin/");
        check("/%ZZ", "/%ZZ", "/%25ZZ");
        check("/%FF", "/%FF", "/%25FF");
        check("/100%", "/100%", "/100%25");
        check("/a/./b/../c", "/a/c", "/a/c");
        check("/a/%2e%2E/c", "/c", "/c");
        check("/../../x", "/x", "/x");
        check("/a/..", "/", "/");
        check("/a/.", "/a/", "/a/");
        check("/a%0Ab", "/a\nb", "/a%0Ab");
        check("*", "/*", "/*");
        check("", "/", "/");
    }
}
