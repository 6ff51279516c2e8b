//! Bad days: a collector that is away, full, stuck, or of another opinion.

use std::time::{Duration, Instant};

use prost::Message as _;
use skep_telemetry::{FlushError, Stats};
use skep_worker::Secret;
use tokio::net::TcpListener;

use crate::server::{Answer, Server};
use crate::{PATIENCE, Running, config, eventually, names, spans};

/// A body of `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[tokio::test]
async fn a_collector_that_asks_for_a_pause_gets_it_and_then_the_same_batch() {
    let answer = |number| match number {
        0 => Answer::Status(503, ("retry-after", "1"), Vec::new()),
        _ => Answer::status(200),
    };
    let server = Server::start(answer).await;
    let running = Running::start(config(&server));
    running.exporter.export(spans(0..5));
    let begun = Instant::now();
    // Also somebody who is in a hurry leaves it the pause.
    running.flush().await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    let [first, second] = <[_; 2]>::try_from(server.requests()).expect("two requests");
    assert_eq!((&first.plain, second.names()), (&second.plain, names(0..5)));
    running.exporter.export(spans(5..6));
    running.flush().await;
    assert_eq!(server.requests()[2].names(), ["5"]);
    assert_eq!(running.exporter.stats(), Stats { sent: 6, ..Stats::default() });
    let told = running.told();
    let [away, back] = &*told else { panic!("{told:?}") };
    assert!(away.contains("127.0.0.1 takes nothing now: 127.0.0.1 answered 503 Service Unavailable"), "{away}");
    assert_eq!(back, "The traces' collector at 127.0.0.1 answers again");
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let answer = |number| match number {
        0 => Answer::status(429),
        1 => Answer::status(502),
        2 => Answer::status(504),
        3 => Answer::End,
        _ => Answer::status(200),
    };
    let server = Server::start(answer).await;
    let running = Running::start(config(&server));
    running.exporter.export(spans(0..3));
    running.flush().await;
    let requests = server.requests();
    assert_eq!(requests.len(), 5);
    assert!(requests.iter().all(|request| request.plain == requests[0].plain));
    assert_eq!(running.exporter.stats(), Stats { sent: 3, ..Stats::default() });
}

#[tokio::test]
async fn a_collector_that_was_away_gets_what_waited() {
    // A port where nobody listens for now.
    let reserved = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = reserved.local_addr().expect("an address");
    drop(reserved);
    let elsewhere = Server::start(|_| Answer::status(200)).await;
    let mut config = config(&elsewhere);
    config.endpoint = format!("http://{address}").parse().expect("a URL");
    config.batch_spans = 10;
    let running = Running::start(config);
    running.exporter.export(spans(0..25));
    eventually(|| !running.told().is_empty()).await;
    assert_eq!(running.exporter.stats(), Stats::default());
    let server = Server::on(TcpListener::bind(address).await.expect("the same port"), |_| Answer::status(200));
    running.flush().await;
    assert_eq!(server.names(), names(0..25));
    assert_eq!(running.exporter.stats(), Stats { sent: 25, ..Stats::default() });
    let told = running.told();
    assert!(told[0].contains("takes nothing now: could not connect to 127.0.0.1"), "{told:?}");
    assert_eq!(told[1..], ["The traces' collector at 127.0.0.1 answers again"]);
}

#[tokio::test]
async fn a_queue_that_is_full_drops_the_oldest_and_counts_them() {
    let answer = |number| if number == 0 { Answer::status(503) } else { Answer::status(200) };
    let server = Server::start(answer).await;
    let mut config = config(&server);
    (config.batch_spans, config.queue_spans) = (10, 20);
    // The collector is away until somebody flushes.
    (config.retry.first_pause, config.retry.last_pause) = (10 * PATIENCE, 10 * PATIENCE);
    let running = Running::start(config);
    running.exporter.export(spans(0..10));
    eventually(|| !running.told().is_empty()).await;
    running.exporter.export(spans(10..45));
    assert_eq!(running.exporter.stats(), Stats { dropped: 15, ..Stats::default() });
    running.flush().await;
    assert_eq!(server.names()[10..], [names(0..10), names(25..45)].concat());
    assert_eq!(running.exporter.stats(), Stats { sent: 30, dropped: 15, ..Stats::default() });
    let told = running.told();
    let full = "The queue for the traces' collector is full: the oldest spans are dropped (15)";
    assert!(told.iter().any(|told| told == full), "{told:?}");
}

