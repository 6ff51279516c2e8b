//! What a browser gets: the page for every part of the dashboard, compressed as it likes, once, and with what keeps it safe.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, LOCATION, VARY,
};
use http::{HeaderMap, Method, Request, StatusCode};
use skep_dashboard::{answer, is_dashboard};
use skep_exchange::Body;

async fn ask(method: Method, path: &str, headers: &[(http::HeaderName, &str)]) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::builder().method(method).uri(format!("http://localhost{path}"));
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let (parts, body) = answer(&request.body(Body::empty()).expect("a request")).into_parts();
    (parts.status, parts.headers, body.collect(1 << 20).await.expect("a body"))
}

async fn get(path: &str, headers: &[(http::HeaderName, &str)]) -> (StatusCode, HeaderMap, Bytes) {
    ask(Method::GET, path, headers).await
}

/// The path of a script of the page.
async fn script() -> String {
    let (_, _, page) = get("/dashboard/", &[]).await;
    let page = String::from_utf8(page.to_vec()).expect("text");
    let (_, rest) = page.split_once("src=\"/dashboard/assets/").expect("a script");
    format!("/dashboard/assets/{}", rest.split_once('"').expect("its end").0)
}

#[tokio::test]
async fn every_part_of_the_dashboard_is_the_same_page() {
    let (status, headers, page) = get("/dashboard/", &[]).await;
    assert_eq!((status, headers[CONTENT_TYPE].as_bytes()), (StatusCode::OK, &b"text/html; charset=utf-8"[..]));
    assert_eq!(headers[CACHE_CONTROL], "no-cache");
    for path in ["/dashboard/workers/hello", "/dashboard/usage?month=2026-11", "/dashboard/workers/a.b"] {
        assert_eq!(get(path, &[]).await.2, page, "{path}");
    }
    let text = String::from_utf8(page.to_vec()).expect("text");
    assert!(!text.contains("<style") && !text.contains("style=") && !text.contains("<script>"), "{text}");
    assert_eq!(get("/dashboard/assets/gone-12345678.js", &[]).await.0, StatusCode::NOT_FOUND);
    for path in ["/", "/dashboard"] {
        let (status, headers, _) = get(path, &[]).await;
        assert_eq!((status, headers[LOCATION].as_bytes()), (StatusCode::FOUND, &b"/dashboard/"[..]));
    }
    let (status, headers, _) = ask(Method::POST, "/dashboard/", &[]).await;
    assert_eq!((status, headers[ALLOW].as_bytes()), (StatusCode::METHOD_NOT_ALLOWED, &b"GET, HEAD"[..]));
    assert!(is_dashboard("/") && is_dashboard("/dashboard/x") && !is_dashboard("/dashboards") && !is_dashboard("/x"));
}

#[tokio::test]
async fn every_answer_has_what_keeps_it_safe() {
    for path in ["/", "/dashboard/", "/dashboard/assets/gone.js", &script().await] {
        let (_, headers, _) = get(path, &[]).await;
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
        for name in ["x-content-type-options", "referrer-policy", "cross-origin-opener-policy", "permissions-policy"] {
            assert!(headers.contains_key(name), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn a_browser_gets_the_smallest_form_that_it_takes() {
    let script = script().await;
    let form = async |accepted: &str| {
        let (_, headers, content) = get(&script, &[(ACCEPT_ENCODING, accepted)]).await;
        assert_eq!(headers[VARY], "accept-encoding");
        let encoding = headers.get(CONTENT_ENCODING).map(|value| value.to_str().expect("text").to_owned());
        (encoding.unwrap_or_default(), content.len(), headers[ETAG].clone())
    };
    let (brotli, gzip, plain) = (form("gzip, deflate, br, zstd").await, form("gzip, br;q=0").await, form("").await);
    assert_eq!((&*brotli.0, &*gzip.0, &*plain.0), ("br", "gzip", ""));
    assert!(brotli.1 < gzip.1 && gzip.1 < plain.1);
    assert!(brotli.2 != gzip.2 && gzip.2 != plain.2);
}

#[tokio::test]
async fn what_the_browser_has_is_not_sent_again() {
    let script = script().await;
    assert_eq!(get(&script, &[]).await.1[CACHE_CONTROL], "public, max-age=31536000, immutable");
    let (_, headers, _) = get("/dashboard/", &[(ACCEPT_ENCODING, "br")]).await;
    let tag = headers[ETAG].to_str().expect("text").to_owned();
    for tags in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let (status, headers, body) = get("/dashboard/x", &[(ACCEPT_ENCODING, "br"), (IF_NONE_MATCH, &tags)]).await;
        assert_eq!((status, headers[ETAG].as_bytes(), body.len()), (StatusCode::NOT_MODIFIED, tag.as_bytes(), 0));
    }
    assert_eq!(get("/dashboard/", &[(IF_NONE_MATCH, &tag)]).await.0, StatusCode::OK, "another encoding");
}
