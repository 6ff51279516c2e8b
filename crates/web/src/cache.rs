//! The Cache API's host side: a store behind a trait, one that keeps everything in memory, and the rules of what may be
//! stored, for how long, and what a stored response answers.
//! <https://developers.cloudflare.com/workers/runtime-apis/cache/>, RFC 9111 (caching), RFC 9110 (conditional and range
//! requests).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use deno_core::convert::{ByteString, Uint8Array};
use deno_core::{OpState, Resource, ResourceId, ToV8, op2};
use deno_error::JsErrorBox;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, ETAG, EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    RANGE, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::Host;
use crate::events::Events;

/// The largest response that may be stored, in bytes.
/// <https://developers.cloudflare.com/workers/platform/limits/#cache-api-limits> allows 512 MB; memory asks for less.
const LARGEST_RESPONSE: usize = 64 * 1024 * 1024;
/// How long a response without any word on its lifetime is kept.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);

/// A response in a cache.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// When it is no longer good.
    pub expires: SystemTime,
}

/// Where caches are kept. A cache is named; the default one has the empty name. Keys are URLs.
pub trait CacheStore: Send + Sync {
    /// The response under a key, also if it has expired.
    fn get(&self, worker: &str, cache: &str, key: &str) -> Option<Arc<StoredResponse>>;
    /// Stores a response, in place of an older one.
    fn put(&self, worker: &str, cache: &str, key: &str, response: StoredResponse);
    /// Forgets a response. Gives whether there was one.
    fn delete(&self, worker: &str, cache: &str, key: &str) -> bool;
}

type Key = (String, String, String);

/// A store in memory: bounded in bytes, the least recently used goes first.
pub struct MemoryCache {
    most_bytes: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    bytes: usize,
    clock: u64,
    map: HashMap<Key, (u64, Arc<StoredResponse>)>,
}

impl MemoryCache {
    /// A store that keeps so many bytes at most.
    pub fn new(most_bytes: usize) -> Self {
        Self { most_bytes, entries: Mutex::default() }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(worker: &str, cache: &str, key: &str) -> Key {
    (worker.to_owned(), cache.to_owned(), key.to_owned())
}

fn size(key: &Key, response: &StoredResponse) -> usize {
    let headers: usize = response.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    key.2.len() + headers + response.body.len()
}

impl Entries {
    fn remove(&mut self, key: &Key) -> bool {
        let Some((_, response)) = self.map.remove(key) else { return false };
        self.bytes -= size(key, &response);
        true
    }

    fn evict_to(&mut self, most_bytes: usize) {
        while self.bytes > most_bytes {
            let Some(oldest) = self.map.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone()) else {
                return;
            };
            self.remove(&oldest);
        }
    }
}

impl CacheStore for MemoryCache {
    fn get(&self, worker: &str, cache: &str, url: &str) -> Option<Arc<StoredResponse>> {
        let mut entries = self.entries();
        entries.clock += 1;
        let now = entries.clock;
        let (used, response) = entries.map.get_mut(&key(worker, cache, url))?;
        *used = now;
        Some(Arc::clone(response))
    }

    fn put(&self, worker: &str, cache: &str, url: &str, response: StoredResponse) {
        let key = key(worker, cache, url);
        let mut entries = self.entries();
        entries.remove(&key);
        entries.clock += 1;
        entries.bytes += size(&key, &response);
        let now = entries.clock;
        entries.map.insert(key, (now, Arc::new(response)));
        entries.evict_to(self.most_bytes);
    }

