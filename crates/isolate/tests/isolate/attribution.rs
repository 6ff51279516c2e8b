//! To whom CPU time is charged when several events share an isolate.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use skep_isolate::Isolate;
use skep_observe::Trigger;
use skep_outbound::{AddressPolicy, Client};
use skep_test_support::server::{ok, server};
use skep_test_support::{RUNTIME, Recorder, Seen, answered, get, options, test, text, version};
use tokio::task::JoinSet;

/// Requests for each handler, and how many are under way at once.
const REQUESTS: usize = 60;
const AT_ONCE: usize = 8;
/// `/dear` computes five times as long as `/cheap`: what it may be billed, in bills of the other. Shared equally it would be one.
const RATIO: std::ops::Range<f64> = 3.5..7.0;

/// Pieces of work of one request.
const PIECES: u32 = 80;

/// What a handler waits for between two pieces of work, or in which it works.
const WAYS: [(&str, &str); 6] = [
    ("timer", "await scheduler.wait(1); compute();"),
    ("callback", "await new Promise((done) => setTimeout(() => { compute(); done(); }, 1));"),
    ("op", "await fetch('http://127.0.0.1:PORT/'); compute();"),
    ("chain", "await fetch('http://127.0.0.1:PORT/').then(() => null).then(async () => { await null; compute(); });"),
    (
        "stream",
        "await new Response(new ReadableStream({ async pull(controller) { await scheduler.wait(1); compute(); controller.close(); } })).text();",
    ),
    (
        "socket",
        "await new Promise((done) => {
           const [left, right] = Object.values(new WebSocketPair());
           left.accept();
           right.accept();
           right.addEventListener('message', () => { compute(); done(); });
           left.send('go on');
         });",
    ),
];

pub(crate) fn tests() -> Vec<Trial> {
    let ways = WAYS.into_iter().map(|(name, way)| {
        test(&format!("attribution::of_two_handlers_that_go_on_after_a_{name}"), move || two_handlers(way))
    });
    let others = vec![
        test("attribution::who_waits_pays_for_what_follows_among_quick_ones", who_waits_among_quick_ones),
        test("attribution::who_is_woken_by_another_event_pays_himself", who_is_woken_by_another_event),
    ];
    ways.chain(others).collect()
}

async fn start(worker: &str) -> (Arc<Isolate>, Arc<Recorder>) {
    let (mut options, recorder) = options(version(worker));
    options.outbound = Client::new(AddressPolicy::with_loopback(), RUNTIME.handle().clone());
    (Arc::new(Isolate::start(options).await.expect("it starts")), recorder)
}

async fn ask(isolate: Arc<Isolate>, path: &'static str) {
    let reply = isolate.fetch(get(&format!("http://localhost{path}"))).await;
    assert_eq!(text(answered(reply).expect("an answer")).await, "done");
}

/// What the requests of a path were billed together.
fn billed(recorder: &Recorder, path: &str) -> Duration {
    let of_path = |seen: &Seen| match seen {
        Seen::Finished(_, record) if matches!(&record.trigger, Trigger::Fetch { url, .. } if url.path() == path) => {
            record.cpu
        }
        _ => Duration::ZERO,
    };
    recorder.seen().iter().map(of_path).sum()
}

async fn all_are_over(recorder: &Recorder, events: usize) {
    while recorder.seen().iter().filter(|seen| matches!(seen, Seen::Finished(..))).count() < events {
        tokio::task::yield_now().await;
    }
}

