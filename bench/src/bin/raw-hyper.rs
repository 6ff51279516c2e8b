//! The floor: a server that only answers hello, or with a file that it has in memory, on hyper and one thread. What Skep needs
//! beyond this is the platform.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the port is told on standard output")]

use std::convert::Infallible;
use std::error::Error;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let (body, kind) = match std::env::args_os().nth(1) {
        Some(file) => (Bytes::from(std::fs::read(file)?), "text/html; charset=utf-8"),
        None => (Bytes::from_static(br#"{"message":"hi"}"#), "application/json"),
    };
    let kind = HeaderValue::from_static(kind);
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(serve(body, kind))
}

async fn serve(body: Bytes, kind: HeaderValue) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (body, kind) = (body.clone(), kind.clone());
        let answer = service_fn(move |_: Request<Incoming>| {
            let mut response = Response::new(Full::new(body.clone()));
            response.headers_mut().insert(CONTENT_TYPE, kind.clone());
            std::future::ready(Ok::<_, Infallible>(response))
        });
        // A connection that breaks concerns its client only.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}
