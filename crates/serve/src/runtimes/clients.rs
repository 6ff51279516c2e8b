//! Clients' connections, held here while another process serves them: when that dies, the next one goes on with those that were idle.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skep_exchange::Response;
use skep_link::{CONNECTIONS, State, Table};
use tokio::sync::mpsc;

/// How long a client may take to read the page that says what became of its request.
const LINGER: Duration = Duration::from_secs(2);

/// The connections.
pub(crate) struct Clients {
    held: Mutex<Held>,
    waiting: mpsc::Sender<u32>,
}

/// Connections that no process has, by their numbers.
pub(crate) type Waiting = mpsc::Receiver<u32>;

#[derive(Default)]
struct Held {
    connections: HashMap<u32, Connection>,
    free: Vec<u32>,
}

struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    /// A process has it.
    given: bool,
}

/// What became of the connections of a process that died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// The next process goes on with them.
    pub(crate) idle: usize,
    /// Their clients were told that their requests are lost.
    pub(crate) told: usize,
    /// They broke off in the middle of an answer.
    pub(crate) broken: usize,
}

impl Clients {
    pub(crate) fn new() -> (Self, Waiting) {
        let (waiting, numbers) = mpsc::channel(CONNECTIONS);
        (Self { held: Mutex::default(), waiting }, numbers)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection that nothing was read from. When there are too many, it is closed.
    pub(crate) fn take(&self, stream: TcpStream, address: SocketAddr) {
        let mut held = self.held();
        let next = held.connections.len();
        let number = held.free.pop().or_else(|| u32::try_from(next).ok().filter(|_| next < CONNECTIONS));
        let Some(number) = number else { return };
        held.connections.insert(number, Connection { stream, address, given: false });
        // Each number waits once at most, and somebody listens as long as there are clients.
        let _ = self.waiting.try_send(number);
    }

    /// A connection for a process, which has it from now on.
    pub(crate) fn give(&self, number: u32) -> Option<(TcpStream, SocketAddr)> {
        let mut held = self.held();
        let connection = held.connections.get_mut(&number)?;
        connection.given = true;
        Some((connection.stream.try_clone().ok()?, connection.address))
    }

    /// A connection is over.
    pub(crate) fn close(&self, number: u32) {
        let mut held = self.held();
        if held.connections.remove(&number).is_some() {
            held.free.push(number);
        }
    }

    /// The process that had them is dead. What it was doing with each is in its table.
    pub(crate) fn died(&self, table: &Table, page: &[u8]) -> Left {
        let mut left = Left::default();
        let mut held = self.held();
        let given: Vec<u32> = held.connections.iter().filter(|(_, one)| one.given).map(|(number, _)| *number).collect();
        for number in given {
            let state = match (table.state(number), held.connections.get(&number)) {
                (State::IdleAfter(last), Some(connection)) => match skep_link::written(connection.stream.as_fd()) {
                    Ok(written) if written == last => State::Idle,
                    _ => State::Answering,
                },
                (state, _) => state,
            };
            match state {
                State::Idle => {
                    left.idle += 1;
                    if let Some(connection) = held.connections.get_mut(&number) {
                        connection.given = false;
                    }
                    let _ = self.waiting.try_send(number);
                }
                state => {
                    let Some(Connection { stream, .. }) = held.connections.remove(&number) else { continue };
                    held.free.push(number);
                    if state == State::Asked {
                        left.told += 1;
                        say_goodbye(stream, page);
                    } else {
                        left.broken += 1;
                        // A client that is gone as well need not be told.
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                }
            }
        }
        left
    }

    /// Closes all.
    pub(crate) fn close_all(&self) {
        self.held().connections.clear();
    }
}

/// Writes a page and closes the connection. What the client still sends is read for a while: closing over unread bytes would take the page
/// away from it.
fn say_goodbye(mut stream: TcpStream, page: &[u8]) {
    // A client that is gone as well, or reads nothing, need not be told.
    let _ = stream.write(page);
    let _ = stream.shutdown(Shutdown::Write);
    tokio::spawn(async move {
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
        let drain = async {
            let mut bytes = [0; 4096];
            loop {
                if stream.readable().await.is_err() {
                    return;
                }
                match stream.try_read(&mut bytes) {
                    Ok(0) => return,
                    Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                    Ok(_) | Err(_) => {}
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, drain).await;
    });
}

/// A page as HTTP/1.1 has it, with the end of its connection.
pub(crate) fn as_http(page: &Response) -> Vec<u8> {
    let body = page.body().as_full().unwrap_or_default();
    let mut bytes =
        format!("HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {}\r\n", page.status(), body.len()).into_bytes();
    for (name, value) in page.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use skep_link::{State, Table};

    use super::{Clients, Left, as_http};

    #[tokio::test]
    async fn the_next_process_goes_on_with_what_was_idle() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let connect = || {
            let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
            let (stream, address) = listener.accept().expect("accepted");
            stream.set_nonblocking(true).expect("set");
            (client, stream, address)
        };
        let (clients, mut waiting) = Clients::new();
        let mut ends = Vec::new();
        for _ in 0..6 {
            let (client, stream, address) = connect();
            clients.take(stream, address);
            ends.push(client);
        }
        let table = Table::new().expect("memory");
        // The last one is in nobody's hands yet.
        let (after, never) = (State::IdleAfter(3), State::IdleAfter(4));
        for state in [State::Idle, State::Asked, State::Answering, after, never] {
            let number = waiting.recv().await.expect("a number");
            let (mut stream, _) = clients.give(number).expect("there");
            if matches!(state, State::IdleAfter(_)) {
                stream.write_all(b"abc").expect("written");
            }
            table.set(number, state);
        }
        let page = as_http(&crate::dispatch::died());
        assert_eq!(clients.died(&table, &page), Left { idle: 2, told: 1, broken: 2 });
        let mut text = String::new();
        ends[1].read_to_string(&mut text).expect("read");
        assert!(text.starts_with("HTTP/1.1 502 Bad Gateway\r\n") && text.contains("connection: close"), "{text}");
        assert!(text.ends_with("</html>\n"), "{text}");
        text.clear();
        ends[2].read_to_string(&mut text).expect("read");
        assert_eq!(text, "");
        let mut numbers = Vec::new();
        for _ in 0..3 {
            let number = waiting.recv().await.expect("a number");
            numbers.push(number);
            let (mut stream, _) = clients.give(number).expect("there");
            stream.write_all(b"x").expect("written");
            let mut byte = [0];
            while byte != *b"x" {
                ends[number as usize].read_exact(&mut byte).expect("read");
            }
        }
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 3, 5]);
        // A number is used again.
        let (_client, stream, address) = connect();
        clients.take(stream, address);
        let number = waiting.recv().await.expect("a number");
        assert!([1, 2, 4].contains(&number), "{number}");
        clients.close(number);
        assert!(clients.give(number).is_none());
    }
}
