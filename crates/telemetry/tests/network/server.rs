//! A collector on loopback: a server of HTTP/1.1 that reads what comes with the protocol's own descriptors, keeps it, and answers as a test says.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use flate2::read::GzDecoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::message::Message;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    /// As it came over the wire.
    pub(crate) bytes: usize,
    /// The same, not compressed.
    pub(crate) plain: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    /// `ExportTraceServiceRequest`
    pub(crate) fn message(&self) -> Message {
        Message::decode("collector.trace.v1.ExportTraceServiceRequest", &self.plain)
    }

    pub(crate) fn spans(&self) -> Vec<Message> {
        let scopes =
            self.message().list("resource_spans").into_iter().flat_map(|resource| resource.list("scope_spans"));
        scopes.flat_map(|scope| scope.list("spans")).collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.spans().iter().map(|span| span.text("name")).collect()
    }
}

/// What a request is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status, one more header and a body.
    Status(u16, (&'static str, &'static str), Vec<u8>),
    /// Nothing, as long as the connection lives.
    Silence,
    /// The end of the connection.
    End,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, ("content-type", "application/x-protobuf"), Vec::new())
    }

    pub(crate) fn partial(rejected_spans: i64, message: &str) -> Self {
        let body = Message::partial_success(rejected_spans, message);
        Self::Status(200, ("content-type", "application/x-protobuf"), body)
    }
}

/// A collector, as long as the test's runtime lives.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// A collector that answers each request, which is told its number from 0, with what `answer` gives.
    pub(crate) async fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), answer)
    }

    pub(crate) fn on(listener: TcpListener, answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (requests.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, answer) = (kept.clone(), answer.clone());
                tokio::spawn(async move { converse(stream, &kept, &*answer).await });
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The names of all spans that came, in their order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.requests().iter().flat_map(Request::names).collect()
    }
}

async fn converse(
    mut stream: TcpStream,
    kept: &Mutex<Vec<Request>>,
    answer: &(impl Fn(usize) -> Answer + Send + Sync),
) {
    while let Some(request) = read(&mut stream).await {
        let number = {
            let mut kept = kept.lock().unwrap();
            kept.push(request);
            kept.len() - 1
        };
        let (status, header, body) = match answer(number) {
            Answer::Status(status, header, body) => (status, header, body),
            Answer::Silence => {
                // It ends when the client gives up.
                drop(read(&mut stream).await);
                return;
            }
            Answer::End => return,
        };
        let (name, value) = header;
        let head = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n{name}: {value}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
            return;
        }
    }
}

/// The next request of a connection: its head, and as many bytes as that says.
async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head of text");
    let mut lines = head.lines();
    let line = lines.next().expect("a first line").to_owned();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(header).collect();
    let find = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value);
    let length = find("content-length").map_or(0, |length| length.parse().expect("a length"));
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = &bytes[end..end + length];
    let mut plain = Vec::new();
    match find("content-encoding") {
        Some("gzip") => drop(GzDecoder::new(body).read_to_end(&mut plain).expect("gzip")),
        encoding => {
            assert_eq!(encoding, None);
            plain.extend_from_slice(body);
        }
    }
    Some(Request { line, headers, bytes: length, plain })
}
