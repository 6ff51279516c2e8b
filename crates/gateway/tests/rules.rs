//! Requests that break the rules of HTTP, byte by byte: each is refused, its connection closed, and nothing that is hidden
//! in it is ever served. <https://www.rfc-editor.org/rfc/rfc9112>

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Body as _;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use skep_exchange::{Body, Request, Response};
use skep_gateway::{Answering, Handler, Listener, Server, ServerLimits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How long a test waits for something that should come at once.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest body that the servers here take, in bytes.
const LARGEST_BODY: u64 = 1000;

/// What the handler was given: method, path, and the body or `broken`.
type Served = Arc<Mutex<Vec<String>>>;

/// Answers everything, and remembers it. It does not read the body of what is sent to `/unread`.
struct Witness(Served);

impl Handler for Witness {
    fn handle(self: Arc<Self>, request: Request) -> Answering {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path();
            let body = match path {
                "/unread" => "unread".to_owned(),
                _ => match body.collect(1 << 20).await {
                    Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    Err(_) => "broken".to_owned(),
                },
            };
            let seen = format!("{} {path} {body}", parts.method);
            self.0.lock().unwrap().push(seen.trim_end().to_owned());
            Response::new(Body::full("served"))
        })
    }
}

/// A server, until this goes out of scope.
struct Running {
    address: SocketAddr,
    served: Served,
    _stop: watch::Sender<bool>,
}

impl Running {
    async fn start() -> Self {
        let limits = ServerLimits {
            header_timeout: Duration::from_millis(300),
            header_bytes: 8192,
            request_body: LARGEST_BODY,
            ..ServerLimits::default()
        };
        let listener = Listener::bind("127.0.0.1", 0).await.unwrap();
        let address = listener.address().unwrap();
        let served = Served::default();
        let server = Server::new(Witness(Arc::clone(&served)), limits);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move { server.serve(listener, stopped, Duration::ZERO).await });
        Self { address, served, _stop: stop }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes, and gives all that comes back until the server closes the connection.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        rest(&mut stream).await
    }

    /// What the handler has seen since the last time.
    fn served(&self) -> Vec<String> {
        std::mem::take(&mut *self.served.lock().unwrap())
    }

    /// The server answers others.
    async fn goes_on(&self) {
        let answer = self.send(b"GET /on HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(self.served(), ["GET /on"]);
    }
}

/// Everything that a server still sends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset is closed too.
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    drop(read.expect("the connection is closed"));
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of the answers in what came over a connection.
fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

/// Each of these is refused with a status, and no handler sees it.
async fn refused(status: &str, requests: &[&[u8]]) {
    let server = Running::start().await;
    for request in requests {
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        // What follows on the connection must not be served either.
        let followed = [request, b"GET /hidden HTTP/1.1\r\nhost: h\r\n\r\n".as_slice()].concat();
        let answer = server.send(&followed).await;
        assert_eq!(statuses(&answer), [status], "{shown:?} gives {answer}");
        assert_eq!(server.served(), [""; 0], "{shown:?}");
    }
    server.goes_on().await;
}

#[tokio::test]
async fn request_lines() {
    refused(
        "400",
        &[
            b"\0\0\0\0\r\n\r\n",
            b"GET\r\nhost: h\r\n\r\n",
            b"GET /\r\nhost: h\r\n\r\n",
            b"GET  / HTTP/1.1\r\nhost: h\r\n\r\n",
            b"GET / HTTP/1.1 more\r\nhost: h\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nhost: h\r\n\r\n",
            b"GET / HTTP/9.9\r\nhost: h\r\n\r\n",
            b"GET / HTTP/2.0\r\nhost: h\r\n\r\n",
            b"GET / http/1.1\r\nhost: h\r\n\r\n",
            b"G\x01T / HTTP/1.1\r\nhost: h\r\n\r\n",
            b"G(T / HTTP/1.1\r\nhost: h\r\n\r\n",
            b"GET /\x7f HTTP/1.1\r\nhost: h\r\n\r\n",
            b"GET /a\0b HTTP/1.1\r\nhost: h\r\n\r\n",
            b"GET path HTTP/1.1\r\nhost: h\r\n\r\n",
            b"GET other:80 HTTP/1.1\r\nhost: h\r\n\r\n",
            b"GET http:// HTTP/1.1\r\nhost: h\r\n\r\n",
            b"CONNECT h:443 HTTP/1.1\r\nhost: h:443\r\n\r\n",
            // the first bytes of a TLS handshake
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ],
    )
    .await;
}

