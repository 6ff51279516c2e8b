//! Bodies stream both ways, and nobody is faster than who reads.

use bytes::Bytes;
use libtest_mimic::Trial;
use skep_exchange::Body;
use skep_test_support::{Seen, answered, get, request, start, test, text, version};
use skep_worker::Outcome;

/// Chunks that may be on their way between two ends that wait for each other.
const IN_FLIGHT: usize = 24;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("streams::a_response_starts_at_its_first_chunk", a_response_starts_at_its_first_chunk),
        test("streams::an_unread_request_body_is_not_taken", an_unread_request_body_is_not_taken),
        test("streams::a_slow_client_slows_the_stream", a_slow_client_slows_the_stream),
        test("streams::a_client_that_goes_away_cancels_the_body", a_client_that_goes_away_cancels_the_body),
        test("streams::a_client_that_goes_away_aborts_the_signal", a_client_that_goes_away_aborts_the_signal),
        test(
            "streams::a_client_that_goes_away_later_aborts_the_signal",
            a_client_that_goes_away_later_aborts_the_signal,
        ),
        test("streams::a_request_body_that_breaks_off_is_an_error", a_request_body_that_breaks_off_is_an_error),
        test("streams::a_response_body_that_fails_breaks_off", a_response_body_that_fails_breaks_off),
    ]
}

async fn a_response_starts_at_its_first_chunk() {
    let source = "export default { fetch(request) { return new Response(new ReadableStream({
        async start(controller) {
          const encoder = new TextEncoder();
          controller.enqueue(encoder.encode('first'));
          controller.enqueue(encoder.encode(await request.text()));
          controller.close();
        },
      })); } }";
    let (isolate, _) = start(version(source)).await.unwrap();
    let (mut sender, body) = Body::channel(None);
    let response = answered(isolate.fetch(request("POST", "http://localhost/", body)).await).unwrap();
    let mut body = response.into_body();
    assert_eq!(body.chunk().await, Some(Ok(Bytes::from("first"))));
    // The request's body ends only now.
    assert!(sender.send(Ok(Bytes::from("second"))).await);
    drop(sender);
    assert_eq!(body.chunk().await, Some(Ok(Bytes::from("second"))));
    assert_eq!(body.chunk().await, None);
}

async fn an_unread_request_body_is_not_taken() {
    let (isolate, _) = start(version("export default { fetch() { return new Response('unread'); } }")).await.unwrap();
    let (mut sender, body) = Body::channel(None);
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        while sender.send(Ok(Bytes::from(vec![0; 65_536]))).await {
            sent += 1;
        }
        sent
    });
    let response = answered(isolate.fetch(request("POST", "http://localhost/", body)).await).unwrap();
    assert_eq!(text(response).await, "unread");
    let sent = sending.await.unwrap();
    assert!(sent <= IN_FLIGHT, "{sent} chunks were taken");
}

async fn a_slow_client_slows_the_stream() {
    let source = "let pulls = 0;
      export default { fetch(request) {
        if (request.url.endsWith('/pulls')) return new Response(`${pulls}`);
        return new Response(new ReadableStream({ pull(controller) { pulls += 1; controller.enqueue(new Uint8Array(65_536)); } }));
      } }";
    let (isolate, _) = start(version(source)).await.unwrap();
    let mut body = answered(isolate.fetch(get("http://localhost/")).await).unwrap().into_body();
    let pulls = async || -> usize {
        let response = answered(isolate.fetch(get("http://localhost/pulls")).await).unwrap();
        text(response).await.parse().unwrap()
    };
    for _ in 0..50 {
        let pulls = pulls().await;
        assert!(pulls <= IN_FLIGHT, "{pulls} chunks were made for a client that reads none");
    }
    for _ in 0..2 * IN_FLIGHT {
        body.chunk().await.unwrap().unwrap();
    }
    assert!(pulls().await >= 2 * IN_FLIGHT);
}

