//! What a response holds: default headers, entity tags, ranges, codings, the cache, large files.

mod support;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use serde_json::json;
use skep_assets::manifest::{File, ManifestBuilder, Variants};
use skep_assets::{
    Answer, AssetHash, Config, Contents, Encoding, Manifest, MemoryContents, Reading, Script, Server, Site,
};
use support::{Tested, config, hash_of, request};

const MEMORY: u64 = 64 * 1024 * 1024;

/// Contents that count how often each is read.
#[derive(Default)]
struct Counted {
    contents: MemoryContents,
    reads: AtomicUsize,
    range_reads: AtomicUsize,
}

impl Contents for Counted {
    fn read(&self, hash: AssetHash, encoding: Encoding) -> Reading<'_> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            // lets others come in between
            tokio::task::yield_now().await;
            self.contents.read(hash, encoding).await
        })
    }

    fn read_range(&self, hash: AssetHash, encoding: Encoding, range: Range<u64>) -> Reading<'_> {
        self.range_reads.fetch_add(1, Ordering::Relaxed);
        assert!(range.end - range.start <= 256 * 1024, "{range:?} is more than a piece");
        self.contents.read_range(hash, encoding, range)
    }
}

fn one_file(path: &str, content: &[u8], variants: Variants) -> (Manifest, AssetHash) {
    let hash = AssetHash::of(content, path.rsplit('.').next().unwrap());
    let mut manifest = ManifestBuilder::default();
    let content_type = skep_assets::upload::content_type(path).map(Into::into);
    manifest.add(path, &File { hash, size: content.len() as u64, content_type, variants }).unwrap();
    (manifest.build().unwrap(), hash)
}

fn plain(manifest: Manifest) -> Site {
    Site::new(manifest, &Config::default(), Script::None).0
}

#[tokio::test]
async fn default_headers() {
    let site = Tested::assets(&["/a.html", "/b.unknown-type"], &config(json!({})));
    let (status, headers, body) = site.full(request("GET", "/a", &[])).await;
    assert_eq!((status.as_u16(), body.as_slice()), (200, b"/a.html".as_slice()));
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["cache-control"], "public, max-age=0, must-revalidate");
    assert_eq!(headers["etag"], format!("\"{}\"", hash_of("/a.html")));
    assert_eq!(headers.len(), 3);
    assert_eq!(site.header("/b.unknown-type", "content-type").await, None);
    for asked in [("authorization", "Basic x"), ("range", "bytes=0-1")] {
        let (_, headers, _) = site.full(request("GET", "/a", &[asked])).await;
        assert!(!headers.contains_key("cache-control"), "{asked:?}");
    }
}

#[tokio::test]
async fn a_tag_that_is_known_needs_no_content() {
    let site = Tested::assets(&["/a.html"], &config(json!({})));
    let tag = format!("\"{}\"", hash_of("/a.html"));
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        for method in ["GET", "HEAD"] {
            // answered at once, before anything was read
            let asked = request(method, "/a", &[("if-none-match", &known), ("range", "bytes=0-1")]);
            let response = site.server.respond_now(&site.site, &asked).unwrap();
            assert_eq!(response.status().as_u16(), 304, "{known}");
            assert_eq!(response.headers()["etag"], tag);
            assert!(!response.headers().contains_key("content-type"));
            assert!(response.body().is_empty());
        }
    }
    let (status, ..) = site.full(request("GET", "/a", &[("if-none-match", "\"other\"")])).await;
    assert_eq!(status.as_u16(), 200);
}

#[tokio::test]
async fn head_says_what_get_would() {
    let site = Tested::assets(&["/a.html"], &config(json!({})));
    let response = site.server.respond_now(&site.site, &request("HEAD", "/a", &[])).unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["content-length"]), (200, &"7".parse().unwrap()));
    assert!(response.body().is_empty());
    let response = site.server.respond_now(&site.site, &request("HEAD", "/a", &[("range", "bytes=0-1")])).unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["content-length"]), (200, &"7".parse().unwrap()));
}

