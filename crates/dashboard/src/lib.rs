//! The dashboard: pages that show what runs, how it does and what it costs. They are made in `dashboard/` and use the platform's public
//! API alone; here are their files, which are part of the program, and how a browser gets them.
//!
//! Names with a hash of their content stay in the browser's cache for good, everything else is asked for again and mostly not sent again.

#![forbid(unsafe_code)]

use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Method, StatusCode};
use skep_exchange::{Body, Request, Response};

/// Where the dashboard is.
const ROOT: &str = "/dashboard/";
/// The page, whatever part of the dashboard it shows.
const PAGE: &str = "index.html";
/// The folder of files whose names have a hash of their content.
const HASHED: &str = "assets/";
/// What the pages may load: nothing but what comes from here, no script or style inside of a page, no text that becomes a script.
const POLICY: &str = "default-src 'self'; base-uri 'none'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; object-src 'none'; script-src 'self'; style-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'";
/// What the browser should not offer to the pages.
const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";

/// A file, as it is and compressed.
struct File {
    /// From the dashboard's root on.
    path: &'static str,
    /// Its media type.
    kind: &'static str,
    /// The first digits of its content's hash.
    hash: &'static str,
    plain: &'static [u8],
    brotli: &'static [u8],
    gzip: &'static [u8],
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Whether a path of the platform's own host is the dashboard's, or leads to it.
pub fn is_dashboard(path: &str) -> bool {
    path == "/" || path == ROOT.trim_end_matches('/') || path.starts_with(ROOT)
}

/// Answers a request for the dashboard: whoever asks gets its files, which tell nothing. What they show comes from the API.
pub fn answer(request: &Request) -> Response {
    let mut response = respond(request);
    let headers = response.headers_mut();
    let fixed = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn respond(request: &Request) -> Response {
    let method = request.method();
    if *method != Method::GET && *method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "The dashboard knows GET and HEAD only.\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri().path();
    let Some(path) = path.strip_prefix(ROOT) else {
        let mut response = plain(StatusCode::FOUND, "The dashboard is at /dashboard/.\n");
        response.headers_mut().insert(LOCATION, HeaderValue::from_static(ROOT));
        return response;
    };
    if let Some(file) = find(path) {
        return send(file, request.headers());
    }
    match find(PAGE) {
        // A part of the dashboard, which the page itself finds.
        Some(page) if !path.starts_with(HASHED) => send(page, request.headers()),
        _ => plain(
            StatusCode::NOT_FOUND,
            "The dashboard has no such file. Load the page again: it may be of another version.\n",
        ),
    }
}

fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

fn send(file: &'static File, asked: &HeaderMap) -> Response {
    let (encoding, content) = choose(file, asked);
    let tag = format!("\"{}{}\"", file.hash, encoding.map(|name| format!("-{name}")).unwrap_or_default());
    let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok()).any(|tags| {
        let mut tags = tags.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|known| known == tag || known == "*")
    });
    let mut response = Response::new(if known { Body::empty() } else { Body::full(content) });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    let caching = if file.path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    if !known {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.kind));
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
    }
    response
}

/// The smallest form of a file that a browser takes. RFC 9110, section 12.5.3.
fn choose(file: &'static File, asked: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    let accepts = |name: &str| {
        let lines = asked.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|item| {
            let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
            let zero = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0_f32));
            coding.trim().eq_ignore_ascii_case(name) && !zero
        })
    };
    let compressed = [("br", file.brotli), ("gzip", file.gzip)];
    let found = compressed.into_iter().find(|(name, content)| content.len() < file.plain.len() && accepts(name));
    found.map_or((None, file.plain), |(name, content)| (Some(name), content))
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::{FILES, HASHED};

    #[test]
    fn the_first_load_is_small() {
        let bytes: usize = FILES.iter().map(|file| file.brotli.len().min(file.plain.len())).sum();
        assert!(bytes < 60 * 1024, "all files together have {bytes} bytes when they are compressed");
    }

    #[test]
    fn only_names_with_a_hash_are_cached_for_good() {
        for file in FILES.iter().filter(|file| file.path.starts_with(HASHED)) {
            let stem = file.path.rsplit_once('.').expect("an ending").0;
            let hash = &stem[stem.len().saturating_sub(9)..];
            assert!(hash.starts_with('-') && !hash.contains('/'), "{} has no hash", file.path);
        }
        assert!(FILES.iter().any(|file| file.path == "index.html"));
    }
}
