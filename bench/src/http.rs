//! HTTP/1.1 responses as they come over a connection that stays open. What is not needed to measure a server is refused:
//! bodies without a length, informational responses, more than was asked for.

/// The most bytes a response's head may have.
const LARGEST_HEAD: usize = 64 * 1024;
/// The most headers a response may have.
const MOST_HEADERS: usize = 64;

/// Why bytes are no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadResponse {
    #[error("the response's head is not HTTP/1.1: {0}")]
    Head(String),
    #[error("the response has neither a content-length nor chunks")]
    NoLength,
    #[error("the response's chunks are broken")]
    Chunk,
}

/// Reads one response after the other, in pieces of any size.
#[derive(Debug)]
pub(crate) struct Parser {
    state: State,
    /// The first part of a head that came in pieces.
    head: Vec<u8>,
    status: u16,
    length: u64,
    body: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes of a body with a length are missing.
    Sized(u64),
    Chunked(Chunk),
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In the line that says how many bytes there are; so many as far as it was read.
    Size { size: u64, digits: u8 },
    /// In the rest of that line.
    Extension(u64),
    /// So many bytes are missing.
    Data(u64),
    /// In the line break after the bytes.
    End,
    /// In a line after the last chunk, which is the last one if it is empty.
    Trailer { empty: bool },
}

// === impl Parser ===

impl Parser {
    /// A parser of a response, which keeps its body or only counts it. What comes with a status other than 200 is kept.
    pub(crate) fn new(keep_body: bool) -> Self {
        let body = keep_body.then(Vec::new);
        Self { state: State::Head, head: Vec::new(), status: 0, length: 0, body }
    }

    /// Makes ready for the next response.
    pub(crate) fn reset(&mut self, keep_body: bool) {
        self.state = State::Head;
        self.head.clear();
        self.length = 0;
        self.body = keep_body.then(Vec::new);
    }

    /// Whether the response has come to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// The status, once the head is there.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Bytes of the body so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The body so far, if it is kept.
    pub(crate) fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    /// Takes what came. Gives how much of it belongs to this response.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<usize, BadResponse> {
        let mut used = 0;
        while used < input.len() && self.state != State::Whole {
            let rest = &input[used..];
            used += match self.state {
                State::Head => self.read_head(rest)?,
                State::Sized(missing) => {
                    let taken = self.take(rest, missing);
                    self.state = sized(missing - taken as u64);
                    taken
                }
                State::Chunked(Chunk::Data(missing)) => {
                    let taken = self.take(rest, missing);
                    let missing = missing - taken as u64;
                    self.state = State::Chunked(if missing == 0 { Chunk::End } else { Chunk::Data(missing) });
                    taken
                }
                State::Chunked(chunk) => {
                    self.state = chunk.next(rest[0])?;
                    1
                }
                State::Whole => 0,
            };
        }
        Ok(used)
    }

    /// Bytes of the body: all of these, or as many as are missing.
    fn take(&mut self, input: &[u8], missing: u64) -> usize {
        let taken = usize::try_from(missing).unwrap_or(usize::MAX).min(input.len());
        self.length += taken as u64;
        if let Some(body) = &mut self.body {
            body.extend_from_slice(&input[..taken]);
        }
        taken
    }

    fn read_head(&mut self, input: &[u8]) -> Result<usize, BadResponse> {
        if self.head.is_empty() {
            if let Some(head) = Head::parse(input)? {
                self.begin(&head);
                return Ok(head.bytes);
            }
            self.head.extend_from_slice(input);
            return Ok(input.len());
        }
        let before = self.head.len();
        self.head.extend_from_slice(input);
        match Head::parse(&self.head)? {
            Some(head) => {
                self.begin(&head);
                Ok(head.bytes - before)
            }
            None if self.head.len() > LARGEST_HEAD => Err(BadResponse::Head("it is too large".to_owned())),
            None => Ok(input.len()),
        }
    }

    fn begin(&mut self, head: &Head) {
        self.status = head.status;
        if head.status != 200 && self.body.is_none() {
            self.body = Some(Vec::new());
        }
        self.state = match head.framing {
            Framing::Length(length) => sized(length),
            Framing::Chunked => State::Chunked(Chunk::START),
        };
    }
}

fn sized(missing: u64) -> State {
    if missing == 0 { State::Whole } else { State::Sized(missing) }
}

// === impl Chunk ===

impl Chunk {
    const START: Self = Self::Size { size: 0, digits: 0 };

