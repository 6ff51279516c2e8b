//! Answers: from a request to a response, out of memory where that is possible.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{HeaderValue, Method, Request, StatusCode};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use skep_exchange::{Body, Response};

use crate::conditional::{Ranges, none_match, ranges};
use crate::contents::{Contents, Pieces};
use crate::manifest::Asset;
use crate::path::CanonicalPath;
use crate::site::{Asker, Route, Site, WorkerReason};
use crate::{AssetHash, Encoding};

/// The largest content in bytes that is kept in memory: larger ones are read piece by piece for each response.
const LARGEST_CACHED: u64 = 1024 * 1024;
/// What a cached content costs beside its bytes, about.
const OVERHEAD: u64 = 200;

/// Sent unless the request has an `Authorization` or a `Range`.
/// <https://developers.cloudflare.com/workers/static-assets/headers/#default-headers>
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
const VARY: HeaderValue = HeaderValue::from_static("accept-encoding");

/// Answers requests from stored contents, with the hot ones in memory. One for a process: contents are kept by their hash,
/// whichever site they belong to.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    contents: Arc<dyn Contents>,
    /// None for a server that reads everything anew.
    cache: Option<Cache<(AssetHash, Encoding), Cached, Weigh>>,
}

#[derive(Clone)]
struct Cached {
    content: Bytes,
    tag: HeaderValue,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<(AssetHash, Encoding), Cached> for Weigh {
    fn weight(&self, _: &(AssetHash, Encoding), cached: &Cached) -> u64 {
        cached.content.len() as u64 + OVERHEAD
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Answer {
    /// The answer is here.
    Response(Response),
    /// The Worker answers.
    Worker(WorkerReason),
    /// The answer has to be read first.
    Pending(Pending),
}

impl Answer {
    /// The response, which is read if it must be. `None` is for the Worker.
    ///
    /// # Errors
    /// A content cannot be read, or is in the manifest but not among the contents.
    pub async fn response(self) -> io::Result<Option<Response>> {
        match self {
            Self::Response(response) => Ok(Some(response)),
            Self::Worker(_) => Ok(None),
            Self::Pending(pending) => pending.response().await.map(Some),
        }
    }
}

/// An answer whose content has to be read. It holds all it needs, not the request.
pub struct Pending {
    shared: Arc<Shared>,
    hash: AssetHash,
    encoding: Encoding,
    /// The size of the content in that coding, in bytes.
    size: u64,
    /// The size of the file as it is.
    plain_size: u64,
    status: StatusCode,
    /// Of all responses to this request.
    headers: HeaderMap,
    range: Option<Range<u64>>,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pending").field("hash", &self.hash).field("encoding", &self.encoding).finish()
    }
}

impl Server {
    /// A server over stored contents. `memory` is how many bytes are kept in memory at most; with 0 everything is read anew
    /// each time, as suits files that change.
    pub fn new(contents: Arc<dyn Contents>, memory: u64) -> Self {
        let cache = (memory > 0).then(|| {
            // few shards, so that each has room for the largest content; a look-up holds a shard for some ten nanoseconds
            let shards = (memory / (8 * LARGEST_CACHED)).clamp(1, 16).next_power_of_two() as usize;
            let options = quick_cache::OptionsBuilder::new()
                .estimated_items_capacity((memory / (16 * 1024)).clamp(16, 100_000) as usize)
                .weight_capacity(memory)
                .shards(shards)
                .build();
            options.ok().map(|options| Cache::with_options(options, Weigh, Default::default(), Default::default()))
        });
        Self(Arc::new(Shared { contents, cache: cache.flatten() }))
    }

    /// What becomes of a client's request, without waiting.
    pub fn answer<B>(&self, site: &Site, request: &Request<B>) -> Answer {
        self.answer_to(Asker::Client, site, request)
    }

    /// The answer to `env.ASSETS.fetch()`: the same, but never the Worker, and whatever the host.
    /// <https://developers.cloudflare.com/workers/static-assets/binding/#runtime-api-reference>
    pub fn fetch<B>(&self, site: &Site, request: &Request<B>) -> Answer {
        self.answer_to(Asker::Worker, site, request)
    }

    /// The response, if it can be given without waiting.
    pub fn respond_now<B>(&self, site: &Site, request: &Request<B>) -> Option<Response> {
        match self.answer(site, request) {
            Answer::Response(response) => Some(response),
            Answer::Worker(_) | Answer::Pending(_) => None,
        }
    }

    /// The bytes that are kept in memory now.
    pub fn memory(&self) -> u64 {
        self.0.cache.as_ref().map_or(0, Cache::weight)
    }

    fn answer_to<B>(&self, asker: Asker, site: &Site, request: &Request<B>) -> Answer {
        let path = CanonicalPath::of(request.uri().path());
        let route = site.route(asker, request, &path);
        if let Route::Worker(reason) = route {
            return Answer::Worker(reason);
        }
        let rules = site.header_rules(|| host(request), &path.encoded);
        let (status, mut headers) = match route {
            Route::File(asset, is_404) => return self.file(request, asset, is_404, &rules),
            Route::Redirect(status, location) => (status, HeaderMap::from_iter([(header::LOCATION, location)])),
            Route::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, HeaderMap::from_iter([(header::ALLOW, METHODS)]))
            }
            Route::NotFound | Route::Worker(_) => (StatusCode::NOT_FOUND, HeaderMap::new()),
        };
        rules.apply(&mut headers);
        Answer::Response(response(status, headers, Body::empty()))
    }