    fn delete(&self, worker: &str, cache: &str, url: &str) -> bool {
        self.entries().remove(&key(worker, cache, url))
    }
}

/// How long a response may be kept, or nothing if it may not be. RFC 9111, sections 3 and 4.2.1.
fn lifetime(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let directives: Vec<(String, Option<String>)> = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| {
            let (name, value) =
                directive.trim().split_once('=').map_or((directive.trim(), None), |(name, value)| (name, Some(value)));
            (name.trim().to_ascii_lowercase(), value.map(|value| value.trim().trim_matches('"').to_owned()))
        })
        .collect();
    let find = |wanted: &str| directives.iter().find(|(name, _)| name == wanted);
    if find("no-store").is_some() || find("private").is_some_and(|(_, fields)| fields.is_none()) {
        return None;
    }
    // `private=Set-Cookie` is the documented way to store a response that sets a cookie.
    let cookie_is_private = find("private").is_some_and(|(_, fields)| {
        fields
            .as_deref()
            .is_some_and(|fields| fields.split([' ', ',']).any(|field| field.eq_ignore_ascii_case("set-cookie")))
    });
    if headers.contains_key(SET_COOKIE) && !cookie_is_private {
        return None;
    }
    let seconds = |name: &str| find(name).and_then(|(_, value)| value.as_deref()?.parse::<u64>().ok());
    if let Some(seconds) = seconds("s-maxage").or_else(|| seconds("max-age")) {
        return (seconds > 0).then(|| Duration::from_secs(seconds));
    }
    if find("no-cache").is_some() {
        return None;
    }
    match headers.get(EXPIRES) {
        Some(expires) => httpdate::parse_http_date(expires.to_str().ok()?).ok()?.duration_since(now).ok(),
        None => Some(DEFAULT_LIFETIME),
    }
}

