//! What an isolate's thread does between events, and how the system schedules it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use skep_isolate::Isolate;
use skep_test_support::{Recorder, answered, get, options, test, text, version};
use skep_worker::{Limits, Version};

/// Between two looks at what changes by itself.
const GLANCE: Duration = Duration::from_millis(20);
/// Longer than two of the isolate's own ticks: a thread that sleeps for so long is not woken by them.
const TICKS: Duration = Duration::from_millis(2500);
/// A thread that had a long turn is not taken for a quick one before this.
const CALM: Duration = Duration::from_secs(1);
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// `/busy` takes 20 ms; `/late` has something to do that never ends; `/keep?bytes=` looks at a new object weakly and makes so much garbage; everything else says whether that is there.
const WORKER: &str = "
    let weak;
    export default { fetch(request, env, ctx) {
      const url = new URL(request.url);
      if (url.pathname === '/late') ctx.waitUntil(scheduler.wait(1e9));
      if (url.pathname === '/busy') for (const until = Date.now() + 20; Date.now() < until;);
      if (url.pathname === '/keep') {
        weak = new WeakRef({});
        const bytes = Number(url.searchParams.get('bytes'));
        const all = [];
        for (let made = 0; made < bytes; made += 16_000) all.push(Array.from({ length: 2_000 }, (_, number) => number));
      }
      return new Response(weak?.deref() === undefined ? 'gone' : 'there');
    } };";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("threads::an_isolate_that_rests_is_not_woken", an_isolate_that_rests_is_not_woken),
        test("threads::much_garbage_is_collected_at_rest", much_garbage_is_collected_at_rest),
        test("threads::little_garbage_stays", little_garbage_stays),
        test("threads::who_takes_long_stays_behind_for_a_while", who_takes_long_stays_behind_for_a_while),
    ]
}

/// An isolate whose thread can be told from all others.
async fn start(worker: &str) -> (Isolate, Arc<Recorder>) {
    let limits = Limits { wait_until: Duration::from_millis(10), ..Limits::default() };
    let (options, recorder) = options(Version { worker: worker.to_owned(), limits, ..version(WORKER) });
    (Isolate::start(options).await.expect("it starts"), recorder)
}

async fn ask(isolate: &Isolate, path: &str) -> String {
    let reply = isolate.fetch(get(&format!("http://localhost{path}"))).await;
    text(answered(reply).expect("an answer")).await
}

/// What the system knows of the thread of a Worker.
fn thread(worker: &str) -> PathBuf {
    let name = format!("isolate {worker}\n");
    let threads = fs::read_dir("/proc/self/task").expect("there are threads");
    let mut paths = threads.map(|thread| thread.expect("a thread").path());
    paths
        .find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == name))
        .expect("the thread is there")
}

/// How often the thread has gone to sleep.
fn sleeps(worker: &str) -> u64 {
    let status = fs::read_to_string(thread(worker).join("status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("the line");
    line.trim().parse().expect("a number")
}

/// Waits until the isolate rests: its thread was not woken for some ticks, and does not wait for a core.
async fn rest(worker: &str) {
    let begun = Instant::now();
    loop {
        let before = sleeps(worker);
        tokio::time::sleep(TICKS).await;
        let stat = fs::read_to_string(thread(worker).join("stat")).expect("its numbers");
        if stat.contains(") S ") && sleeps(worker) == before {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "it is woken again and again");
    }
}

/// The thread's nice value.
fn nice(worker: &str) -> i32 {
    let stat = fs::read_to_string(thread(worker).join("stat")).expect("its numbers");
    // The nineteenth; the second is a name in parentheses, which may hold spaces.
    let (_, numbers) = stat.rsplit_once(')').expect("a name");
    numbers.split_whitespace().nth(16).expect("the number").parse().expect("a number")
}

async fn an_isolate_that_rests_is_not_woken() {
    let (isolate, recorder) = start("rests").await;
    ask(&isolate, "/").await;
    rest("rests").await;
    // But it is there for the next event, and sees that what that leaves behind takes too long.
    ask(&isolate, "/late").await;
    let begun = Instant::now();
    while !recorder.lines().iter().any(|line| line.starts_with("waitUntil() tasks did not complete")) {
        assert!(begun.elapsed() < PATIENCE, "nobody looks at the time");
        tokio::time::sleep(GLANCE).await;
    }
}

async fn much_garbage_is_collected_at_rest() {
    let (isolate, _) = start("much").await;
    ask(&isolate, "/keep?bytes=4000000").await;
    rest("much").await;
    assert_eq!(ask(&isolate, "/").await, "gone");
}

async fn little_garbage_stays() {
    let (isolate, _) = start("little").await;
    ask(&isolate, "/keep?bytes=100000").await;
    rest("little").await;
    assert_eq!(ask(&isolate, "/").await, "there");
}

async fn who_takes_long_stays_behind_for_a_while() {
    let (isolate, _) = start("paces").await;
    let quick = async || {
        let begun = Instant::now();
        loop {
            for _ in 0..10 {
                ask(&isolate, "/").await;
            }
            if nice("paces") == 0 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "quick turns do not count");
            tokio::time::sleep(GLANCE).await;
        }
    };
    quick().await;
    let begun = Instant::now();
    ask(&isolate, "/busy").await;
    while nice("paces") == 0 {
        // Without the right to raise a priority again none is lowered.
        if !skep_isolate::may_raise_priority() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "a long turn does not count");
        tokio::time::sleep(GLANCE).await;
    }
    quick().await;
    assert!(begun.elapsed() >= CALM, "it was first again after {:?}", begun.elapsed());
}