    /// What comes after one more byte that is not data. RFC 9112, section 7.1.
    fn next(self, byte: u8) -> Result<State, BadResponse> {
        let next = match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                Self::Size { size: size * 16 + u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(BadResponse::Chunk),
            (Self::Size { size, .. }, b'\r' | b';' | b' ' | b'\t') => Self::Extension(size),
            (Self::Extension(0), b'\n') => Self::Trailer { empty: true },
            (Self::Extension(size), b'\n') => Self::Data(size),
            (Self::Extension(size), _) => Self::Extension(size),
            (Self::End, b'\r') => Self::End,
            (Self::End, b'\n') => Self::START,
            (Self::Trailer { empty: true }, b'\n') => return Ok(State::Whole),
            (Self::Trailer { empty: false }, b'\n') => Self::Trailer { empty: true },
            (Self::Trailer { empty }, b'\r') => Self::Trailer { empty },
            (Self::Trailer { .. }, _) => Self::Trailer { empty: false },
            (Self::Size { .. } | Self::End | Self::Data(_), _) => return Err(BadResponse::Chunk),
        };
        Ok(State::Chunked(next))
    }
}

enum Framing {
    Length(u64),
    Chunked,
}

struct Head {
    status: u16,
    framing: Framing,
    bytes: usize,
}

// === impl Head ===

impl Head {
    /// The head that these bytes begin with, if all of it is there.
    fn parse(input: &[u8]) -> Result<Option<Self>, BadResponse> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let bytes = match response.parse(input) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(BadResponse::Head(error.to_string())),
        };
        let status = response.code.unwrap_or_default();
        let value = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok()
        };
        let framing = match (value("transfer-encoding"), value("content-length").map(str::parse)) {
            (Some(encoding), _) if encoding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
            (None, Some(Ok(length))) => Framing::Length(length),
            _ => return Err(BadResponse::NoLength),
        };
        Ok(Some(Self { status, framing, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::{BadResponse, Parser};

    /// Reads a response in pieces of every size, with some bytes after it.
    fn check(response: &str, expect: Result<(u16, &str), BadResponse>) {
        for size in 1..=response.len() {
            let mut parser = Parser::new(true);
            let mut used = 0;
            let input = format!("{response}HTTP");
            let outcome = loop {
                if parser.is_whole() || used == input.len() {
                    break Ok(());
                }
                let end = (used + size).min(input.len());
                match parser.feed(&input.as_bytes()[used..end]) {
                    Ok(taken) => used += taken,
                    Err(error) => break Err(error),
                }
            };
            let body = String::from_utf8_lossy(parser.body().unwrap()).into_owned();
            let found = outcome.map(|()| (parser.status(), body));
            assert_eq!(found, expect.clone().map(|(status, body)| (status, body.to_owned())));
            if expect.is_ok() {
                assert!(parser.is_whole(), "{response:?} in pieces of {size}");
                assert_eq!(used, response.len(), "{response:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn bodies_with_a_length() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Ok((200, "hi")));
        check("HTTP/1.1 404 Not Found\r\nx: y\r\ncontent-length: 0\r\n\r\n", Ok((404, "")));
    }

    #[test]
    fn bodies_in_chunks() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{head}0\r\n\r\n"), Ok((200, "")));
        check(&format!("{head}2\r\nhi\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"), Ok((200, "hi0123456789")));
        check(&format!("{head}0002\r\nhi\r\n0\r\na: b\r\nc: d\r\n\r\n"), Ok((200, "hi")));
        check(&format!("{head}x\r\nhi"), Err(BadResponse::Chunk));
        check(&format!("{head}2\r\nhi!\r\n"), Err(BadResponse::Chunk));
        check(&format!("{head}fffffffffffffffff\r\n"), Err(BadResponse::Chunk));
    }

    #[test]
    fn refused() {
        check("HTTP/1.1 200 OK\r\n\r\n", Err(BadResponse::NoLength));
        check("HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n", Err(BadResponse::NoLength));
        check("SSH-2.0-OpenSSH_9.2\r\n", Err(BadResponse::Head("invalid HTTP version".to_owned())));
    }

    #[test]
    fn one_after_the_other() {
        let mut parser = Parser::new(false);
        for length in [3_u64, 5] {
            parser.reset(false);
            let response =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length as usize));
            assert_eq!(parser.feed(response.as_bytes()), Ok(response.len()));
            assert!(parser.is_whole());
            assert_eq!((parser.length(), parser.body()), (length, None));
        }
    }
}