#[tokio::test]
async fn a_part_of_a_file() {
    let site = Tested::assets(&["/a.html"], &config(json!({})));
    let tag = format!("\"{}\"", hash_of("/a.html"));
    let check = async |headers: &[(&str, &str)], status: u16, content_range: Option<&str>, body: &str| {
        let (seen, headers, content) = site.full(request("GET", "/a", headers)).await;
        let range = headers.get("content-range").map(|range| range.to_str().unwrap());
        assert_eq!((seen.as_u16(), range, content.as_slice()), (status, content_range, body.as_bytes()));
    };
    check(&[("range", "bytes=1-3")], 206, Some("bytes 1-3/7"), "a.h").await;
    check(&[("range", "bytes=5-")], 206, Some("bytes 5-6/7"), "ml").await;
    check(&[("range", "bytes=-2")], 206, Some("bytes 5-6/7"), "ml").await;
    check(&[("range", "bytes=0-0,2-3")], 200, None, "/a.html").await;
    check(&[("range", "bytes=7-")], 416, Some("bytes */7"), "").await;
    check(&[("range", "bytes=1-3"), ("if-range", &tag)], 206, Some("bytes 1-3/7"), "a.h").await;
    check(&[("range", "bytes=1-3"), ("if-range", "\"old\"")], 200, None, "/a.html").await;
}

/// A file with a variant in each coding; what each holds is the coding's name.
fn coded() -> (Tested, AssetHash) {
    let content = b"let x = 1;";
    let mut variants = Variants::default();
    let mut contents = MemoryContents::default();
    let hash = AssetHash::of(content, "js");
    contents.add(hash, Encoding::Identity, content.to_vec());
    for encoding in Encoding::COMPRESSED {
        variants.add(encoding, encoding.name().len() as u64);
        contents.add(hash, encoding, encoding.name());
    }
    let (manifest, hash) = one_file("/a.js", content, variants);
    let rules = config(json!({ "_headers": "/b.js\n  Content-Encoding: br\n", "_redirects": "/c.js /a.js 200" }));
    let (site, _) = Site::new(manifest, &rules, Script::None);
    (Tested { site, server: Server::new(Arc::new(contents), MEMORY) }, hash)
}

