//! One connection, one request after the other: what latency, a stream and a first answer are measured with.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::http::{BadResponse, Parser};

/// How long an answer, or a piece of it, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("the connection failed: {0}")]
    Connection(#[from] io::Error),
    #[error(transparent)]
    Response(#[from] BadResponse),
    #[error("the status is {0}: {1}")]
    Status(u16, String),
    #[error("the body is another one ({0} bytes)")]
    Body(u64),
}

// === impl AskError ===

impl AskError {
    /// A status that is not 200, and the beginning of what was said to it.
    pub(crate) fn status(parser: &Parser) -> Self {
        let body = String::from_utf8_lossy(parser.body().unwrap_or_default());
        Self::Status(parser.status(), body.split_whitespace().take(40).collect::<Vec<_>>().join(" "))
    }
}

/// A request's bytes.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// The same for a host of its own.
pub(crate) fn get_from(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes()
}

/// The bytes of a request with a JSON document.
pub(crate) fn post(body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    parser: Parser,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, parser: Parser::new(false), buffer: vec![0; 256 * 1024] })
    }

    /// Whether the other side has left the connection open. Nothing may be under way on it.
    pub(crate) fn is_open(&self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        Ok(seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock))
    }

    /// Asks, and gives the whole body of the answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, AskError> {
        self.parser.reset(true);
        self.exchange(request, |_| {})?;
        Ok(self.parser.body().unwrap_or_default().to_vec())
    }

    /// Asks, and gives the whole body of an answer that may have any status of success.
    pub(crate) fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, AskError> {
        self.parser.reset(true);
        match self.exchange(request, |_| {}) {
            Err(AskError::Status(201..300, _)) | Ok(()) => Ok(self.parser.body().unwrap_or_default().to_vec()),
            Err(error) => Err(error),
        }
    }

    /// Asks, and gives how many bytes the body of the answer has. `progress` is told how many came, as they come.
    pub(crate) fn count(&mut self, request: &[u8], progress: impl FnMut(u64)) -> Result<u64, AskError> {
        self.parser.reset(false);
        self.exchange(request, progress)?;
        Ok(self.parser.length())
    }

    fn exchange(&mut self, request: &[u8], mut progress: impl FnMut(u64)) -> Result<(), AskError> {
        self.stream.write_all(request)?;
        while !self.parser.is_whole() {
            let read = self.stream.read(&mut self.buffer)?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if self.parser.feed(&self.buffer[..read])? != read {
                return Err(BadResponse::Head("more was sent than was asked for".to_owned()).into());
            }
            progress(self.parser.length());
        }
        if self.parser.status() == 200 { Ok(()) } else { Err(AskError::status(&self.parser)) }
    }
}
