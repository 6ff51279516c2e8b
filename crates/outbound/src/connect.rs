//! Connections: resolve, check, connect to what was checked.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::AddressPolicy;

/// How long one address may take to answer before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a connection could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("DNS lookup of \"{host}\" failed: {reason}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Every address is one that a Worker may not connect to.
    #[error(
        "connection to \"{host}\" refused: {address} is a private, loopback, link-local or reserved address, which Workers may not reach \
         unless the operator allows it"
    )]
    Forbidden {
        /// The name, or the address as written.
        host: String,
        /// The address that was refused.
        address: IpAddr,
    },
    /// No address answered.
    #[error("could not connect to {host}:{port}: {reason}")]
    Unreachable {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// What the last address said.
        reason: String,
    },
}

/// Connects to checked addresses. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    policy: Arc<AddressPolicy>,
}

impl Connector {
    pub(crate) fn new(policy: AddressPolicy) -> Self {
        Self { policy: Arc::new(policy) }
    }

    /// A TCP connection to a host (a name, or an address, IPv6 in brackets or not).
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = self.checked_addresses(host, port).await?;
        let mut reason = "no address".to_owned();
        for address in addresses {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A socket that cannot be told so is only slower.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => reason = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
            }
        }
        Err(ConnectError::Unreachable { host: host.to_owned(), port, reason })
    }

    async fn checked_addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let resolved: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => tokio::net::lookup_host((host, port))
                .await
                .map_err(|error| ConnectError::Dns { host: host.to_owned(), reason: error.to_string() })?
                .collect(),
        };
        let Some(first) = resolved.first().copied() else {
            return Err(ConnectError::Dns { host: host.to_owned(), reason: "it has no address".to_owned() });
        };
        let permitted: Vec<SocketAddr> =
            resolved.into_iter().filter(|address| self.policy.permits(address.ip())).collect();
        if permitted.is_empty() {
            return Err(ConnectError::Forbidden { host: host.to_owned(), address: first.ip() });
        }
        Ok(permitted)
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            this.connect(host, port).await.map(TokioIo::new).map_err(io::Error::other)
        })
    }
}