    fn file<B>(
        &self,
        request: &Request<B>,
        asset: Asset<'_>,
        is_404: bool,
        rules: &crate::headers::Matched<'_, '_>,
    ) -> Answer {
        let asked = request.headers();
        let hash = asset.hash();
        let variants = asset.variants();
        let mut headers = HeaderMap::with_capacity(6);
        if let Some(content_type) = asset.content_type() {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
        }
        if !asked.contains_key(header::AUTHORIZATION) && !asked.contains_key(header::RANGE) {
            headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
        }
        let mut encoding = Encoding::Identity;
        if !variants.is_empty() && !rules.sets_encoding() {
            headers.insert(header::VARY, VARY);
            if let Some(accept) = asked.get(header::ACCEPT_ENCODING).and_then(|accept| accept.to_str().ok()) {
                encoding = Encoding::negotiate(accept, variants);
            }
        }
        let mut status = if is_404 { StatusCode::NOT_FOUND } else { StatusCode::OK };
        let mut range = None;
        // RFC 9110, section 13.2.1: conditions are for responses that would be successes
        let is_conditional = asked.contains_key(header::IF_NONE_MATCH) || asked.contains_key(header::RANGE);
        if is_conditional && !is_404 {
            let tag = hash.to_string();
            if none_match(asked, &tag) {
                headers.insert(header::ETAG, entity_tag(hash, encoding));
                rules.apply(&mut headers);
                headers.remove(header::CONTENT_TYPE);
                headers.remove(header::CONTENT_ENCODING);
                return Answer::Response(response(StatusCode::NOT_MODIFIED, headers, Body::empty()));
            }
            let asked_range =
                if *request.method() == Method::GET { ranges(asked, &tag, asset.size()) } else { Ranges::All };
            match asked_range {
                Ranges::All => {}
                Ranges::One(one) => {
                    encoding = Encoding::Identity;
                    status = StatusCode::PARTIAL_CONTENT;
                    headers.insert(
                        header::CONTENT_RANGE,
                        content_range(&format!("{}-{}", one.start, one.end - 1), asset.size()),
                    );
                    range = Some(one);
                }
                Ranges::Unsatisfiable => {
                    headers.remove(header::CONTENT_TYPE);
                    headers.insert(header::CONTENT_RANGE, content_range("*", asset.size()));
                    rules.apply(&mut headers);
                    return Answer::Response(response(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty()));
                }
            }
        }
        if encoding != Encoding::Identity {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        }
        let size = variants.size(encoding).unwrap_or(asset.size());
        if *request.method() == Method::HEAD {
            headers.insert(header::CONTENT_LENGTH, size.into());
            headers.insert(header::ETAG, entity_tag(hash, encoding));
            rules.apply(&mut headers);
            return Answer::Response(response(status, headers, Body::empty()));
        }
        if let Some(cached) = self.0.cache.as_ref().and_then(|cache| cache.get(&(hash, encoding))) {
            headers.insert(header::ETAG, cached.tag);
            rules.apply(&mut headers);
            return Answer::Response(response(status, headers, part(&cached.content, range.as_ref())));
        }
        headers.insert(header::ETAG, entity_tag(hash, encoding));
        rules.apply(&mut headers);
        let shared = Arc::clone(&self.0);
        Answer::Pending(Pending { shared, hash, encoding, size, plain_size: asset.size(), status, headers, range })
    }
}

