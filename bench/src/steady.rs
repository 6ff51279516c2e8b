//! The open-loop load: so many requests each second, each when it is due, whatever became of those before. What a request
//! took is counted from when it was due, so that one that had to wait for a slow one before it counts as slow, too.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::client::AskError;
use crate::http::{BadResponse, Parser};

/// How long answers may take after the last request was due.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest wait that the system's timers can be asked for. Until a request that is due sooner, this thread looks again
/// and again.
const TICK: Duration = Duration::from_millis(1);

/// What is asked, and how often.
pub(crate) struct Steady<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) request: &'a [u8],
    /// The body that every answer must have.
    pub(crate) body: &'a [u8],
    /// Requests per second.
    pub(crate) rate: f64,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Milliseconds from when an answered request was due.
    pub(crate) times: Vec<f64>,
    pub(crate) failed: usize,
    /// Milliseconds by which requests were sent late though a connection was free: the load generator's own doing, because
    /// other programs had its core. Times are worth nothing that are not much longer.
    pub(crate) late: Vec<f64>,
}

struct Connection {
    stream: TcpStream,
    parser: Parser,
    /// When the request that is under way was due.
    due: Option<Instant>,
}

impl Steady<'_> {
    /// Asks for a while, and waits for the answers.
    pub(crate) fn run(&self, duration: Duration) -> io::Result<Taken> {
        let mut poll = Poll::new()?;
        let mut connections =
            (0..self.connections).map(|number| self.connect(&poll, number)).collect::<io::Result<Vec<Connection>>>()?;
        let mut idle: VecDeque<usize> = (0..self.connections).collect();
        let mut events = Events::with_capacity(self.connections.max(1));
        let mut buffer = vec![0; 64 * 1024];
        let (mut taken, mut begun) = (Taken::default(), 0);
        let total = (self.rate * duration.as_secs_f64()) as usize;
        let begin = Instant::now() + TICK;
        let due = |number: usize| begin + Duration::from_secs_f64(number as f64 / self.rate);
        let mut was_free = true;
        while taken.times.len() + taken.failed < total {
            let now = Instant::now();
            if now > begin + duration + PATIENCE {
                taken.failed = total - taken.times.len();
                break;
            }
            while begun < total
                && due(begun) <= now
                && let Some(number) = idle.pop_front()
            {
                let connection = &mut connections[number];
                connection.due = Some(due(begun));
                if was_free {
                    taken.late.push((now - due(begun)).as_secs_f64() * 1e3);
                }
                begun += 1;
                if connection.stream.write(self.request).is_ok_and(|sent| sent == self.request.len()) {
                    continue;
                }
                taken.failed += 1;
                connections[number] = self.connect(&poll, number)?;
                idle.push_back(number);
            }
            was_free = !idle.is_empty();
            let near = begun < total && was_free && due(begun) < Instant::now() + TICK;
            match poll.poll(&mut events, Some(if near { Duration::ZERO } else { TICK })) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            for number in events.iter().map(|event| event.token().0) {
                let connection = &mut connections[number];
                match connection.read(&mut buffer, self.body) {
                    Ok(false) => continue,
                    Ok(true) => {
                        let due = connection.due.take().unwrap_or(now);
                        taken.times.push(due.elapsed().as_secs_f64() * 1e3);
                    }
                    Err(error) => {
                        eprintln!("a request failed: {error}");
                        let was_asked = connection.due.is_some();
                        connections[number] = self.connect(&poll, number)?;
                        if !was_asked {
                            continue;
                        }
                        taken.failed += 1;
                    }
                }
                idle.push_back(number);
            }
        }
        Ok(taken)
    }

    fn connect(&self, poll: &Poll, number: usize) -> io::Result<Connection> {
        // It waits until the connection is there: what is measured begins with a request.
        let stream = std::net::TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        Ok(Connection { stream, parser: Parser::new(true), due: None })
    }
}

impl Connection {
    /// Reads what is there. Gives whether the answer is whole, and was the right one.
    fn read(&mut self, buffer: &mut [u8], body: &[u8]) -> Result<bool, AskError> {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            if self.due.is_none() || self.parser.feed(&buffer[..read])? != read {
                return Err(BadResponse::Head("more was sent than was asked for".to_owned()).into());
            }
            if self.parser.is_whole() {
                if self.parser.status() != 200 {
                    return Err(AskError::status(&self.parser));
                }
                if self.parser.body() != Some(body) {
                    return Err(AskError::Body(self.parser.length()));
                }
                self.parser.reset(true);
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::{Steady, Taken};
    use crate::client::get;

    /// 200 requests a second for 200 ms, on two connections, to a server that takes its time for each answer.
    fn run(answer: &'static str, pause: Duration) -> Taken {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut request = [0; 1024];
                    while stream.read(&mut request).is_ok_and(|read| read > 0) {
                        std::thread::sleep(pause);
                        if stream.write_all(answer.as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        let steady = Steady { address, connections: 2, request: &get("/"), body: b"hi", rate: 200.0 };
        steady.run(Duration::from_millis(200)).unwrap()
    }

    #[test]
    fn each_request_is_counted_once() {
        let good = run("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", Duration::ZERO);
        assert_eq!((good.times.len(), good.failed, good.late.len()), (40, 0, 40));
        let bad = run("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nhi", Duration::ZERO);
        assert_eq!((bad.times.len(), bad.failed), (0, 40));
    }

    #[test]
    fn who_waits_for_a_connection_is_slow() {
        let slow = run("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", Duration::from_millis(20));
        assert_eq!((slow.times.len(), slow.failed), (40, 0));
        assert!(slow.late.len() < 20, "that no connection is free is not the load generator's doing");
        // 40 requests of 20 ms on two connections take 400 ms, though all are due in 200 ms.
        assert!(slow.times.iter().any(|time| *time > 150.0), "{:?}", slow.times);
    }
}
