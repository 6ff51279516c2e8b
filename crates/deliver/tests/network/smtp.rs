//! A server of e-mail: SMTP (RFC 5321) with STARTTLS (RFC 3207) and AUTH (RFC 4954), which keeps what it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How the server protects its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    Nothing,
    Starttls,
    Implicit,
}

/// What the server was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// Commands, "TLS" where it began.
    pub(crate) commands: Vec<String>,
    /// Messages, as they came.
    pub(crate) messages: Vec<String>,
}

/// What is answered in place of what a kind server answers, to the command that is told.
type Instead = dyn Fn(&str) -> Option<&'static str> + Send + Sync;

/// The server, as long as the test's runtime lives.
pub(crate) struct SmtpServer {
    pub(crate) address: SocketAddr,
    /// The certificate, in PEM.
    pub(crate) certificate: String,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Clone)]
struct Session {
    protection: Protection,
    acceptor: TlsAcceptor,
    heard: Arc<Mutex<Heard>>,
    instead: Arc<Instead>,
}

impl SmtpServer {
    pub(crate) async fn start(
        protection: Protection,
        instead: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static,
    ) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a configuration");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let session = Session { protection, acceptor, heard: heard.clone(), instead: Arc::new(instead) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(session.clone().serve(stream));
            }
        });
        Self { address, certificate: cert.pem(), heard }
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

impl Session {
    fn hear(&self, command: &str) {
        self.heard.lock().unwrap().commands.push(command.to_owned());
    }

    async fn serve(self, stream: TcpStream) {
        if self.protection == Protection::Implicit {
            let Ok(stream) = self.acceptor.accept(stream).await else { return };
            self.hear("TLS");
            self.converse(stream, true).await;
        } else if let Some(stream) = self.converse(stream, false).await
            && let Ok(stream) = self.acceptor.accept(stream).await
        {
            self.hear("TLS");
            self.converse(stream, true).await;
        }
    }

    /// Speaks until the end. Gives the connection where TLS is to begin.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, is_safe: bool) -> Option<S> {
        let mut stream = BufReader::new(stream);
        if !is_safe || self.protection == Protection::Implicit {
            stream.write_all(b"220 mail.example ESMTP\r\n").await.ok()?;
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
            let command = line.trim_end().to_owned();
            self.hear(&command);
            let verb = command.split(' ').next().unwrap_or_default().to_uppercase();
            let answer = match ((self.instead)(&command), &*verb) {
                (Some("late"), _) => {
                    tokio::time::sleep(Duration::from_secs(3600)).await;
                    return None;
                }
                (Some(answer), _) => answer,
                (None, "EHLO") if self.protection == Protection::Starttls && !is_safe => {
                    "250-mail.example\r\n250 STARTTLS"
                }
                (None, "EHLO") => "250-mail.example\r\n250 AUTH PLAIN LOGIN",
                (None, "STARTTLS") => {
                    stream.write_all(b"220 go on\r\n").await.ok()?;
                    return Some(stream.into_inner());
                }
                (None, "AUTH") => "235 2.7.0 welcome",
                (None, "DATA") => {
                    stream.write_all(b"354 go on\r\n").await.ok()?;
                    let mut message = String::new();
                    while !message.ends_with("\r\n.\r\n") {
                        stream.read_line(&mut message).await.ok().filter(|length| *length > 0)?;
                    }
                    self.heard.lock().unwrap().messages.push(message);
                    "250 2.0.0 taken"
                }
                (None, "QUIT") => "221 bye",
                (None, _) => "250 ok",
            };
            stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
        }
    }
}
