//! Large bodies pass in constant memory.

use bytes::Bytes;
use libtest_mimic::Trial;
use skep_exchange::Body;
use skep_isolate::Isolate;
use skep_test_support::{RUNTIME, answered, request, start, test_alone, version};

const CHUNK: usize = 64 * 1024;
const MEBIBYTE: usize = 1024 * 1024;
const GIBIBYTE: usize = 1024 * MEBIBYTE;
/// What the process may grow by.
const MOST_GROWTH: usize = 20 * MEBIBYTE;
/// What it may grow by where each chunk is copied once: garbage that V8 lets lie until there are 32 MiB of it.
const MOST_GROWTH_WITH_COPIES: usize = 40 * MEBIBYTE;

pub(crate) fn tests() -> Vec<Trial> {
    let check = |name, most, source| test_alone(name, move || a_gibibyte_passes(source, most));
    vec![
        check(
            "memory::a_gibibyte_through_a_transform_stream",
            MOST_GROWTH,
            "export default { fetch(request) { return new Response(request.body.pipeThrough(new TransformStream())); } }",
        ),
        check(
            "memory::a_gibibyte_through_a_transformer",
            MOST_GROWTH,
            "export default { fetch(request) { return new Response(request.body.pipeThrough(new TransformStream({ transform(chunk, controller) { controller.enqueue(chunk); } }))); } }",
        ),
        check(
            "memory::a_gibibyte_through_an_identity_transform_stream",
            MOST_GROWTH_WITH_COPIES,
            "export default { fetch(request) { return new Response(request.body.pipeThrough(new IdentityTransformStream())); } }",
        ),
        check(
            "memory::a_gibibyte_passed_on",
            MOST_GROWTH,
            "export default { fetch(request) { return new Response(request.body); } }",
        ),
    ]
}

async fn a_gibibyte_passes(source: &'static str, most_growth: usize) {
    let (isolate, _) = start(version(source)).await.unwrap();
    pass(&isolate, 256 * MEBIBYTE, 0).await;
    let before = resident();
    let most = pass(&isolate, GIBIBYTE, before).await;
    let growth = most.saturating_sub(before);
    println!("grew by {:.1} MiB from {:.1} MiB", growth as f64 / MEBIBYTE as f64, before as f64 / MEBIBYTE as f64);
    assert!(growth < most_growth, "the process grew by {growth} bytes");
}

/// Sends so many bytes and reads them back. Gives the most memory the process had.
async fn pass(isolate: &Isolate, size: usize, before: usize) -> usize {
    let (mut sender, body) = Body::channel(None);
    RUNTIME.spawn(async move {
        let chunk = Bytes::from(vec![7; CHUNK]);
        for _ in 0..size / CHUNK {
            if !sender.send(Ok(chunk.clone())).await {
                break;
            }
        }
    });
    let reply = isolate.fetch(request("POST", "http://localhost/", body)).await;
    let mut body = answered(reply).unwrap().into_body();
    let (mut received, mut most, mut chunks) = (0, before, 0);
    while let Some(chunk) = body.chunk().await {
        received += chunk.unwrap().len();
        chunks += 1;
        if chunks % 64 == 0 {
            most = most.max(resident());
        }
    }
    assert_eq!(received, size);
    most
}

/// The process's resident memory in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