#[tokio::test]
async fn a_variant_by_what_is_accepted() {
    let (site, hash) = coded();
    for (accept, coding) in [
        ("gzip, deflate, br, zstd", Some("br")),
        ("gzip;q=1, br;q=0.5", Some("gzip")),
        ("zstd", Some("zstd")),
        ("identity", None),
        ("br;q=0", None),
    ] {
        // read from the contents, then from memory
        for _ in 0..2 {
            let (status, headers, body) = site.full(request("GET", "/a.js", &[("accept-encoding", accept)])).await;
            assert_eq!(status.as_u16(), 200);
            assert_eq!(headers.get("content-encoding").map(|coding| coding.to_str().unwrap()), coding, "{accept}");
            assert_eq!(body, coding.unwrap_or("let x = 1;").as_bytes());
            assert_eq!(headers["vary"], "accept-encoding");
            let tag = if coding.is_some() { format!("W/\"{hash}\"") } else { format!("\"{hash}\"") };
            assert_eq!(headers["etag"], tag);
            let known = request("GET", "/a.js", &[("accept-encoding", accept), ("if-none-match", &tag)]);
            assert_eq!(site.full(known).await.0.as_u16(), 304);
        }
    }
    let (_, headers, _) = site.full(request("HEAD", "/a.js", &[("accept-encoding", "gzip")])).await;
    assert_eq!(
        (&headers["content-length"], &headers["content-encoding"]),
        (&"4".parse().unwrap(), &"gzip".parse().unwrap())
    );
    // parts are of the file as it is
    let part = request("GET", "/a.js", &[("accept-encoding", "br"), ("range", "bytes=0-2")]);
    let (status, headers, body) = site.full(part).await;
    assert_eq!((status.as_u16(), body.as_slice()), (206, b"let".as_slice()));
    assert!(!headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn a_file_that_a_rule_calls_coded_is_sent_as_it_is() {
    let content = b"already compressed";
    let mut variants = Variants::default();
    variants.add(Encoding::Gzip, 3);
    let (manifest, hash) = one_file("/b.js", content, variants);
    let mut contents = MemoryContents::default();
    contents.add(hash, Encoding::Identity, content.to_vec());
    contents.add(hash, Encoding::Gzip, "gz!");
    let (site, _) =
        Site::new(manifest, &config(json!({ "_headers": "/b.js\n  Content-Encoding: br\n" })), Script::None);
    let site = Tested { site, server: Server::new(Arc::new(contents), MEMORY) };
    let (_, headers, body) = site.full(request("GET", "/b.js", &[("accept-encoding", "br, gzip")])).await;
    assert_eq!((&headers["content-encoding"], body.as_slice()), (&"br".parse().unwrap(), content.as_slice()));
}

#[tokio::test]
async fn a_lost_variant_is_no_loss() {
    let mut variants = Variants::default();
    variants.add(Encoding::Brotli, 3);
    let (manifest, hash) = one_file("/a.js", b"let x = 1;", variants);
    let mut contents = MemoryContents::default();
    contents.add(hash, Encoding::Identity, "let x = 1;");
    let site = Tested { site: plain(manifest), server: Server::new(Arc::new(contents), MEMORY) };
    let (status, headers, body) = site.full(request("GET", "/a.js", &[("accept-encoding", "br")])).await;
    assert_eq!((status.as_u16(), body.as_slice()), (200, b"let x = 1;".as_slice()));
    assert!(!headers.contains_key("content-encoding"));
    assert_eq!(headers["etag"], format!("\"{hash}\""));
}

#[tokio::test]
async fn a_lost_file_is_an_error_that_names_it() {
    let (manifest, hash) = one_file("/a.js", b"let x = 1;", Variants::default());
    let server = Server::new(Arc::new(MemoryContents::default()), MEMORY);
    let error = server.answer(&plain(manifest), &request("GET", "/a.js", &[])).response().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains(&hash.to_string()), "{error}");
}

#[tokio::test]
async fn a_hot_file_is_answered_at_once_and_read_once() {
    let (manifest, contents) = support::manifest_of(&["/a.html"]);
    let contents = Arc::new(Counted { contents, ..Counted::default() });
    let server = Server::new(contents.clone(), MEMORY);
    let site = plain(manifest);
    let ask = || server.answer(&site, &request("GET", "/a", &[]));
    assert!(server.respond_now(&site, &request("GET", "/a", &[])).is_none(), "it was not read yet");
    // of many that come at once, one reads
    let cold: Vec<Answer> = (0..20).map(|_| ask()).collect();
    for response in futures_join(cold).await {
        assert_eq!(response.unwrap().unwrap().body().as_full(), Some(b"/a.html".as_slice()));
    }
    assert_eq!(contents.reads.load(Ordering::Relaxed), 1);
    let response = server.respond_now(&site, &request("GET", "/a", &[])).unwrap();
    assert_eq!(response.body().as_full(), Some(b"/a.html".as_slice()));
    assert_eq!(contents.reads.load(Ordering::Relaxed), 1);
    assert!(server.memory() > 0);
}

/// Drives all at the same time.
async fn futures_join(answers: Vec<Answer>) -> Vec<io::Result<Option<skep_exchange::Response>>> {
    let tasks: Vec<_> = answers.into_iter().map(|answer| tokio::spawn(answer.response())).collect();
    let mut responses = Vec::new();
    for task in tasks {
        responses.push(task.await.unwrap());
    }
    responses
}

#[tokio::test]
async fn without_memory_everything_is_read_anew() {
    let (manifest, contents) = support::manifest_of(&["/a.html"]);
    let contents = Arc::new(Counted { contents, ..Counted::default() });
    let server = Server::new(contents.clone(), 0);
    let site = plain(manifest);
    for reads in 1..4 {
        server.answer(&site, &request("GET", "/a", &[])).response().await.unwrap().unwrap();
        assert_eq!(contents.reads.load(Ordering::Relaxed), reads);
    }
}

#[tokio::test]
async fn memory_has_a_limit() {
    let mut contents = MemoryContents::default();
    let mut manifest = ManifestBuilder::default();
    for number in 0..400u32 {
        let content = vec![number as u8; 50_000];
        let hash = AssetHash::of(&content, &number.to_string());
        contents.add(hash, Encoding::Identity, content);
        manifest
            .add(&format!("/{number}"), &File { hash, size: 50_000, content_type: None, variants: Variants::default() })
            .unwrap();
    }
    let server = Server::new(Arc::new(contents), 4 * 1024 * 1024);
    let site = plain(manifest.build().unwrap());
    for number in 0..400 {
        server.answer(&site, &request("GET", &format!("/{number}"), &[])).response().await.unwrap().unwrap();
    }
    assert!((1_000_000..=4 * 1024 * 1024).contains(&server.memory()), "{}", server.memory());
}

#[tokio::test]
async fn a_large_file_comes_in_pieces() {
    let content: Vec<u8> = (0..3_000_000u32).map(|number| (number / 7) as u8).collect();
    let (manifest, hash) = one_file("/film.mp4", &content, Variants::default());
    let mut stored = MemoryContents::default();
    stored.add(hash, Encoding::Identity, content.clone());
    let contents = Arc::new(Counted { contents: stored, ..Counted::default() });
    let server = Server::new(contents.clone(), MEMORY);
    let site = plain(manifest);
    let ask = async |headers: &[(&str, &str)]| {
        server.answer(&site, &request("GET", "/film.mp4", headers)).response().await.unwrap().unwrap()
    };
    let response = ask(&[]).await;
    assert_eq!(contents.range_reads.load(Ordering::Relaxed), 1, "no more is read than is taken");
    assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(3_000_000));
    assert_eq!(response.into_body().collect(u64::MAX).await.unwrap(), Bytes::from(content.clone()));
    assert_eq!(contents.range_reads.load(Ordering::Relaxed), 12);

    let response = ask(&[("range", "bytes=1000000-2000000")]).await;
    assert_eq!(response.status().as_u16(), 206);
    assert_eq!(response.headers()["content-range"], "bytes 1000000-2000000/3000000");
    assert_eq!(
        response.into_body().collect(u64::MAX).await.unwrap(),
        Bytes::from(content[1_000_000..=2_000_000].to_vec())
    );
    assert_eq!((contents.reads.load(Ordering::Relaxed), server.memory()), (0, 0));
}

