//! A version has as many isolates as it needs: one for quick events, more for those that would wait, none behind one that is stuck.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use skep_exchange::Failure;
use skep_isolate::{Options, Permit, Slot, Spare, Start, Supply, Taking};
use skep_test_support::{RUNTIME, get, options, test, text, version};
use skep_worker::{ErrorCode, Limit};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// `/busy?ms=` keeps the thread busy for so long; everything else answers at once. The answer names the isolate.
const WORKER: &str = "
    let name;
    export default {
      async fetch(request) {
        name ??= crypto.randomUUID();
        const url = new URL(request.url);
        const until = Date.now() + Number(url.searchParams.get('ms'));
        while (Date.now() < until);
        return new Response(name);
      },
    };";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("scale::quick_events_share_an_isolate", quick_events_share_an_isolate),
        test("scale::who_would_wait_gets_another_isolate", who_would_wait_gets_another_isolate),
        test("scale::who_is_stuck_behind_another_is_served_elsewhere", who_is_stuck_behind_another_is_served_elsewhere),
        test("scale::long_events_take_turns_in_their_order", long_events_take_turns_in_their_order),
        test("scale::a_crowd_of_long_events_loses_none", a_crowd_of_long_events_loses_none),
        test("scale::the_line_has_an_end", the_line_has_an_end),
        test("scale::who_leaves_the_line_holds_up_nobody", who_leaves_the_line_holds_up_nobody),
        test("scale::an_isolate_that_ends_leaves_nobody_waiting", an_isolate_that_ends_leaves_nobody_waiting),
        test("scale::what_does_not_start_is_left_alone_for_a_while", what_does_not_start_is_left_alone_for_a_while),
        test("scale::idle_isolates_go", idle_isolates_go),
        test("scale::a_spare_isolate_becomes_a_version_s", a_spare_isolate_becomes_a_version_s),
        test("scale::memory_that_creeps_costs_no_request", memory_that_creeps_costs_no_request),
        test("scale::garbage_does_not_creep", garbage_does_not_creep),
    ]
}

/// Isolates for one slot.
#[derive(Default)]
struct Few {
    most: usize,
    alive: Arc<AtomicUsize>,
    taken: AtomicUsize,
    waited: Mutex<Vec<Duration>>,
}

impl Few {
    fn at_most(most: usize) -> Arc<Self> {
        Arc::new(Self { most, ..Self::default() })
    }
}

/// Counts an isolate as long as it lives.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Supply for Few {
    fn admit(&self, _: &Options, have: usize, _: usize) -> Option<Permit> {
        (have < self.most).then(|| {
            self.alive.fetch_add(1, Ordering::SeqCst);
            Box::new(Alive(Arc::clone(&self.alive))) as Permit
        })
    }

    fn take(&self, options: &Options) -> Taking {
        self.taken.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Spare::start_for(options, None)))
    }

    fn started(&self, _: Start) {}

    fn waited(&self, waited: Duration) {
        self.waited.lock().unwrap_or_else(PoisonError::into_inner).push(waited);
    }

    fn runtime(&self) -> &Handle {
        RUNTIME.handle()
    }
}

fn slot(source: &str, supply: &Arc<Few>) -> Arc<Slot> {
    Slot::scaled(options(version(source)).0, Arc::clone(supply) as Arc<dyn Supply>)
}

async fn ask(slot: &Arc<Slot>, milliseconds: u64) -> Result<String, Failure> {
    let response = Arc::clone(slot).fetch(get(&format!("http://localhost/busy?ms={milliseconds}"))).await?;
    Ok(text(response).await)
}

/// Asks in the background. Gives the answer, and when it came.
fn begin(slot: &Arc<Slot>, milliseconds: u64) -> tokio::task::JoinHandle<(Result<String, Failure>, Instant)> {
    let slot = Arc::clone(slot);
    tokio::spawn(async move { (ask(&slot, milliseconds).await, Instant::now()) })
}

/// Waits until a slot's isolate has taken an event that keeps it busy.
async fn is_busy(slot: &Slot) {
    while slot.usage().busy_isolates == 0 {
        tokio::task::yield_now().await;
    }
}

async fn quick_events_share_an_isolate() {
    let supply = Few::at_most(4);
    let slot = slot(WORKER, &supply);
    let first = ask(&slot, 0).await.expect("an answer");
    let mut by_others = 0;
    for _ in 0..20 {
        let mut asking = JoinSet::new();
        for _ in 0..25 {
            let slot = Arc::clone(&slot);
            asking.spawn(async move { ask(&slot, 0).await });
        }
        while let Some(answer) = asking.join_next().await {
            by_others += usize::from(answer.expect("it ends").expect("an answer") != first);
        }
    }
    // A machine that is busy with other things may keep an isolate's thread from running; that lasts for moments.
    assert!(by_others <= 50, "{by_others} of 500 were answered by another isolate");
}

