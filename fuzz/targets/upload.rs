//! Uploads of Workers: any bytes as the body of a multipart upload, in pieces whose length the first byte says. Every body is
//! read, or refused; and no module is outside of its folder.

#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use libfuzzer_sys::fuzz_target;
use skep_control::read_upload;
use skep_exchange::{Body, BodyError};
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let frames: Vec<Result<_, BodyError>> =
        body.chunks(usize::from(*first) + 1).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
    let body = Body::boxed(StreamBody::new(stream::iter(frames)));
    let Ok(names) = RUNTIME.block_on(read_upload("multipart/form-data; boundary=B", body)) else { return };
    for name in names {
        let outside = name.starts_with('/') || name.split('/').any(|segment| matches!(segment, "" | "." | ".."));
        assert!(!outside, "{name:?}");
    }
});
