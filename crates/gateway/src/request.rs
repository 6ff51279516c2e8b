//! From a request as it came over the wire to one that a Worker can be handed.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Uri, Version};
use hyper::body::Incoming;
use skep_exchange::{Body, BodyError, Request, RequestCf, forwarded};

use crate::ray::{self, CF_RAY};

/// The header that carries the client's address, as Workers know it.
const CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");

/// Why a request is refused before anybody sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("The request has no Host header, or more than one, or one that is not a host name. Send exactly one.")]
    Host,
    #[error("The request's target is not a path or a URL that HTTP allows.")]
    Target,
    #[error("The request's body is larger than this server takes ({0} bytes). Send less, or send it in parts.")]
    TooLarge(u64),
}

/// Where the requests of one connection come from.
pub(crate) struct Origin {
    from: From,
    largest_body: u64,
    /// The first authority that was written as the URL standard wants it: most connections name no other.
    authority: OnceLock<Authority>,
}

enum From {
    /// A client.
    Client {
        /// Whether it speaks TLS.
        secure: bool,
        /// Its address, as a header.
        address: HeaderValue,
    },
    /// Another process of the platform, which hands requests on and says where they come from: [`forwarded`].
    Peer,
}

impl Origin {
    /// A connection from a client, through TLS or not, that may send bodies of this many bytes.
    pub(crate) fn new(client: SocketAddr, secure: bool, largest_body: u64) -> Self {
        let address =
            HeaderValue::try_from(client.ip().to_string()).unwrap_or_else(|_| HeaderValue::from_static("0.0.0.0"));
        Self { from: From::Client { secure, address }, largest_body, authority: OnceLock::new() }
    }

    /// A connection from another process of the platform.
    pub(crate) fn peer(largest_body: u64) -> Self {
        Self { from: From::Peer, largest_body, authority: OnceLock::new() }
    }

    pub(crate) fn is_peer(&self) -> bool {
        matches!(self.from, From::Peer)
    }