async fn who_would_wait_gets_another_isolate() {
    let supply = Few::at_most(2);
    let slot = slot(WORKER, &supply);
    let first = ask(&slot, 0).await.expect("an answer");
    let long = begin(&slot, 1500);
    is_busy(&slot).await;
    let second = loop {
        // The first of these may be given to the busy isolate, which was quick before, and is taken back.
        let answer = ask(&slot, 0).await.expect("an answer");
        if answer != first {
            break answer;
        }
    };
    assert!(!long.is_finished(), "the long one was waited for");
    assert_eq!(long.await.expect("it ends").0.expect("an answer"), first);
    assert_ne!(first, second);
    assert_eq!(supply.taken.load(Ordering::SeqCst), 2);
}

async fn who_is_stuck_behind_another_is_served_elsewhere() {
    let slot = slot(WORKER, &Few::at_most(2));
    ask(&slot, 0).await.expect("an answer");
    // All at once: the isolate was quick, so that all of them are given to it.
    let long = begin(&slot, 1500);
    let others: Vec<_> = (0..8).map(|_| begin(&slot, 0)).collect();
    let ended = long.await.expect("it ends").1;
    for other in others {
        let (answer, at) = other.await.expect("it ends");
        answer.expect("an answer");
        assert!(at < ended, "it waited for the long one");
    }
}

async fn long_events_take_turns_in_their_order() {
    let supply = Few::at_most(1);
    let slot = slot(WORKER, &supply);
    for _ in 0..20 {
        ask(&slot, 30).await.expect("an answer");
    }
    let mut asked = Vec::new();
    for waiting in 0..6 {
        asked.push(begin(&slot, 30));
        while slot.usage().waiting + slot.usage().busy_isolates <= waiting {
            tokio::task::yield_now().await;
        }
    }
    let mut before = Instant::now() - Duration::from_secs(60);
    for asking in asked {
        let (answer, at) = asking.await.expect("it ends");
        answer.expect("an answer");
        assert!(at > before, "they are answered in their order");
        before = at;
    }
    assert!(supply.waited.lock().unwrap_or_else(PoisonError::into_inner).len() >= 5);
}

async fn a_crowd_of_long_events_loses_none() {
    let slot = slot(WORKER, &Few::at_most(2));
    let mut asking = JoinSet::new();
    for number in 0..400 {
        let slot = Arc::clone(&slot);
        // Long ones and quick ones, in waves.
        asking.spawn(async move { ask(&slot, if number % 3 == 0 { 20 } else { 0 }).await });
        if number % 20 == 0 {
            asking.join_next().await.expect("one is asked").expect("it ends").expect("an answer");
        }
    }
    while let Some(answer) = asking.join_next().await {
        answer.expect("it ends").expect("an answer");
    }
}

async fn the_line_has_an_end() {
    let slot = slot(WORKER, &Few::at_most(1));
    for _ in 0..20 {
        ask(&slot, 20).await.expect("an answer");
    }
    let long = begin(&slot, 1000);
    is_busy(&slot).await;
    let mut waiting = JoinSet::new();
    for _ in 0..1100 {
        let slot = Arc::clone(&slot);
        waiting.spawn(async move { ask(&slot, 0).await });
    }
    let mut refused = 0;
    while let Some(answer) = waiting.join_next().await {
        if let Err(failure) = answer.expect("it ends") {
            assert_eq!(failure.code, ErrorCode::Overloaded, "{failure:?}");
            assert_eq!(failure.limit.map(|exceeded| exceeded.limit), Some(Limit::QueuedRequests));
            assert!(failure.message.contains("1000"), "{}", failure.message);
            refused += 1;
        }
    }
    long.await.expect("it ends").0.expect("an answer");
    assert!((90..=110).contains(&refused), "{refused} were refused");
}

async fn who_leaves_the_line_holds_up_nobody() {
    let slot = slot(WORKER, &Few::at_most(1));
    for _ in 0..20 {
        ask(&slot, 20).await.expect("an answer");
    }
    let long = begin(&slot, 300);
    is_busy(&slot).await;
    let leaving: Vec<_> = (0..20).map(|_| begin(&slot, 20)).collect();
    while slot.usage().waiting < 20 {
        tokio::task::yield_now().await;
    }
    let staying = begin(&slot, 0);
    for one in leaving {
        one.abort();
    }
    staying.await.expect("it ends").0.expect("an answer");
    long.await.expect("it ends").0.expect("an answer");
}

