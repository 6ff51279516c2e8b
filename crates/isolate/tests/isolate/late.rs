//! Events that go on after their answer: what is told of them before they are over.

use libtest_mimic::Trial;
use skep_exchange::{Message, WebSocket};
use skep_test_support::{Recorder, Seen, answered, get, start, test, text, version};
use skep_worker::Used;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("late::a_websocket_is_told_of_while_it_is_open", a_websocket_is_told_of),
        test("late::what_is_over_soon_is_told_of_once", what_is_over_soon),
    ]
}

/// Waits until more was told of the only event than `before`.
fn told_after(recorder: &Recorder, before: Option<Used>) -> Used {
    recorder.wait(|seen| match seen {
        Seen::GoesOn(used, told) if *told == before => Some(*used),
        _ => None,
    })
}

async fn a_websocket_is_told_of() {
    let source = "
        let sum = 0;
        export default { fetch() {
          const [client, server] = Object.values(new WebSocketPair());
          server.accept();
          server.addEventListener('message', (event) => {
            for (let step = 0; step < 1_000_000; step++) sum = (sum + step * 7) % 1_000_003;
            server.send(event.data);
          });
          return new Response(null, { status: 101, webSocket: client });
        } };";
    let (isolate, recorder) = start(version(source)).await.expect("it starts");
    let mut response = answered(isolate.fetch(get("http://localhost/")).await).expect("an answer");
    let mut socket = WebSocket::take(&mut response).expect("a WebSocket");
    // Nothing happens, and it is told of.
    let first = told_after(&recorder, None);
    socket.sender.send(Message::Text("work".to_owned())).expect("there is room");
    assert_eq!(socket.receiver.next().await, Some(Message::Text("work".to_owned())));
    let second = told_after(&recorder, Some(first));
    assert!(second.cpu >= first.cpu && second.wall > first.wall, "{first:?} {second:?}");
    socket.sender.send(Message::Close { code: 1000, reason: String::new() }).expect("there is room");
    let record = recorder.finished();
    let told = recorder.seen().into_iter().rev().find_map(|seen| match seen {
        Seen::GoesOn(used, _) => Some(used),
        _ => None,
    });
    assert_eq!(record.told.as_deref().copied(), told);
    assert!(record.cpu >= second.cpu && record.wall >= second.wall, "{record:?}");
}

async fn what_is_over_soon() {
    let (isolate, recorder) =
        start(version("export default { fetch() { return new Response('hi'); } }")).await.expect("it starts");
    assert_eq!(text(answered(isolate.fetch(get("http://localhost/")).await).expect("an answer")).await, "hi");
    assert_eq!(recorder.finished().told, None);
    assert!(!recorder.seen().iter().any(|seen| matches!(seen, Seen::GoesOn(..))));
}