#[tokio::test]
async fn header_lines() {
    refused(
        "400",
        &[
            b"GET / HTTP/1.1\r\nhost: h\r\nbad name: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: h\r\nname : x\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: h\r\n: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: h\r\nname\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: h\r\nna\0me: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: h\r\nname: a\0b\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: h\r\nname: a\rb\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: h\r\nname: a\x7fb\r\n\r\n",
            // a line that goes on in the next one, which HTTP no longer has
            b"GET / HTTP/1.1\r\nhost: h\r\nname: a\r\n b\r\n\r\n",
            b"GET / HTTP/1.1\r\n host: h\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: h\r\nn\xc3\xa4me: x\r\n\r\n",
        ],
    )
    .await;
}

#[tokio::test]
async fn hosts() {
    refused(
        "400",
        &[
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET http://h/ HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost:\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a/b\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: user@a\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a:port\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a:99999\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: [::1\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: \xff\r\n\r\n",
        ],
    )
    .await;
}

#[tokio::test]
async fn lengths() {
    refused(
        "400",
        &[
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: +1\r\n\r\na",
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0x1\r\n\r\na",
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1 1\r\n\r\na",
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1, 2\r\n\r\na",
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length:\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999999999999\r\n\r\n",
        ],
    )
    .await;
}