async fn an_isolate_that_ends_leaves_nobody_waiting() {
    let mut with_limit = version(WORKER);
    with_limit.limits.cpu = Duration::from_millis(300);
    let supply = Few::at_most(1);
    let slot = Slot::scaled(options(with_limit).0, Arc::clone(&supply) as Arc<dyn Supply>);
    for _ in 0..20 {
        ask(&slot, 20).await.expect("an answer");
    }
    let long = begin(&slot, 60_000);
    is_busy(&slot).await;
    let others: Vec<_> = (0..10).map(|_| begin(&slot, 1)).collect();
    let failure = long.await.expect("it ends").0.expect_err("the limit stops it");
    assert_eq!(failure.limit.map(|exceeded| exceeded.limit), Some(Limit::Cpu));
    for other in others {
        other.await.expect("it ends").0.expect("an answer");
    }
    assert_eq!(supply.taken.load(Ordering::SeqCst), 2);
}

async fn what_does_not_start_is_left_alone_for_a_while() {
    let supply = Few::at_most(1);
    let slot = slot("throw new Error('broken');", &supply);
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        let failure = ask(&slot, 0).await.expect_err("it does not start");
        assert!(failure.message.contains("broken"), "{failure:?}");
        asked += 1;
    }
    let starts = supply.taken.load(Ordering::SeqCst);
    assert!(asked > 20 && starts <= 4, "{asked} requests began {starts} starts");
}

async fn idle_isolates_go() {
    let supply = Few::at_most(3);
    let slot = slot(WORKER, &supply);
    let asked: Vec<_> = (0..3).map(|_| begin(&slot, 300)).collect();
    for asking in asked {
        asking.await.expect("it ends").0.expect("an answer");
    }
    let before = slot.usage().isolates;
    assert!(before >= 2, "{before}");
    assert_eq!(slot.shrink(Duration::MAX, Duration::ZERO), 1);
    assert_eq!(slot.shrink(Duration::ZERO, Duration::ZERO), 0);
    // Their threads end, and with them what was counted.
    while supply.alive.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
    ask(&slot, 0).await.expect("an answer");
}

/// Asks so often, one request after the other, and gives the isolates that answered.
async fn answer_all(source: &str, requests: usize) -> std::collections::HashSet<String> {
    let supply = Few::at_most(2);
    let slot = slot(source, &supply);
    let mut isolates = std::collections::HashSet::new();
    for request in 0..requests {
        let answer = ask(&slot, 0).await;
        isolates.insert(answer.unwrap_or_else(|failure| panic!("request {request}: {failure:?}")));
    }
    isolates
}

async fn memory_that_creeps_costs_no_request() {
    // 128 MiB are allowed: without another isolate there would be an end after 1,310 requests.
    let buffers = "const all = []; let own;
        export default { fetch() { own ??= crypto.randomUUID(); all.push(new Uint8Array(100 * 1024).fill(1)); return new Response(own); } }";
    let isolates = answer_all(buffers, 2500).await;
    assert!((2..=3).contains(&isolates.len()), "{isolates:?}");
    let objects = "const all = []; let own;
        export default { fetch() { own ??= crypto.randomUUID(); all.push(Array.from({ length: 6_000 }, (_, i) => ({ i }))); return new Response(own); } }";
    let isolates = answer_all(objects, 1500).await;
    assert!((2..=3).contains(&isolates.len()), "{isolates:?}");
}

async fn garbage_does_not_creep() {
    let source = "let own;
        export default { fetch() { own ??= crypto.randomUUID(); new Uint8Array(1024 * 1024).fill(1); return new Response(own); } }";
    assert_eq!(answer_all(source, 1500).await.len(), 1);
}

async fn a_spare_isolate_becomes_a_version_s() {
    let options = options(version(WORKER)).0;
    let mut spare = Spare::start(options.version.limits.memory, None).expect("a thread");
    spare.made().await;
    assert!(spare.fits(&options));
    let isolate = spare.claim(options).await.expect("it starts");
    let response = skep_test_support::answered(isolate.fetch(get("http://localhost/")).await).expect("an answer");
    assert_eq!(text(response).await.len(), 36);
    // One that nobody claims ends.
    drop(Spare::start(1 << 27, None).expect("a thread"));
}
