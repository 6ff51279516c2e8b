//! The queue alone: when there is a batch, what a flush waits for, and what goes when there is no room.
//!
//! Nothing here waits for time to pass: an interval is so long that a test would fail by it, or so short that it does not matter.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::{Resource, SpanKind, Status};
use skep_observe::{SpanId, TraceFlags, TraceId, TraceState};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);
/// Over at once.
const SHORT: Duration = Duration::from_millis(1);
const ROOM: Room = Room { spans: 10, bytes: 1 << 20, batch: 4 };

fn span(name: impl Into<String>) -> Span {
    Span {
        resource: Arc::new(Resource::default()),
        trace: TraceId::new([1; 16]).expect("an id"),
        id: SpanId::new([1; 8]).expect("an id"),
        parent: None,
        name: name.into(),
        kind: SpanKind::Internal,
        start: SystemTime::UNIX_EPOCH,
        end: SystemTime::UNIX_EPOCH,
        attributes: Vec::new(),
        events: Vec::new(),
        status: Status::Unset,
        trace_state: TraceState::default(),
        flags: TraceFlags::default(),
    }
}

fn spans(names: std::ops::Range<u32>) -> Vec<Span> {
    names.map(|name| span(name.to_string())).collect()
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| &*span.name).collect()
}

/// Whether something is still waited for, after everything else had its turn.
async fn waits(future: Pin<&mut impl Future<Output = ()>>) -> bool {
    tokio::select! {
        biased;
        () = future => false,
        () = tokio::task::yield_now() => true,
    }
}

#[tokio::test]
async fn a_batch_is_ready_when_it_is_full_or_its_time_is_over() {
    let queue = Queue::new(ROOM);
    // Without a span there is no interval that could be over.
    let mut filled = pin!(queue.filled(SHORT));
    assert!(waits(filled.as_mut()).await);
    queue.push(spans(0..1));
    filled.await;
    assert_eq!(names(&queue.take()), ["0"]);
    let mut filled = pin!(queue.filled(LONG));
    assert!(waits(filled.as_mut()).await);
    queue.push(spans(0..3));
    assert!(waits(filled.as_mut()).await);
    queue.push(spans(3..4));
    filled.await;
    assert_eq!(names(&queue.take()), ["0", "1", "2", "3"]);
    queue.push(spans(0..9));
    queue.filled(LONG).await;
    assert_eq!((queue.take().len(), queue.is_ready()), (4, true));
    assert_eq!((queue.take().len(), queue.is_ready()), (4, false));
    assert_eq!((queue.take().len(), queue.take().len()), (1, 0));
}

#[tokio::test]
async fn a_flush_waits_for_what_was_there() {
    let queue = Queue::new(ROOM);
    // Nothing is there.
    queue.flush().await;
    queue.push(spans(0..6));
    let mut flush = pin!(queue.flush());
    assert!(waits(flush.as_mut()).await);
    assert_eq!(queue.take().len(), 4);
    queue.push(spans(6..8));
    assert!(queue.is_ready(), "two of those that are flushed wait still");
    queue.settle(|stats| stats.sent += 4);
    assert!(waits(flush.as_mut()).await);
    assert_eq!(names(&queue.take()), ["4", "5", "6", "7"]);
    assert_eq!(queue.waiting(), 4);
    queue.push(spans(8..9));
    assert!(!queue.is_ready(), "what came after the flush waits as always");
    assert!(waits(flush.as_mut()).await);
    queue.settle(|stats| stats.sent += 4);
    flush.await;
    assert_eq!((queue.waiting(), queue.stats().sent), (1, 8));
}

#[tokio::test]
async fn a_flush_makes_a_pause_shorter_once() {
    let queue = Queue::new(ROOM);
    queue.push(spans(0..1));
    queue.take();
    let mut hurried = pin!(queue.hurried());
    assert!(waits(hurried.as_mut()).await);
    let mut flush = pin!(queue.flush());
    assert!(waits(flush.as_mut()).await);
    hurried.await;
    queue.trying();
    assert!(waits(pin!(queue.hurried())).await, "the next pause is as long as it is");
    queue.settle(|stats| stats.failed += 1);
    flush.await;
}

#[test]
fn the_oldest_go_when_there_is_no_room() {
    let queue = Queue::new(ROOM);
    queue.push(spans(0..25));
    assert_eq!((queue.waiting(), queue.stats().dropped), (10, 15));
    assert_eq!(names(&queue.take()), ["15", "16", "17", "18"]);
    // What is being sent has left the queue: there is room for as many.
    queue.push(spans(25..30));
    assert_eq!((queue.waiting(), queue.stats().dropped), (14, 16));
}

#[test]
fn bytes_are_bounded_as_well() {
    let queue = Queue::new(Room { bytes: 20_000, ..ROOM });
    let large = |name: &str| span(name.repeat(6000));
    queue.push([large("a"), large("b"), large("c"), large("d")]);
    assert_eq!((queue.waiting(), queue.stats().dropped), (3, 1));
    // One that is larger than the room makes no other go.
    queue.push([span("e".repeat(20_000))]);
    assert_eq!((queue.waiting(), queue.stats().dropped), (3, 2));
    assert_eq!(queue.take().len(), 3);
    assert_eq!(queue.lock().bytes, 0);
}

#[test]
fn a_batch_has_some_megabytes_at_most() {
    let queue = Queue::new(Room { bytes: 64 << 20, ..ROOM });
    let large = |bytes: usize| span("a".repeat(bytes));
    queue.push([large(3 << 20), large(3 << 20), large(9 << 20), large(1)]);
    assert!(queue.is_ready());
    let taken: Vec<usize> = std::iter::repeat_with(|| queue.take().len()).take_while(|taken| *taken > 0).collect();
    assert_eq!(taken, [1, 1, 1, 1]);
}