#[tokio::test]
async fn transfer_encodings() {
    refused(
        "400",
        &[
            b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: identity\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked;x\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding:\r\n\r\n",
            b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    )
    .await;
}

#[tokio::test]
async fn sizes() {
    let long = |length: usize| "a".repeat(length);
    let value = format!("GET / HTTP/1.1\r\nhost: h\r\nname: {}\r\n\r\n", long(20_000));
    let many = format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let name = format!("GET / HTTP/1.1\r\nhost: h\r\n{}: x\r\n\r\n", long(70_000));
    let target = format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", long(20_000));
    refused("431", &[value.as_bytes(), many.as_bytes(), name.as_bytes(), target.as_bytes()]).await;
    let body = format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1001\r\n\r\n{}", long(1001));
    refused("413", &[body.as_bytes()]).await;
}

#[tokio::test]
async fn the_answer_reaches_a_client_that_still_sends_a_body_that_is_too_large() {
    let server = Running::start().await;
    let mut stream = server.connect().await;
    let length = 16 * 1024 * 1024;
    stream
        .write_all(format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    // As curl and browsers do: all of it first, as far as the server takes it.
    let body = vec![b'a'; length];
    drop(tokio::time::timeout(PATIENCE, stream.write_all(&body)).await.expect("the server does not leave it hanging"));
    let answer = rest(&mut stream).await;
    assert_eq!(statuses(&answer), ["413"], "{answer}");
    assert_eq!(server.served(), [""; 0]);
    server.goes_on().await;
}

/// What is sent, the statuses that come back, and what the handler sees. The connection is closed at the end.
async fn check(request: &str, expect: &[&str], served: &[&str]) {
    let server = Running::start().await;
    let answer = server.send(request.as_bytes()).await;
    assert_eq!(statuses(&answer), expect, "{request:?} gives {answer}");
    assert_eq!(server.served(), served, "{request:?}");
    server.goes_on().await;
}

/// A chunked request and what follows on its connection.
fn chunked(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{body}")
}

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: h\r\n\r\n";
const LAST: &str = "GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn requests_that_keep_the_rules() {
    check(
        &format!("{}{LAST}", chunked("/a", "3\r\nabc\r\n02;name=value\r\nde\r\n0\r\ntrailer: x\r\n\r\n")),
        &["200", "200"],
        &["POST /a abcde", "GET /last"],
    )
    .await;
    check(
        &format!("POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc{LAST}"),
        &["200", "200"],
        &["POST /a abc", "GET /last"],
    )
    .await;
    // The same length twice is one length.
    check(
        &format!("POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc{LAST}"),
        &["200", "200"],
        &["POST /a abc", "GET /last"],
    )
    .await;
    check("GET /old HTTP/1.0\r\nhost: h\r\n\r\n", &[], &["GET /old"]).await;
}

#[tokio::test]
async fn chunks_that_break_the_rules() {
    for body in [
        "x\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nab\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "3;\nabc\r\n0\r\n\r\n",
    ] {
        let server = Running::start().await;
        let answer = server.send(format!("{}{HIDDEN}", chunked("/", body)).as_bytes()).await;
        // The handler had begun: what it makes of the body's end may still be sent.
        assert!(statuses(&answer).len() <= 1, "{body:?} gives {answer}");
        assert_eq!(server.served(), ["POST / broken"], "{body:?}");
        server.goes_on().await;
    }
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_breaks_off() {
    let chunk = format!("64\r\n{}\r\n", "a".repeat(100));
    let server = Running::start().await;
    let answer = server.send(format!("{}0\r\n\r\n{LAST}", chunked("/", &chunk.repeat(11))).as_bytes()).await;
    assert!(statuses(&answer).len() <= 2, "{answer}");
    assert_eq!(server.served()[0], "POST / broken");
    server.goes_on().await;
}

#[tokio::test]
async fn a_request_in_a_body_is_not_served() {
    let length = HIDDEN.len();
    check(
        &format!("POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n{HIDDEN}{LAST}"),
        &["200", "200"],
        &[&format!("POST /a {}", HIDDEN.trim_end()), "GET /last"],
    )
    .await;
    // Also if nobody reads the body.
    let server = Running::start().await;
    let request = format!("POST /unread HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n{HIDDEN}{LAST}");
    let answer = server.send(request.as_bytes()).await;
    assert!(statuses(&answer).iter().all(|status| *status == "200"), "{answer}");
    assert!(!server.served().iter().any(|seen| seen.contains("hidden")));
    let request = chunked("/unread", &format!("{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n{LAST}"));
    server.send(request.as_bytes()).await;
    assert!(!server.served().iter().any(|seen| seen.contains("hidden")));
    server.goes_on().await;
}

#[tokio::test]
async fn two_ways_to_say_how_long_a_body_is() {
    // A proxy that goes by the length takes what follows the last chunk for a part of the body: it must not be served.
    for lengths in [
        "content-length: 40\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 40",
        "transfer-encoding: Chunked\r\ncontent-length: 40\r\ntransfer-encoding: chunked",
    ] {
        let server = Running::start().await;
        let answer =
            server.send(format!("POST / HTTP/1.1\r\nhost: h\r\n{lengths}\r\n\r\n0\r\n\r\n{HIDDEN}").as_bytes()).await;
        assert!(statuses(&answer).len() == 1, "{lengths:?} gives {answer}");
        assert!(!server.served().iter().any(|seen| seen.contains("hidden")), "{lengths:?}");
        server.goes_on().await;
    }
}

#[tokio::test]
async fn a_body_that_ends_early() {
    let server = Running::start().await;
    for request in ["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc".to_owned(), chunked("/", "9\r\nabc")] {
        let mut stream = server.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        rest(&mut stream).await;
        // Either the handler sees that it is broken, or it is dropped with its connection.
        assert!(server.served().iter().all(|seen| seen == "POST / broken"), "{request:?}");
    }
    server.goes_on().await;
}

#[tokio::test]
async fn clients_that_take_their_time_are_let_go() {
    let server = Running::start().await;
    for begin in ["", "GET", "GET / HTTP/1.1\r\nhost: h\r\n", "PRI * HTTP/2.0\r\n", "PRI"] {
        let mut stream = server.connect().await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(statuses(&answer).iter().all(|status| *status == "408"), "{begin:?} gives {answer}");
        assert_eq!(server.served(), [""; 0], "{begin:?}");
    }
    server.goes_on().await;
}

#[tokio::test]
async fn connections_that_nobody_uses_are_closed() {
    let server = Running::start().await;
    let answer = server.send(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(statuses(&answer), ["200"]);
}

#[tokio::test]
async fn http_2_without_tls() {
    let server = Running::start().await;
    let stream = TokioIo::new(server.connect().await);
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("http://{}/two", server.address)).body(Body::empty()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 200);
    assert_eq!(server.served(), ["GET /two"]);
}

/// The handler answers with a body, as many Workers do.
#[tokio::test]
async fn head_has_no_body_over_http_2() {
    let server = Running::start().await;
    let stream = TokioIo::new(server.connect().await);
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::head(format!("http://{}/two", server.address)).body(Body::empty()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.headers()["content-length"], "6");
    let (mut client_body, mut read) = (response.into_body(), 0);
    while let Some(frame) =
        std::future::poll_fn(|context| std::pin::Pin::new(&mut client_body).poll_frame(context)).await
    {
        read += frame.unwrap().into_data().map_or(0, |data| data.len());
    }
    assert_eq!(read, 0);
}

#[tokio::test]
async fn methods_that_begin_like_http_2() {
    for method in ["P", "PRI", "PRINT", "PROPFIND", "POST"] {
        check(
            &format!("{method} / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"),
            &["200"],
            &[&format!("{method} /")],
        )
        .await;
    }
}