    /// What a request is refused for, or the request with an absolute URI and a bounded body.
    pub(crate) fn accept(&self, incoming: http::Request<Incoming>) -> Result<Request, Refused> {
        let (mut parts, body) = incoming.into_parts();
        let scheme = self.scheme(&mut parts);
        parts.uri = self.absolute_uri(&parts, scheme)?;
        let limit = self.largest_body;
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limit) {
            return Err(Refused::TooLarge(limit));
        }
        let cf = match &self.from {
            From::Client { address, .. } => {
                forwarded::remove(&mut parts.headers);
                parts.headers.insert(CONNECTING_IP, address.clone());
                parts.headers.insert(CF_RAY, ray::new());
                cf(parts.version)
            }
            From::Peer => match parts.headers.remove(forwarded::CF) {
                Some(told) => told.to_str().map_or_else(|_| cf(parts.version), Into::into),
                None => cf(parts.version),
            },
        };
        parts.extensions.insert(RequestCf(cf));
        let body = if hyper::body::Body::is_end_stream(&body) {
            Body::empty()
        } else {
            let bounded = Bounded { body, left: limit, limit };
            if self.is_peer() { Body::boxed(Drained(Some(bounded))) } else { Body::boxed(bounded) }
        };
        Ok(Request::from_parts(parts, body))
    }

    /// RFC 9110, section 7.1: the target URI from scheme, authority and path.
    fn absolute_uri(&self, parts: &http::request::Parts, scheme: Scheme) -> Result<Uri, Refused> {
        // A host without a scheme is what CONNECT names, which is for proxies.
        if parts.method == Method::CONNECT || (parts.uri.authority().is_some() && parts.uri.scheme().is_none()) {
            return Err(Refused::Target);
        }
        let mut hosts = parts.headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Some(host.to_str().map_err(|_| Refused::Host)?),
            (None, _) if parts.version == Version::HTTP_11 => return Err(Refused::Host),
            (None, _) => None,
            (Some(_), Some(_)) => return Err(Refused::Host),
        };
        // HTTP/2 has the authority in the target; HTTP/1.1 may. It wins over the header.
        let authority = parts.uri.authority().map(Authority::as_str).or(host).ok_or(Refused::Host)?;
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        if path_is_normal(path)
            && let Some(known) = self.authority.get().filter(|known| known.as_str() == authority)
        {
            let mut uri = http::uri::Parts::default();
            uri.scheme = Some(scheme);
            uri.authority = Some(known.clone());
            uri.path_and_query = parts.uri.path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
            return Uri::from_parts(uri).map_err(|_| Refused::Target);
        }
        let uri = normal_uri(&scheme, authority, path)?;
        if let Some(normal) = uri.authority().filter(|normal| normal.as_str() == authority) {
            self.authority.get_or_init(|| normal.clone());
        }
        Ok(uri)
    }

    fn scheme(&self, parts: &mut http::request::Parts) -> Scheme {
        let secure = match &self.from {
            From::Client { secure, .. } => *secure,
            From::Peer => parts.headers.remove(forwarded::SCHEME).is_some_and(|scheme| scheme == "https"),
        };
        if secure { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

fn normal_uri(scheme: &Scheme, authority: &str, path: &str) -> Result<Uri, Refused> {
    if authority.is_empty() || authority.contains(['@', '/', '?', '#', '\\']) {
        return Err(Refused::Host);
    }
    // OPTIONS * is about the server as a whole.
    let path = if path == "*" { "/" } else { path };
    let url = url::Url::parse(&format!("{scheme}://{authority}{path}")).map_err(|_| Refused::Host)?;
    Uri::from_maybe_shared(Bytes::from(String::from(url))).map_err(|_| Refused::Target)
}

/// `request.cf` for each version of HTTP: what is known of the connection. The rest of Cloudflare's fields describe its
/// network. <https://developers.cloudflare.com/workers/runtime-apis/request/#incomingrequestcfproperties>
fn cf(version: Version) -> Arc<str> {
    static HTTP_1_0: LazyLock<Arc<str>> = LazyLock::new(|| r#"{"httpProtocol":"HTTP/1.0"}"#.into());
    static HTTP_1_1: LazyLock<Arc<str>> = LazyLock::new(|| r#"{"httpProtocol":"HTTP/1.1"}"#.into());
    static HTTP_2: LazyLock<Arc<str>> = LazyLock::new(|| r#"{"httpProtocol":"HTTP/2"}"#.into());
    Arc::clone(match version {
        Version::HTTP_2 => &HTTP_2,
        Version::HTTP_10 => &HTTP_1_0,
        _ => &HTTP_1_1,
    })
}

/// Whether the URL standard would write this path as it came.
fn path_is_normal(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains("/.")
        && !path.contains("/%2")
        && path.bytes().all(|byte| {
            byte.is_ascii()
                && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'^' | b'|' | b'\'' | b'#')
        })
}

/// A body that breaks off when it has more bytes than allowed.
struct Bounded {
    body: Incoming,
    left: u64,
    limit: u64,
}

impl hyper::body::Body for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Transport(error.to_string())))),
            None => return Poll::Ready(None),
        };
        if let Some(data) = frame.data_ref() {
            match this.left.checked_sub(data.len() as u64) {
                Some(left) => this.left = left,
                None => return Poll::Ready(Some(Err(BodyError::TooLarge(this.limit)))),
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// A body that another process hands on. What nobody wants of it is read and thrown away: an answer that comes before its end would be lost with
/// the connection, which hyper closes over bytes that were not read.
struct Drained(Option<Bounded>);

impl hyper::body::Body for Drained {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(hyper::body::Body::is_end_stream)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.0.as_ref().map(hyper::body::Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !hyper::body::Body::is_end_stream(body)) else { return };
        // Isolates drop bodies on threads of their own: there is a runtime on each.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let mut next = |context: &mut Context<'_>| hyper::body::Body::poll_frame(Pin::new(&mut body), context);
                while let Some(Ok(_)) = std::future::poll_fn(&mut next).await {}
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, Refused};

    fn check(target: &str, hosts: &[&str], expect: Result<&str, Refused>) {
        let mut request = http::Request::builder().uri(target);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let origin = Origin::new(([127, 0, 0, 1], 9).into(), false, 0);
        for time in ["first", "second"] {
            assert_eq!(
                origin.absolute_uri(&parts, super::Scheme::HTTP).map(|uri| uri.to_string()),
                expect.map(str::to_owned),
                "{target} {hosts:?}, the {time} time"
            );
        }
    }

    #[test]
    fn urls() {
        check("/a?b=c", &["localhost:8787"], Ok("http://localhost:8787/a?b=c"));
        check("/", &["EXAMPLE.com"], Ok("http://example.com/"));
        check("/", &["example.com:80"], Ok("http://example.com/"));
        check("/a/../b", &["h"], Ok("http://h/b"));
        check("/a/%2e%2e/b", &["h"], Ok("http://h/b"));
        check("/a.b/c", &["h"], Ok("http://h/a.b/c"));
        check("http://other/x", &["h"], Ok("http://other/x"));
        check("*", &["h"], Ok("http://h/"));
        check("/", &[], Err(Refused::Host));
        check("http://other/x", &[], Err(Refused::Host));
        check("other:80", &["h"], Err(Refused::Target));
        check("/", &["a", "b"], Err(Refused::Host));
        check("/", &[""], Err(Refused::Host));
        check("/", &["a/b"], Err(Refused::Host));
        check("/", &["user@host"], Err(Refused::Host));
        check("/", &["[::1]:8787"], Ok("http://[::1]:8787/"));
    }
}