impl Pending {
    /// Reads the content.
    ///
    /// # Errors
    /// It cannot be read, or is in the manifest but not among the contents.
    pub async fn response(mut self) -> io::Result<Response> {
        let mut body = self.body().await?;
        if body.is_none() && self.encoding != Encoding::Identity {
            // a variant may be lost: the file itself is there
            self.encoding = Encoding::Identity;
            self.size = self.plain_size;
            self.headers.remove(header::CONTENT_ENCODING);
            if self.headers.contains_key(header::ETAG) {
                self.headers.insert(header::ETAG, entity_tag(self.hash, self.encoding));
            }
            body = self.body().await?;
        }
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, format!("the content of asset {} is not stored", self.hash));
        let body = body.ok_or_else(missing)?;
        Ok(response(self.status, self.headers, body))
    }

    async fn body(&self) -> io::Result<Option<Body>> {
        let (hash, encoding) = (self.hash, self.encoding);
        if self.size > LARGEST_CACHED {
            let range = self.range.clone().unwrap_or(0..self.size);
            let pieces = Pieces::open(Arc::clone(&self.shared.contents), hash, encoding, range).await?;
            return Ok(pieces.map(Body::boxed));
        }
        let read = async || match self.shared.contents.read(hash, encoding).await {
            Ok(Some(content)) => Ok(Cached { content, tag: entity_tag(hash, encoding) }),
            Ok(None) => Err(None),
            Err(error) => Err(Some(error)),
        };
        let cached = match &self.shared.cache {
            // of many that wait for the same content, one reads it
            Some(cache) => cache.get_or_insert_async(&(hash, encoding), read()).await,
            None => read().await,
        };
        match cached {
            Ok(cached) => Ok(Some(part(&cached.content, self.range.as_ref()))),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn part(content: &Bytes, range: Option<&Range<u64>>) -> Body {
    let Some(range) = range else { return Body::full(content.clone()) };
    let end = content.len().min(usize::try_from(range.end).unwrap_or(usize::MAX));
    Body::full(content.slice(end.min(usize::try_from(range.start).unwrap_or(usize::MAX))..end))
}

/// The tag of the content as it is is strong. A compressed variant has the same as a weak one, as Cloudflare's have: it
/// means the same, and a client may come back with either.
fn entity_tag(hash: AssetHash, encoding: Encoding) -> HeaderValue {
    let tag = if encoding == Encoding::Identity { format!("\"{hash}\"") } else { format!("W/\"{hash}\"") };
    HeaderValue::from_maybe_shared(Bytes::from(tag)).unwrap_or(HeaderValue::from_static("\"\""))
}

fn content_range(range: &str, size: u64) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(format!("bytes {range}/{size}")))
        .unwrap_or(HeaderValue::from_static("bytes */*"))
}

/// The host that a request names, without its port.
fn host<B>(request: &Request<B>) -> &str {
    let named = || {
        let host = request.headers().get(header::HOST)?.to_str().ok()?;
        Some(
            host.rsplit_once(':')
                .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
                .map_or(host, |(host, _)| host),
        )
    };
    request.uri().host().or_else(named).unwrap_or_default()
}
