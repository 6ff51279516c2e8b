//! Who finds no room is counted, and does not take the room of others.

use std::sync::Arc;
use std::time::Duration;

use skep_worker::{Event, Outcome};

use super::{LARGEST_ENTRY, MOST_BYTES, MOST_ENTRIES, Queue};
use crate::Entry;

fn entry(worker: &str, bytes: usize) -> Entry {
    Entry {
        account: "a".into(),
        worker: worker.into(),
        version: "v".into(),
        ray: String::new(),
        at: 0,
        kind: Event::Fetch,
        method: None,
        what: None,
        status: None,
        outcome: Outcome::Ok,
        level: None,
        cpu_us: 0,
        wall_us: 0,
        cold: false,
        interval: 1,
        event: "x".repeat(bytes),
    }
}

#[test]
fn one_worker_fills_half_of_the_room() {
    let queue = Queue::new(1);
    for _ in 0..MOST_BYTES >> 20 {
        queue.append(entry("loud", 1 << 20));
    }
    let dropped = queue.dropped();
    assert!(dropped > 0);
    queue.append(entry("quiet", 1 << 20));
    assert_eq!(queue.dropped(), dropped);
    let batch = queue.take(Duration::ZERO);
    let of =
        |name: &str| batch.groups.iter().find(|(owner, _)| &*owner.worker == name).map(|(_, group)| group).unwrap();
    assert_eq!((of("quiet").entries.len(), of("quiet").dropped), (1, 0));
    assert_eq!(
        (of("loud").entries.len() as u64, u64::from(of("loud").dropped)),
        ((MOST_BYTES as u64 >> 20) - dropped, dropped)
    );
    // What was taken out leaves room.
    queue.append(entry("loud", 1 << 20));
    assert_eq!(queue.dropped(), dropped);
}

#[test]
fn entries_are_counted_too_and_none_is_too_large() {
    let queue = Queue::new(1);
    queue.append(entry("a", LARGEST_ENTRY));
    assert_eq!(queue.dropped(), 1);
    for number in 0..=MOST_ENTRIES {
        queue.append(entry(if number % 2 == 0 { "a" } else { "b" }, 0));
    }
    assert_eq!(queue.dropped(), 2);
    let batch = queue.take(Duration::ZERO);
    assert_eq!(batch.last, MOST_ENTRIES as u64);
}

#[test]
fn who_waits_is_not_left_alone_when_nobody_writes_any_more() {
    let queue = Arc::new(Queue::new(1));
    queue.append(entry("a", 1));
    let waits = std::thread::spawn({
        let queue = Arc::clone(&queue);
        move || queue.flush()
    });
    queue.end();
    assert_eq!(waits.join().unwrap(), 0);
    queue.append(entry("a", 1));
    assert_eq!(queue.dropped(), 1);
}