#[tokio::test]
async fn a_large_file_that_became_shorter_breaks_off() {
    let content = vec![1u8; 2_000_000];
    let (manifest, hash) = one_file("/film.mp4", &content, Variants::default());
    let mut contents = MemoryContents::default();
    contents.add(hash, Encoding::Identity, content[..1_500_000].to_vec());
    let server = Server::new(Arc::new(contents), MEMORY);
    let response =
        server.answer(&plain(manifest), &request("GET", "/film.mp4", &[])).response().await.unwrap().unwrap();
    let error = response.into_body().collect(u64::MAX).await.unwrap_err();
    assert!(error.to_string().contains("became shorter"), "{error}");
}

#[tokio::test]
async fn an_empty_file() {
    let (manifest, hash) = one_file("/empty.txt", b"", Variants::default());
    let mut contents = MemoryContents::default();
    contents.add(hash, Encoding::Identity, "");
    let site = Tested { site: plain(manifest), server: Server::new(Arc::new(contents), MEMORY) };
    let (status, headers, body) = site.full(request("GET", "/empty.txt", &[])).await;
    assert_eq!(
        (status.as_u16(), body.len(), &headers["content-type"]),
        (200, 0, &"text/plain; charset=utf-8".parse().unwrap())
    );
    let (status, headers, _) = site.full(request("GET", "/empty.txt", &[("range", "bytes=0-")])).await;
    assert_eq!((status.as_u16(), &headers["content-range"]), (416, &"bytes */0".parse().unwrap()));
}

#[tokio::test]
async fn a_relative_target_names_its_host_in_a_header() {
    let rules = config(json!({ "_headers": "https://example.com/*\n  X: yes" }));
    let site = Tested::assets(&["/a.html"], &rules);
    let ask = |host: &str| Request::get("/a").header("host", host).body(()).unwrap();
    assert!(site.full(ask("example.com:8080")).await.1.contains_key("x"));
    assert!(site.full(ask("example.com")).await.1.contains_key("x"));
    assert!(!site.full(ask("other.com")).await.1.contains_key("x"));
}
