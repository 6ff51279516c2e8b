//! A server that takes webhooks, keeps them, and answers as a test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The part of its address that nobody may see.
pub(crate) const SECRET_PATH: &str = "T0K3N-of-the-path";
/// The key of its signatures.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The server, as long as the test's runtime lives.
pub(crate) struct Hook {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    posted: Arc<watch::Sender<Vec<Posted>>>,
}

/// A webhook that came.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    /// The header `webhook-id`.
    pub(crate) id: String,
    /// What it was answered.
    pub(crate) status: u16,
    /// All of it.
    pub(crate) text: String,
}

impl Posted {
    /// Whether it is an alert of a kind.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.text.contains(&format!("\"alert.{kind}\""))
    }
}

impl Hook {
    /// A server that answers with a status.
    pub(crate) async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let hook = Self { address, status: Arc::new(AtomicU16::new(status)), posted: Arc::default() };
        let (status, posted) = (Arc::clone(&hook.status), Arc::clone(&hook.posted));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&status), Arc::clone(&posted)));
            }
        });
        hook
    }

    /// From now on it answers with another status.
    pub(crate) fn answers(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// The section of the settings that makes it a destination.
    pub(crate) fn section(&self, name: &str) -> String {
        let address = self.address;
        format!(
            "[destinations.{name}]\ntype = \"webhook\"\nurl = \"http://{address}/{SECRET_PATH}\"\nsecret = \"{SECRET}\"\n"
        )
    }

    /// Everything that came until now.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.posted.borrow().clone()
    }

    /// Everything that came, once some of it is so.
    pub(crate) async fn until(&self, what: &str, patience: Duration, is: impl Fn(&Posted) -> bool) -> Vec<Posted> {
        let mut posted = self.posted.subscribe();
        let comes = tokio::time::timeout(patience, posted.wait_for(|all| all.iter().any(&is))).await;
        let all = comes.map(|all| all.expect("the server is there").clone());
        all.unwrap_or_else(|_| panic!("nobody was told of {what}: {:?}", self.posted()))
    }
}

/// Answers requests on a connection, one after the other.
async fn converse(mut stream: TcpStream, status: Arc<AtomicU16>, posted: Arc<watch::Sender<Vec<Posted>>>) {
    loop {
        let mut request = Vec::new();
        let text = loop {
            let text = String::from_utf8_lossy(&request).into_owned();
            if is_whole(&text) {
                break text;
            }
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let status = status.load(Ordering::Relaxed);
        let id = header(&text, "webhook-id").unwrap_or_default();
        posted.send_modify(|all| all.push(Posted { id, status, text }));
        let answer = format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn header(text: &str, name: &str) -> Option<String> {
    let (head, _) = text.split_once("\r\n\r\n")?;
    let headers = head.lines().filter_map(|line| line.split_once(':'));
    headers.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
}

/// Whether a request has its head, and as many bytes of a body as it says.
fn is_whole(text: &str) -> bool {
    let Some((_, body)) = text.split_once("\r\n\r\n") else { return false };
    header(text, "content-length").is_none_or(|length| length.parse().is_ok_and(|length: usize| body.len() >= length))
}