async fn a_client_that_goes_away_cancels_the_body() {
    let source = "export default { fetch() { return new Response(new ReadableStream({
        pull(controller) { controller.enqueue(new Uint8Array(65_536)); },
        cancel(reason) { console.log('cancelled'); },
      })); } }";
    let (isolate, recorder) = start(version(source)).await.unwrap();
    let mut body = answered(isolate.fetch(get("http://localhost/")).await).unwrap().into_body();
    body.chunk().await.unwrap().unwrap();
    drop(body);
    assert_eq!(recorder.finished().outcome, Outcome::Canceled);
    recorder.wait(|seen| matches!(seen, Seen::Log(_, line) if line.message == "cancelled").then_some(()));
}

async fn a_client_that_goes_away_later_aborts_the_signal() {
    let source = "export default { fetch(request) {
        request.signal.addEventListener('abort', () => console.log('aborted', request.signal.aborted));
        return new Response(new ReadableStream({ pull(controller) { controller.enqueue(new Uint8Array(65_536)); } }));
      } }";
    let (isolate, recorder) = start(version(source)).await.unwrap();
    let mut body = answered(isolate.fetch(get("http://localhost/")).await).unwrap().into_body();
    body.chunk().await.unwrap().unwrap();
    drop(body);
    recorder.wait(|seen| matches!(seen, Seen::Log(_, line) if line.message == "aborted true").then_some(()));
    assert_eq!(recorder.finished().outcome, Outcome::Canceled);
}

async fn a_client_that_goes_away_aborts_the_signal() {
    let source = "export default { async fetch(request) {
        request.signal.addEventListener('abort', () => console.log('aborted', request.signal.aborted));
        console.log('waiting');
        await scheduler.wait(1e9, { signal: request.signal }).catch(() => {});
        console.log('over');
        return new Response('too late');
      } }";
    let (isolate, recorder) = start(version(source)).await.unwrap();
    let asking = tokio::spawn({
        let isolate = isolate.clone();
        async move { isolate.fetch(get("http://localhost/")).await }
    });
    let printed = |text: &'static str| {
        move |seen: &Seen| matches!(seen, Seen::Log(_, line) if line.message == text).then_some(())
    };
    recorder.wait(printed("waiting"));
    asking.abort();
    recorder.wait(printed("aborted true"));
    recorder.wait(printed("over"));
    assert_eq!(recorder.finished().outcome, Outcome::Canceled);
}

async fn a_request_body_that_breaks_off_is_an_error() {
    let source = "export default { async fetch(request) {
        try { return new Response(await request.text()); } catch (error) { return new Response(`${error instanceof Error}`); }
      } }";
    let (isolate, _) = start(version(source)).await.unwrap();
    let (mut sender, body) = Body::channel(None);
    let asking = tokio::spawn(async move { isolate.fetch(request("POST", "http://localhost/", body)).await });
    assert!(sender.send(Ok(Bytes::from("part"))).await);
    assert!(sender.send(Err(skep_exchange::BodyError::Transport("gone".to_owned()))).await);
    assert_eq!(text(answered(asking.await.unwrap()).unwrap()).await, "true");
}

async fn a_response_body_that_fails_breaks_off() {
    let source = "export default { fetch() { return new Response(new ReadableStream({
        start(controller) { controller.enqueue(new TextEncoder().encode('part')); },
        pull() { throw new RangeError('no more'); },
      })); } }";
    let (isolate, recorder) = start(version(source)).await.unwrap();
    let mut body = answered(isolate.fetch(get("http://localhost/")).await).unwrap().into_body();
    assert_eq!(body.chunk().await, Some(Ok(Bytes::from("part"))));
    assert!(body.chunk().await.unwrap().is_err());
    assert_eq!(recorder.finished().outcome, Outcome::Exception);
    assert_eq!(recorder.exception().message, "no more");
}
