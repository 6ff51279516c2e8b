//! How a process tells another one of the same machine what it knows of a request that it hands on: in headers. Only a connection between the
//! two is believed; from anybody else they are removed.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The scheme that the client used: `http` or `https`.
pub const SCHEME: HeaderName = HeaderName::from_static("x-skep-scheme");
/// The request's `request.cf`, as JSON.
pub const CF: HeaderName = HeaderName::from_static("x-skep-cf");
/// The Worker and the version that are to answer, by their ids, with a `/` between them.
pub const VERSION: HeaderName = HeaderName::from_static("x-skep-version");
/// Of an answer with status 101: see [`AcceptUnmasked`](crate::AcceptUnmasked).
pub const UNMASKED: HeaderName = HeaderName::from_static("x-skep-unmasked");

const ALL: [HeaderName; 4] = [SCHEME, CF, VERSION, UNMASKED];

/// Removes what a client may have made up.
pub fn remove(headers: &mut HeaderMap) {
    if headers.keys().any(|name| name.as_str().starts_with("x-skep-")) {
        for name in ALL {
            headers.remove(name);
        }
    }
}

/// Says something of a request. What is no header's value is left out.
pub fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => drop(headers.insert(name, value)),
        Err(_) => drop(headers.remove(name)),
    }
}
