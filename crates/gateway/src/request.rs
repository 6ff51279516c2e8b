//! From a request as it came over the wire to one that a Worker can be handed.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Method, Uri, Version};
use hyper::body::Incoming;
use skep_exchange::{Body, BodyError, Request, RequestCf};

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

/// What a request is refused for, or the request with an absolute URI and a bounded body.
pub(crate) fn accept(
    incoming: http::Request<Incoming>,
    secure: bool,
    client: SocketAddr,
    largest_body: u64,
) -> Result<Request, Refused> {
    let (mut parts, body) = incoming.into_parts();
    parts.uri = absolute_uri(&parts, secure)?;
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > largest_body) {
        return Err(Refused::TooLarge(largest_body));
    }
    if let Ok(address) = HeaderValue::try_from(client.ip().to_string()) {
        parts.headers.insert(CONNECTING_IP, address);
    }
    parts.extensions.insert(RequestCf(cf(parts.version)));
    let body = if hyper::body::Body::is_end_stream(&body) {
        Body::empty()
    } else {
        Body::boxed(Bounded { body, left: largest_body, limit: largest_body })
    };
    Ok(Request::from_parts(parts, body))
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

/// RFC 9110, section 7.1: the target URI from scheme, authority and path.
fn absolute_uri(parts: &http::request::Parts, secure: bool) -> Result<Uri, Refused> {
    if parts.method == Method::CONNECT {
        return Err(Refused::Target);
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().map_err(|_| Refused::Host)?),
        (None, _) => None,
        (Some(_), Some(_)) => return Err(Refused::Host),
    };
    // HTTP/2 has the authority in the target; HTTP/1.1 may. It wins over the header.
    let authority = parts.uri.authority().map(http::uri::Authority::as_str).or(host).ok_or(Refused::Host)?;
    if authority.is_empty() || authority.contains(['@', '/', '?', '#', '\\']) {
        return Err(Refused::Host);
    }
    let path = match parts.uri.path_and_query().map_or("/", |path| path.as_str()) {
        // OPTIONS * is about the server as a whole.
        "*" => "/",
        path => path,
    };
    let scheme = if secure { "https" } else { "http" };
    let mut url = String::with_capacity(scheme.len() + 3 + authority.len() + path.len());
    url.push_str(scheme);
    url.push_str("://");
    url.push_str(authority);
    url.push_str(path);
    if needs_normalising(authority, path) {
        url = url::Url::parse(&url).map_err(|_| Refused::Host)?.into();
    }
    Uri::from_maybe_shared(Bytes::from(url)).map_err(|_| Refused::Target)
}

/// Whether the URL standard would write this another way than it came.
fn needs_normalising(authority: &str, path: &str) -> bool {
    authority.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'%')
        || authority.ends_with(":80")
        || authority.ends_with(":443")
        || path.contains("/.")
        || path.contains("/%2")
        || path.bytes().any(|byte| {
            !byte.is_ascii() || matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'^' | b'|' | b'\'')
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

#[cfg(test)]
mod tests {
    use super::{Refused, absolute_uri};

    fn check(target: &str, hosts: &[&str], expect: Result<&str, Refused>) {
        let mut request = http::Request::builder().uri(target);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(
            absolute_uri(&parts, false).map(|uri| uri.to_string()),
            expect.map(str::to_owned),
            "{target} {hosts:?}"
        );
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
        check("/", &["a", "b"], Err(Refused::Host));
        check("/", &[""], Err(Refused::Host));
        check("/", &["a/b"], Err(Refused::Host));
        check("/", &["user@host"], Err(Refused::Host));
        check("/", &["[::1]:8787"], Ok("http://[::1]:8787/"));
    }
}