/// What a stored response answers to a request: itself, a part of it, or that nothing has changed.
fn answer(stored: &StoredResponse, request: &HeaderMap) -> (StatusCode, HeaderMap, Bytes) {
    let mut headers = stored.headers.clone();
    headers.insert(HeaderName::from_static("cf-cache-status"), HeaderValue::from_static("HIT"));
    if not_modified(stored, request) {
        headers.remove(CONTENT_LENGTH);
        return (StatusCode::NOT_MODIFIED, headers, Bytes::new());
    }
    let length = stored.body.len() as u64;
    let range = request.get(RANGE).and_then(|range| range.to_str().ok()).filter(|_| stored.status == StatusCode::OK);
    match range.map(|range| parse_range(range, length)) {
        Some(Range::Part(first, last)) => {
            set(&mut headers, CONTENT_RANGE, &format!("bytes {first}-{last}/{length}"));
            set(&mut headers, CONTENT_LENGTH, &(last - first + 1).to_string());
            let body = stored.body.slice(usize::try_from(first).unwrap_or(0)..=usize::try_from(last).unwrap_or(0));
            (StatusCode::PARTIAL_CONTENT, headers, body)
        }
        Some(Range::Unsatisfiable) => {
            set(&mut headers, CONTENT_RANGE, &format!("bytes */{length}"));
            headers.remove(CONTENT_LENGTH);
            (StatusCode::RANGE_NOT_SATISFIABLE, headers, Bytes::new())
        }
        Some(Range::Ignored) | None => {
            set(&mut headers, CONTENT_LENGTH, &length.to_string());
            (stored.status, headers, stored.body.clone())
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// RFC 9110, section 13: `If-None-Match` by weak comparison, else `If-Modified-Since`.
fn not_modified(stored: &StoredResponse, request: &HeaderMap) -> bool {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    if let Some(wanted) = request.get(IF_NONE_MATCH).and_then(text) {
        let Some(etag) = stored.headers.get(ETAG).and_then(text) else { return false };
        let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        return wanted.trim() == "*" || wanted.split(',').any(|tag| strong(tag) == strong(&etag));
    }
    let date = |value: Option<String>| value.and_then(|value| httpdate::parse_http_date(&value).ok());
    let since = date(request.get(IF_MODIFIED_SINCE).and_then(text));
    let modified = date(stored.headers.get(LAST_MODIFIED).and_then(text));
    matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Part(u64, u64),
    Unsatisfiable,
    Ignored,
}

/// One range of bytes, RFC 9110, section 14.1.2; several at once are ignored, as they may be.
fn parse_range(range: &str, length: u64) -> Range {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Range::Ignored;
    };
    match (first.trim(), last.trim()) {
        ("", suffix) => match suffix.parse::<u64>() {
            Ok(0) => Range::Unsatisfiable,
            Ok(_) if length == 0 => Range::Unsatisfiable,
            Ok(suffix) => Range::Part(length.saturating_sub(suffix), length - 1),
            Err(_) => Range::Ignored,
        },
        (first, last) => {
            let (Ok(first), Ok(last)) =
                (first.parse::<u64>(), if last.is_empty() { Ok(u64::MAX) } else { last.parse::<u64>() })
            else {
                return Range::Ignored;
            };
            if last < first {
                Range::Ignored
            } else if first >= length {
                Range::Unsatisfiable
            } else {
                Range::Part(first, last.min(length - 1))
            }
        }
    }
}

fn header_map(flat: Vec<ByteString>) -> Result<HeaderMap, JsErrorBox> {
    let mut headers = HeaderMap::new();
    let mut flat = flat.into_iter();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        let name = HeaderName::from_bytes(&name).map_err(|error| JsErrorBox::type_error(error.to_string()))?;
        headers
            .append(name, HeaderValue::from_bytes(&value).map_err(|error| JsErrorBox::type_error(error.to_string()))?);
    }
    Ok(headers)
}

/// Stores a response, if it may be stored. Its body is `data`, or streams from the resource `rid` if that is not 0.
#[op2]
#[allow(clippy::too_many_arguments, reason = "one call of an op carries a whole response")]
pub(crate) async fn op_cache_put(
    state: Rc<RefCell<OpState>>,
    #[smi] event: u32,
    #[string] cache: String,
    #[string] url: String,
    #[smi] status: u16,
    #[scoped] headers: Vec<ByteString>,
    data: Option<Uint8Array>,
    #[smi] rid: ResourceId,
) -> Result<(), JsErrorBox> {
    let (host, body) = {
        let mut state = state.borrow_mut();
        state.borrow_mut::<Events>().count_subrequest(event)?;
        let body =
            if rid == 0 { None } else { Some(state.resource_table.take_any(rid).map_err(JsErrorBox::from_err)?) };
        (state.borrow::<Host>().clone(), body)
    };
    let headers = header_map(headers)?;
    let status = StatusCode::from_u16(status).map_err(|error| JsErrorBox::range_error(error.to_string()))?;
    let body = match body {
        Some(resource) => read_all(resource).await?,
        None => data.map_or_else(Bytes::new, |data| Bytes::from(data.0)),
    };
    if body.len() > LARGEST_RESPONSE {
        return Err(too_large());
    }
    let now = SystemTime::now();
    if let Some(lifetime) = lifetime(&headers, now) {
        host.cache.put(&host.worker, &cache, &url, StoredResponse { status, headers, body, expires: now + lifetime });
    }
    Ok(())
}

fn too_large() -> JsErrorBox {
    JsErrorBox::generic(format!(
        "The response is too large to be cached: {} MiB is the most",
        LARGEST_RESPONSE / 1024 / 1024
    ))
}

async fn read_all(resource: Rc<dyn Resource>) -> Result<Bytes, JsErrorBox> {
    let mut body = Vec::new();
    loop {
        let chunk = resource.clone().read(64 * 1024).await?;
        if chunk.is_empty() {
            return Ok(body.into());
        }
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_RESPONSE {
            resource.close();
            return Err(too_large());
        }
    }
}

/// A response from a cache.
#[derive(ToV8)]
pub(crate) struct Matched {
    status: u16,
    headers: Vec<ByteString>,
    body: Uint8Array,
}

/// Looks for a stored response that is still good, and answers the request's conditions and range with it.
#[op2]
pub(crate) fn op_cache_match(
    state: &mut OpState,
    #[smi] event: u32,
    #[string] cache: String,
    #[string] url: String,
    #[scoped] headers: Vec<ByteString>,
) -> Result<Option<Matched>, JsErrorBox> {
    state.borrow_mut::<Events>().count_subrequest(event)?;
    let host = state.borrow::<Host>();
    let Some(stored) = host.cache.get(&host.worker, &cache, &url) else { return Ok(None) };
    if stored.expires <= SystemTime::now() {
        host.cache.delete(&host.worker, &cache, &url);
        return Ok(None);
    }
    let (status, headers, body) = answer(&stored, &header_map(headers)?);
    let mut flat = Vec::with_capacity(headers.len() * 2);
    for (name, value) in &headers {
        flat.push(ByteString::from(name.as_str()));
        flat.push(ByteString::from(value.as_bytes()));
    }
    Ok(Some(Matched { status: status.as_u16(), headers: flat, body: body.to_vec().into() }))
}

/// Forgets a stored response.
#[op2(fast)]
pub(crate) fn op_cache_delete(
    state: &mut OpState,
    #[smi] event: u32,
    #[string] cache: String,
    #[string] url: String,
) -> Result<bool, JsErrorBox> {
    state.borrow_mut::<Events>().count_subrequest(event)?;
    let host = state.borrow::<Host>();
    Ok(host.cache.delete(&host.worker, &cache, &url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect()
    }

    fn stored(pairs: &[(&str, &str)], body: &str) -> StoredResponse {
        StoredResponse {
            status: StatusCode::OK,
            headers: headers(pairs),
            body: Bytes::copy_from_slice(body.as_bytes()),
            expires: SystemTime::now() + DEFAULT_LIFETIME,
        }
    }

    #[test]
    fn lifetimes() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let check = |pairs: &[(&str, &str)], expect: Option<u64>| {
            assert_eq!(lifetime(&headers(pairs), now), expect.map(Duration::from_secs), "{pairs:?}");
        };
        check(&[], Some(7200));
        check(&[("cache-control", "max-age=60")], Some(60));
        check(&[("cache-control", "max-age=60, s-maxage=10")], Some(10));
        check(&[("cache-control", "max-age=0")], None);
        check(&[("cache-control", "no-store")], None);
        check(&[("cache-control", "private, max-age=60")], None);
        check(&[("cache-control", "no-cache")], None);
        check(&[("cache-control", "max-age=60"), ("set-cookie", "a=b")], None);
        check(&[("cache-control", "private=Set-Cookie, max-age=60"), ("set-cookie", "a=b")], Some(60));
        check(&[("expires", "Sun, 06 Nov 1994 08:51:37 GMT")], Some(120));
        check(&[("expires", "Sun, 06 Nov 1994 08:49:00 GMT")], None);
        check(&[("expires", "0")], None);
    }

    #[test]
    fn ranges() {
        let check = |range: &str, expect: Range| assert_eq!(parse_range(range, 10), expect, "{range}");
        check("bytes=0-4", Range::Part(0, 4));
        check("bytes=5-", Range::Part(5, 9));
        check("bytes=-3", Range::Part(7, 9));
        check("bytes=-30", Range::Part(0, 9));
        check("bytes=8-30", Range::Part(8, 9));
        check("bytes=10-", Range::Unsatisfiable);
        check("bytes=-0", Range::Unsatisfiable);
        check("bytes=4-2", Range::Ignored);
        check("bytes=0-1,3-4", Range::Ignored);
        check("lines=0-1", Range::Ignored);
    }

    #[test]
    fn conditional_requests() {
        let check = |response: &[(&str, &str)], request: &[(&str, &str)], expect: u16| {
            let (status, ..) = answer(&stored(response, "0123456789"), &headers(request));
            assert_eq!(status.as_u16(), expect, "{request:?}");
        };
        check(&[("etag", "\"a\"")], &[("if-none-match", "\"a\"")], 304);
        check(&[("etag", "W/\"a\"")], &[("if-none-match", "\"b\", \"a\"")], 304);
        check(&[("etag", "\"a\"")], &[("if-none-match", "\"b\"")], 200);
        check(&[("etag", "\"a\"")], &[("if-none-match", "*")], 304);
        check(
            &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
            &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
            304,
        );
        check(
            &[("last-modified", "Sun, 06 Nov 1994 08:49:38 GMT")],
            &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
            200,
        );
        check(&[], &[("range", "bytes=0-1")], 206);
        check(&[], &[("range", "bytes=90-")], 416);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = MemoryCache::new(300);
        let put = |url: &str| cache.put("w", "", url, stored(&[], &"x".repeat(100)));
        put("a");
        put("b");
        assert!(cache.get("w", "", "a").is_some());
        put("c");
        assert!(cache.get("w", "", "b").is_none(), "b was not used since");
        assert!(cache.get("w", "", "a").is_some());
        assert!(cache.get("w", "", "c").is_some());
        assert!(cache.get("other", "", "a").is_none(), "caches of Workers are apart");
        assert!(cache.delete("w", "", "a"));
        assert!(!cache.delete("w", "", "a"));
    }
}