async fn two_handlers(way: &str) {
    let way = way.replace("PORT", &server(|_| ok("")).await.to_string());
    let (isolate, recorder) = start(&format!(
        "let sum = 0;
         export default {{ async fetch(request) {{
           const steps = new URL(request.url).pathname === '/dear' ? 500_000 : 100_000;
           const compute = () => {{ for (let step = 0; step < steps; step++) sum = (sum + step * 7) % 1_000_003; }};
           for (let piece = 0; piece < 3; piece++) {{ {way} }}
           return new Response('done');
         }} }};"
    ))
    .await;
    // V8 compiles what runs often.
    for _ in 0..5 {
        ask(Arc::clone(&isolate), "/dear").await;
    }
    recorder.forget();
    let mut asking = JoinSet::new();
    for path in ["/dear", "/cheap"].into_iter().cycle().take(2 * REQUESTS) {
        if asking.len() == AT_ONCE {
            asking.join_next().await.expect("one is asked").expect("it is answered");
        }
        asking.spawn(ask(Arc::clone(&isolate), path));
    }
    while let Some(answered) = asking.join_next().await {
        answered.expect("it is answered");
    }
    all_are_over(&recorder, 2 * REQUESTS).await;
    let (dear, cheap) = (billed(&recorder, "/dear"), billed(&recorder, "/cheap"));
    let ratio = dear.as_secs_f64() / cheap.as_secs_f64();
    assert!(RATIO.contains(&ratio), "{ratio}: {dear:?} and {cheap:?}");
}

/// The quick ones are over at once, in the same turn in which what the other one waited for goes on.
async fn who_waits_among_quick_ones() {
    let port = server(|_| ok("")).await;
    let (isolate, recorder) = start(&format!(
        "let sum = 0;
         export default {{ async fetch(request) {{
           if (new URL(request.url).pathname === '/waits') {{
             let next = fetch('http://127.0.0.1:{port}/');
             for (let piece = 0; piece < {PIECES}; piece++) {{
               await next;
               next = fetch('http://127.0.0.1:{port}/');
               for (let step = 0; step < 900_000; step++) sum = (sum + step * 7) % 1_000_003;
             }}
           }}
           return new Response('done');
         }} }};"
    ))
    .await;
    for _ in 0..50 {
        ask(Arc::clone(&isolate), "/quick").await;
    }
    all_are_over(&recorder, 50).await;
    recorder.forget();
    let mut waiting = tokio::spawn(ask(Arc::clone(&isolate), "/waits"));
    let mut quick = JoinSet::new();
    let mut asked: u32 = 0;
    loop {
        while quick.len() < 4 * AT_ONCE {
            quick.spawn(ask(Arc::clone(&isolate), "/quick"));
            asked += 1;
        }
        tokio::select! {
            answered = &mut waiting => break answered.expect("it is answered"),
            answered = quick.join_next() => answered.expect("one is asked").expect("it is answered"),
        }
    }
    while let Some(answered) = quick.join_next().await {
        answered.expect("it is answered");
    }
    all_are_over(&recorder, asked as usize + 1).await;
    // Alone a quick one costs about a three hundredth of a piece of the other one.
    let (piece, quick) = (billed(&recorder, "/waits") / PIECES, billed(&recorder, "/quick") / asked);
    assert!(quick * 150 < piece, "{piece:?}, and {quick:?} for each of {asked}");
}

async fn who_is_woken_by_another_event() {
    let (isolate, recorder) = start(
        "let wake, sum = 0;
         export default { async fetch(request) {
           if (new URL(request.url).pathname === '/sleeps') {
             await new Promise((resolve) => { wake = resolve; });
             for (let step = 0; step < 20_000_000; step++) sum = (sum + step * 7) % 1_000_003;
           } else {
             while (wake === undefined) await scheduler.wait(1);
             wake();
           }
           return new Response('done');
         } };",
    )
    .await;
    let sleeper = tokio::spawn(ask(Arc::clone(&isolate), "/sleeps"));
    ask(Arc::clone(&isolate), "/wakes").await;
    sleeper.await.expect("it is answered");
    all_are_over(&recorder, 2).await;
    let (sleeper, other) = (billed(&recorder, "/sleeps"), billed(&recorder, "/wakes"));
    assert!(sleeper > other * 3, "{sleeper:?} and {other:?}");
}
