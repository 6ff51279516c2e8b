//! Workers that misbehave are stopped with a named error; the next request works, and a neighbour notices nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;
use skep_exchange::Response;
use skep_isolate::Slot;
use skep_test_support::{Recorder, Seen, get, options, test_within, text, version};
use skep_worker::{ErrorCode, Limit, Outcome};
use tokio::task::JoinHandle;

use crate::abuse_cases::{ABUSES, Abuse, End};

/// The neighbour's load: a request, an answer, a pause.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(1);

/// How long all runs of one Worker may take: a hundred of them fill a hundred heaps, beside the neighbour's load.
const LIMIT: Duration = Duration::from_secs(150);

pub(crate) fn tests() -> Vec<Trial> {
    ABUSES
        .iter()
        .map(|abuse| test_within(&format!("abuse::{}", abuse.name), LIMIT, move || misbehave(*abuse)))
        .collect()
}

async fn misbehave(abuse: Abuse) {
    let neighbour = Neighbour::start();
    let (options, recorder) = options(abuse.version());
    let slot = Slot::new(options);
    for run in 0..abuse.runs {
        let failure = match Arc::clone(&slot).fetch(get("http://localhost/abuse")).await {
            Err(failure) => failure,
            Ok(response) => {
                // The handler has answered before it misbehaves: the body breaks off.
                assert!(response.into_body().collect(1 << 30).await.is_err(), "run {run}: the body is whole");
                check_log(&recorder, abuse.end, run);
                continue;
            }
        };
        let code = if matches!(abuse.end, End::Throws(_)) { ErrorCode::Exception } else { ErrorCode::ExceededLimit };
        assert_eq!(failure.code, code, "run {run}: {failure:?}");
        check_log(&recorder, abuse.end, run);
        let response = next_request(&slot).await;
        assert_eq!(text(response).await, "ok");
    }
    assert!(neighbour.stop().await > 0, "the neighbour was under load");
}

/// A request that behaves. On a virtual machine whose host is busy, time that it did not run can count as CPU time: then
/// the small budget is gone, and another try is fair.
async fn next_request(slot: &Arc<Slot>) -> Response {
    let mut tries = 0;
    loop {
        match Arc::clone(slot).fetch(get("http://localhost/")).await {
            Ok(response) => return response,
            Err(failure) => {
                assert!(failure.outcome == Outcome::ExceededCpu && tries < 3, "the next request works: {failure:?}")
            }
        }
        tries += 1;
    }
}

/// The log names the limit, its value and what was used; the event's outcome fits.
fn check_log(recorder: &Recorder, end: End, run: usize) {
    let exception = recorder.exception();
    match (end, exception.limit) {
        (End::Throws(message), None) => assert!(exception.message.contains(message), "run {run}: {exception:?}"),
        (End::Cpu | End::Memory, Some(exceeded)) => {
            let limit = if end == End::Cpu { Limit::Cpu } else { Limit::Memory };
            assert_eq!(exceeded.limit, limit, "run {run}: {exception:?}");
            assert!(exceeded.used > exceeded.allowed, "run {run}: {exception:?}");
            assert!(exception.message.contains(limit.name()), "run {run}: {exception:?}");
        }
        (expected, _) => panic!("run {run}: expected {expected:?}, got {exception:?}"),
    }
    let outcome = match end {
        End::Cpu => Outcome::ExceededCpu,
        End::Memory => Outcome::ExceededMemory,
        End::Throws(_) => Outcome::Exception,
    };
    recorder.wait(|seen| match seen {
        Seen::Finished(_, record) if record.outcome == outcome => Some(()),
        _ => None,
    });
    recorder.forget();
}

/// A well-behaved Worker that is asked all the time.
struct Neighbour {
    over: Arc<AtomicBool>,
    asking: JoinHandle<usize>,
}

impl Neighbour {
    fn start() -> Self {
        let source = "export default { async fetch(request) { const { number } = await request.json(); return Response.json({ square: number * number }); } }";
        let slot = Slot::new(options(version(source)).0);
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let asking = tokio::spawn(async move {
            let mut asked = 0;
            while !until.load(Ordering::Relaxed) {
                let body = skep_exchange::Body::full(format!("{{\"number\":{asked}}}"));
                let request = skep_test_support::request("POST", "http://neighbour/", body);
                let response = Arc::clone(&slot).fetch(request).await.expect("the neighbour answers");
                assert_eq!(text(response).await, format!("{{\"square\":{}}}", asked * asked));
                asked += 1;
                tokio::time::sleep(BETWEEN_REQUESTS).await;
            }
            asked
        });
        Self { over, asking }
    }

    /// Ends the load. Gives how many requests were answered.
    async fn stop(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.asking.await.expect("the neighbour's answers are right")
    }
}
