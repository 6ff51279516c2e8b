//! The load generator: many connections on one thread, each with one request at a time. It does as little as can be done
//! for a request (one write, one read, a look at the head), so that the server is what is measured.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::client::AskError;
use crate::http::{BadResponse, Parser};

/// How long no connection may have anything to say.
const PATIENCE: Duration = Duration::from_secs(10);
const BUFFER: usize = 256 * 1024;

/// What is asked, and what is a good answer.
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) request: &'a [u8],
    /// The body that every answer must have: compared on the first answer of each connection, its length on all.
    pub(crate) body: &'a [u8],
}

struct Connection {
    stream: TcpStream,
    parser: Parser,
    sent: usize,
    checked: bool,
}

impl Load<'_> {
    /// Sends requests for a while. Gives how many were answered.
    pub(crate) fn run(&self, duration: Duration) -> Result<u64, AskError> {
        let mut poll = Poll::new()?;
        let mut connections = (0..self.connections)
            .map(|number| {
                let mut stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
                Ok(Connection { stream, parser: Parser::new(true), sent: 0, checked: false })
            })
            .collect::<io::Result<Vec<_>>>()?;
        let mut events = Events::with_capacity(self.connections.max(1));
        let mut buffer = vec![0; BUFFER];
        let mut answers = 0;
        let end = Instant::now() + duration;
        while Instant::now() < end {
            match poll.poll(&mut events, Some(PATIENCE)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            if events.is_empty() {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            for event in &events {
                answers += self.turn(&mut connections[event.token().0], &mut buffer)?;
            }
        }
        Ok(answers)
    }

    /// Writes and reads what can be written and read. Gives how many answers were completed.
    fn turn(&self, connection: &mut Connection, buffer: &mut [u8]) -> Result<u64, AskError> {
        let mut answers = 0;
        self.write(connection)?;
        loop {
            let read = match connection.stream.read(buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(answers),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(answers),
                Err(error) => return Err(error.into()),
            };
            if connection.parser.feed(&buffer[..read])? != read {
                return Err(BadResponse::Head("more was sent than was asked for".to_owned()).into());
            }
            if connection.parser.is_whole() {
                answers += 1;
                self.check(connection)?;
                connection.parser.reset(false);
                connection.sent = 0;
                self.write(connection)?;
            }
            // Less than there was room for: nothing is left, and what comes later is a new event.
            if read < buffer.len() {
                return Ok(answers);
            }
        }
    }

    fn write(&self, connection: &mut Connection) -> io::Result<()> {
        while connection.sent < self.request.len() {
            match connection.stream.write(&self.request[connection.sent..]) {
                Ok(sent) => connection.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn check(&self, connection: &mut Connection) -> Result<(), AskError> {
        let parser = &connection.parser;
        if parser.status() != 200 {
            return Err(AskError::status(parser));
        }
        let right = if connection.checked { None } else { parser.body() };
        if parser.length() != self.body.len() as u64 || right.is_some_and(|body| body != self.body) {
            return Err(AskError::Body(parser.length()));
        }
        connection.checked = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::Load;
    use crate::client::{AskError, get};

    /// Two connections to a server that gives this answer to every request.
    fn run(answer: &'static str) -> Result<u64, AskError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..2 {
            let listener = listener.try_clone().unwrap();
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                while stream.read(&mut request).is_ok_and(|read| read > 0)
                    && stream.write_all(answer.as_bytes()).is_ok()
                {}
            });
        }
        Load { address, connections: 2, request: &get("/"), body: b"hi" }.run(Duration::from_millis(50))
    }

    #[test]
    fn counts_good_answers_only() {
        assert!(run("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap() > 10);
        assert!(matches!(run("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno"), Err(AskError::Body(2))));
        assert!(matches!(run("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi!"), Err(AskError::Body(3))));
        assert!(matches!(run("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nhi"), Err(AskError::Status(500, _))));
        assert!(matches!(run("HTTP/1.1 200 OK\r\n\r\n"), Err(AskError::Response(_))));
    }
}