#[tokio::test]
async fn what_a_collector_leaves_out_is_counted_and_told_once() {
    let answer = |number| match number {
        0 => Answer::partial(2, "too old\nto keep"),
        1 => Answer::partial(99, "all of it"),
        2 => Answer::partial(-1, ""),
        _ => Answer::partial(0, "soon you need a token"),
    };
    let server = Server::start(answer).await;
    let running = Running::start(config(&server));
    for _ in 0..4 {
        running.exporter.export(spans(0..5));
        running.flush().await;
    }
    assert_eq!(server.requests().len(), 4);
    assert_eq!(running.exporter.stats(), Stats { sent: 13, rejected: 7, ..Stats::default() });
    assert_eq!(running.told(), ["The traces' collector at 127.0.0.1 left out spans (2): too old to keep"]);
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again() {
    let status = RpcStatus { code: 3, message: "no such tenant: Bearer SECRET".to_owned() }.encode_to_vec();
    let answer = move |number| match number {
        0 => Answer::Status(400, ("content-type", "application/x-protobuf"), status.clone()),
        1 => Answer::status(500),
        2 => Answer::status(404),
        _ => Answer::status(200),
    };
    let server = Server::start(answer).await;
    let mut config = config(&server);
    config.headers.insert("authorization".to_owned(), Secret::new("Bearer SECRET"));
    let running = Running::start(config);
    for batch in 0..4 {
        running.exporter.export(spans(batch..batch + 1));
        running.flush().await;
    }
    assert_eq!(server.names(), names(0..4));
    assert_eq!(running.exporter.stats(), Stats { sent: 1, failed: 3, ..Stats::default() });
    let expected = "Spans are lost (1): 127.0.0.1 answered 400 Bad Request: no such tenant: [hidden]";
    assert_eq!(running.told(), [expected]);
}

#[tokio::test]
async fn a_collector_that_is_stuck_is_given_up_and_tried_again() {
    let answer = |number| if number < 2 { Answer::Silence } else { Answer::status(200) };
    let server = Server::start(answer).await;
    let mut config = config(&server);
    config.timeout = Duration::from_millis(500);
    let running = Running::start(config);
    running.exporter.export(spans(0..3));
    running.flush().await;
    assert_eq!(server.requests().len(), 3);
    assert_eq!(running.exporter.stats(), Stats { sent: 3, ..Stats::default() });
    let told = running.told();
    assert!(told[0].contains("takes nothing now: 127.0.0.1 did not answer within 500 ms"), "{told:?}");
}

#[tokio::test]
async fn a_batch_that_is_never_taken_does_not_hold_up_the_others_for_ever() {
    let answer = |_| Answer::status(503);
    let server = Server::start(answer).await;
    let mut config = config(&server);
    config.retry.give_up_after = Duration::from_millis(100);
    let running = Running::start(config);
    running.exporter.export(spans(0..3));
    running.flush().await;
    assert_eq!(running.exporter.stats(), Stats { failed: 3, ..Stats::default() });
    assert!(server.requests().len() > 1);
    let told = running.told();
    assert!(told[1].starts_with("Spans are lost (3): 127.0.0.1 answered 503 Service Unavailable, for "), "{told:?}");
}

#[tokio::test]
async fn a_flush_does_not_wait_for_the_interval_nor_longer_than_it_should() {
    let answer = |number| if number == 1 { Answer::Silence } else { Answer::status(200) };
    let server = Server::start(answer).await;
    let running = Running::start(config(&server));
    // Nothing is there: nothing is sent.
    running.flush().await;
    assert_eq!(server.requests().len(), 0);
    let begun = Instant::now();
    running.exporter.export(spans(0..3));
    running.flush().await;
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(server.names(), names(0..3));
    running.exporter.export(spans(3..7));
    let flushed = running.exporter.flush(Duration::from_millis(100)).await;
    assert_eq!(flushed, Err(FlushError { left: 4 }));
    assert_eq!(running.exporter.stats().sent, 3);
}

#[tokio::test]
async fn a_flush_makes_a_pause_shorter() {
    let answer = |number| if number == 0 { Answer::status(503) } else { Answer::status(200) };
    let server = Server::start(answer).await;
    let mut config = config(&server);
    (config.batch_spans, config.retry.first_pause) = (1, 10 * PATIENCE);
    config.retry.last_pause = 10 * PATIENCE;
    let running = Running::start(config);
    running.exporter.export(spans(0..1));
    eventually(|| !running.told().is_empty()).await;
    running.flush().await;
    assert_eq!(running.exporter.stats().sent, 1);
}

#[tokio::test]
async fn nothing_is_sent_any_more_when_the_exporter_is_gone() {
    let server = Server::start(|_| Answer::Silence).await;
    let running = Running::start(config(&server));
    running.exporter.export(spans(0..1));
    let told = std::sync::Arc::downgrade(&running.told);
    drop(running);
    // Who sends has the last reference to what is told.
    eventually(|| told.strong_count() == 0).await;
}
