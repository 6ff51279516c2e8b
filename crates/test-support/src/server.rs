//! An HTTP server as small as it can be, for what Workers fetch.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A server that answers every request with what `respond` makes of its text, and keeps its connection unless the answer says `connection: close`.
/// Gives its port.
pub async fn server(respond: impl Fn(&str) -> String + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let port = listener.local_addr().expect("it is bound").port();
    let respond = Arc::new(respond);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let respond = Arc::clone(&respond);
            tokio::spawn(async move {
                loop {
                    let mut request = Vec::new();
                    while !is_whole(&request) {
                        if connection.read_buf(&mut request).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let response = respond(&String::from_utf8_lossy(&request));
                    if connection.write_all(response.as_bytes()).await.is_err()
                        || response.contains("\r\nconnection: close\r\n")
                    {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Whether an HTTP request has its head, and as many bytes of a body as it says.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// A response with status 200 and a body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
