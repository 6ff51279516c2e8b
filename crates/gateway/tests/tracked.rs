//! What a connection is doing, as whoever holds it beside this process is told.

use std::sync::Arc;
use std::time::Duration;

use skep_exchange::{Body, Request, Response};
use skep_gateway::{Answering, Connections, Doing, Handler, Server, ServerLimits, Track};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What a test leaves unread at most.
const MOST: usize = 1000;
/// How long a test waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers with what it got, in one piece or as a stream that its test ends.
struct Echo(mpsc::Sender<skep_exchange::BodySender>);

impl Handler for Echo {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        Box::pin(async move {
            if request.uri().path() == "/stream" {
                let (sender, body) = Body::channel(None);
                self.0.try_send(sender).expect("the test listens");
                return Response::new(body);
            }
            let bytes = request.into_body().collect(1 << 20).await.unwrap_or_default();
            Response::new(Body::full([b"<".as_slice(), &bytes, b">"].concat()))
        })
    }
}

struct Told(mpsc::Sender<Option<Doing>>);

impl Track for Told {
    fn doing(&self, doing: Doing) {
        let _ = self.0.try_send(Some(doing));
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.try_send(None);
    }
}

struct Connection {
    _server: Connections,
    client: TcpStream,
    told: mpsc::Receiver<Option<Doing>>,
    streams: mpsc::Receiver<skep_exchange::BodySender>,
}

impl Connection {
    async fn open() -> Self {
        let (sender, streams) = mpsc::channel(MOST);
        let server = Server::new(Echo(sender), ServerLimits::default()).connections();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let (stream, address) = listener.accept().await.expect("a connection");
        let (sender, told) = mpsc::channel(MOST);
        server.serve(stream, address, 0, Box::new(Told(sender)));
        Self { _server: server, client, told, streams }
    }

    async fn send(&mut self, text: &str) {
        self.client.write_all(text.replace('\n', "\r\n").as_bytes()).await.expect("sent");
    }

    /// Gives how many bytes came.
    async fn read_until(&mut self, end: &str) -> u64 {
        let mut text = String::new();
        while !text.ends_with(end) {
            let mut bytes = [0; 4096];
            let read =
                tokio::time::timeout(PATIENCE, self.client.read(&mut bytes)).await.expect("in time").expect("read");
            assert!(read > 0, "the connection ended after {text:?}");
            text += &String::from_utf8_lossy(&bytes[..read]);
        }
        text.len() as u64
    }

    async fn next(&mut self) -> Option<Doing> {
        tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("told in time").expect("told")
    }

    /// What is told until the connection does nothing again.
    async fn until_nothing(&mut self) -> Vec<Doing> {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Some(Doing::Nothing) => return all,
                Some(doing) => all.push(doing),
                None => panic!("the connection ended after {all:?}"),
            }
        }
    }
}

/// A request in parts, each sent after the one before was read, and the end of its answer.
async fn returns_to_nothing(parts: &[&str], end: &str) {
    let mut connection = Connection::open().await;
    let mut written = 0;
    for round in 0..2 {
        for part in parts {
            connection.send(part).await;
            tokio::task::yield_now().await;
        }
        written += connection.read_until(end).await;
        let told = connection.until_nothing().await;
        assert_eq!(told, [Doing::Handling, Doing::NothingAfter(written)], "{parts:?}, round {round}");
    }
    drop(connection.client.shutdown().await);
}

#[tokio::test]
async fn a_whole_request_with_its_answer_is_over() {
    let head = "POST / HTTP/1.1\nhost: h\n";
    returns_to_nothing(&["GET / HTTP/1.1\nhost: h\n\n"], "<>").await;
    returns_to_nothing(&["GET / HTTP/1.1\nho", "st: h\n\n"], "<>").await;
    returns_to_nothing(&[&format!("{head}content-length: 3\n\nabc")], "<abc>").await;
    returns_to_nothing(&[&format!("{head}content-length: 3\n\n"), "abc"], "<abc>").await;
    returns_to_nothing(&[&format!("{head}content-length: 3\n\na"), "bc"], "<abc>").await;
    returns_to_nothing(&[&format!("{head}transfer-encoding: chunked\n\n3\nabc\n0\n\n")], "<abc>").await;
    returns_to_nothing(&[&format!("{head}transfer-encoding: chunked\n\n"), "3\nabc\n", "0\n\n"], "<abc>").await;
}

#[tokio::test]
async fn a_part_of_a_request_is_not_nothing() {
    let mut connection = Connection::open().await;
    // A whole request, and the beginning of the next one.
    connection.send("GET / HTTP/1.1\nhost: h\n\nGET / HT").await;
    connection.read_until("<>").await;
    connection.send("TP/1.1\nhost: h\n\n").await;
    connection.read_until("<>").await;
    // Nothing was told in between.
    assert_eq!(connection.until_nothing().await, [Doing::Handling, Doing::Answering]);
    // The beginning of a body that looks like the end of a head.
    connection.send("POST / HTTP/1.1\nhost: h\ncontent-length: 20\n\nabcd\n\n").await;
    assert_eq!(connection.next().await, Some(Doing::Handling));
    let nothing = tokio::time::timeout(Duration::from_millis(50), connection.told.recv()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[tokio::test]
async fn a_stream_is_over_when_its_end_is_sent() {
    let mut connection = Connection::open().await;
    connection.send("GET /stream HTTP/1.1\nhost: h\n\n").await;
    let mut stream = connection.streams.recv().await.expect("a stream");
    assert!(stream.send(Ok("first".into())).await);
    connection.read_until("first\r\n").await;
    assert_eq!((connection.next().await, connection.next().await), (Some(Doing::Handling), Some(Doing::Answering)));
    let nothing = tokio::time::timeout(Duration::from_millis(50), connection.told.recv()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    drop(stream);
    connection.read_until("0\r\n\r\n").await;
    assert!(matches!(connection.until_nothing().await[..], [Doing::NothingAfter(_)]));
}

#[tokio::test]
async fn the_end_is_told() {
    let mut connection = Connection::open().await;
    connection.send("GET / HTTP/1.1\nhost: h\nconnection: close\n\n").await;
    connection.read_until("<>").await;
    while connection.next().await.is_some() {}
}
