//! What a hot file costs: one answer, and requests per second beside a bare hyper server with the file in memory, both over
//! keep-alive connections on this machine. `cargo bench -p skep-assets`.

#![allow(clippy::print_stdout)]

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use skep_assets::manifest::{AssetHash, File, ManifestBuilder, Variants};
use skep_assets::{Config, Encoding, MemoryContents, Script, Server, Site};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PAGE: &str = "<!doctype html><title>Hello</title><h1>Hello World!</h1>\n";
const CONNECTIONS: usize = 16;
/// Requests that are on their way at once on a connection: what is measured is the server and not the switches between threads.
const PIPELINE: usize = 16;
const TIME: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;

fn site(files: usize, config: &Config) -> (Site, Server) {
    let hash = AssetHash::of(PAGE.as_bytes(), "html");
    let mut contents = MemoryContents::default();
    contents.add(hash, Encoding::Identity, PAGE);
    let file = File {
        hash,
        size: PAGE.len() as u64,
        content_type: Some("text/html; charset=utf-8".to_owned()),
        variants: Variants::default(),
    };
    let mut manifest = ManifestBuilder::default();
    manifest.add("/hello.html", &file).expect("a good path");
    for number in 1..files {
        manifest.add(&format!("/assets/chunk-{number}.html"), &file).expect("a good path");
    }
    let manifest = manifest.build().expect("no path is there twice");
    println!("{files} files: {} bytes in memory", manifest.memory());
    let (site, _) = Site::new(manifest, config, Script::None);
    (site, Server::new(Arc::new(contents), 64 * 1024 * 1024))
}

/// Nanoseconds for each answer.
fn answers(site: &Site, server: &Server, path: &str) -> f64 {
    let request = Request::get(format!("https://example.com{path}"))
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .body(())
        .expect("a good request");
    let count = 1_000_000u32;
    let started = Instant::now();
    for _ in 0..count {
        black_box(server.respond_now(site, black_box(&request)).expect("a hot file"));
    }
    started.elapsed().as_nanos() as f64 / f64::from(count)
}

/// Requests per second against a server.
async fn load(port: u16, path: &str) -> f64 {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").repeat(PIPELINE);
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (request, done, answered) = (request.clone(), Arc::clone(&done), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
                let mut buffer = vec![0; 64 * 1024];
                while !done.load(Ordering::Relaxed) {
                    stream.write_all(request.as_bytes()).await.expect("the server reads");
                    let mut pages = 0;
                    while pages < PIPELINE {
                        let read = stream.read(&mut buffer).await.expect("the server answers");
                        // the page's one line break that no header has
                        pages += buffer[..read].windows(2).filter(|pair| pair == b">\n").count();
                    }
                    answered.fetch_add(PIPELINE as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let started = Instant::now();
    tokio::time::sleep(TIME).await;
    let rate = answered.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no client failed");
    }
    rate
}

/// Serves on a thread of its own, and gives the port.
fn serve<F, B>(respond: F) -> u16
where
    F: Fn(Request<hyper::body::Incoming>) -> http::Response<B> + Clone + Send + Sync + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
            sender.send(listener.local_addr().expect("an address").port()).expect("the bench waits");
            while let Ok((stream, _)) = listener.accept().await {
                let respond = respond.clone();
                let service = service_fn(move |request| {
                    let response = respond(request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .pipeline_flush(true)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
    });
    receiver.recv().expect("the server started")
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let warm = |site: &Site, server: &Server| {
        let request = Request::get("https://example.com/hello").body(()).expect("a good request");
        runtime.block_on(server.answer(site, &request).response()).expect("it is stored");
    };
    let rules = Config {
        headers: Some("/*\n  X-Frame-Options: DENY\n/hello*\n  X-Robots-Tag: noindex\n/x/:y\n  Z: :y\n".to_owned()),
        redirects: Some("/a /b\n/c/* /d/:splat\n".to_owned()),
        ..Config::default()
    };
    for (name, files, config) in
        [("one file", 1, &Config::default()), ("100,000 files", 100_000, &Config::default()), ("with rules", 1, &rules)]
    {
        let (site, server) = site(files, config);
        warm(&site, &server);
        println!("{name}: {:.0} ns for an answer", answers(&site, &server, "/hello"));
    }

    let (site, server) = site(1, &Config::default());
    warm(&site, &server);
    let page = Bytes::from_static(PAGE.as_bytes());
    let bare = serve(move |_| {
        let mut response = http::Response::new(Full::new(page.clone()));
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/html; charset=utf-8"));
        response
    });
    let site = Arc::new(site);
    let assets = serve(move |request| server.respond_now(&site, &request).expect("a hot file"));
    let mut shares = Vec::new();
    for _ in 0..ROUNDS {
        // one after the other, so that both have what the machine gives at the time
        let (bare, assets) = (runtime.block_on(load(bare, "/hello")), runtime.block_on(load(assets, "/hello")));
        println!("bare hyper {bare:.0}/s, assets {assets:.0}/s: {:.2}", assets / bare);
        shares.push(assets / bare);
    }
    shares.sort_by(f64::total_cmp);
    println!("median share of bare hyper: {:.2}", shares[ROUNDS / 2]);
}
