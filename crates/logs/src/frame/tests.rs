//! What is written is read, whatever it is, and what was not written is not.

use proptest::prelude::*;
use skep_worker::{Event, Outcome};

use super::{HEAD, Head, Owner, Summary, frame, kind_bit, level_bit, outcome_bit, status_bit};
use crate::block::{Block, Packer, Unpacker, records};
use crate::{Entry, Level};

fn owner() -> Owner {
    Owner { account: "0f".repeat(16).as_str().into(), worker: "shop".into() }
}

prop_compose! {
    fn entries()(
        texts in any::<[String; 5]>(), at: i64, status: Option<u16>, used: [u64; 2], cold: bool, interval: u32,
        outcome in 0..Outcome::ALL.len(),
        level in prop::sample::select(vec![None, Some(Level::Debug), Some(Level::Log), Some(Level::Error)]),
        kind in prop::sample::select(vec![Event::Fetch, Event::Scheduled, Event::Queue, Event::Alarm, Event::Rpc]),
    ) -> Entry {
        let Owner { account, worker } = owner();
        let [version, ray, method, what, event] = texts;
        Entry {
            account, worker, version: version.into(), ray, at, kind, method: Some(method), what: Some(what), status,
            outcome: Outcome::ALL[outcome], level, cpu_us: used[0], wall_us: used[1], cold, interval, event,
        }
    }
}

proptest! {
    #[test]
    fn entries_come_back_as_they_were(entries in prop::collection::vec(entries(), 1..20), first in 1..u64::MAX / 2) {
        let mut block = Block::new();
        for (sequence, entry) in (first..).zip(&entries) {
            block.push(sequence, entry).unwrap();
        }
        let packed = Packer::new().unwrap().pack(&block).unwrap();
        let (head, bytes) = frame(&owner(), block.summary, &packed).unwrap();
        prop_assert_eq!(head.length(), bytes.len() as u64);
        let read = Head::read(&bytes).unwrap();
        prop_assert_eq!(read, head);
        prop_assert_eq!(read.owner(&bytes[HEAD..]), Some(owner()));
        let mut raw = Vec::new();
        let begin = HEAD + read.owner_length();
        Unpacker::new().unwrap().unpack(&bytes[begin..], &read.summary, &mut raw).unwrap();
        let found: Vec<(u64, Entry)> = records(&raw).map(|record| (record.sequence, record.entry(&owner()))).collect();
        prop_assert_eq!(found, (first..).zip(entries.iter().cloned()).collect::<Vec<_>>());
        for entry in &entries {
            prop_assert!(read.summary.outcomes & outcome_bit(entry.outcome) != 0);
            prop_assert!(read.summary.levels & level_bit(entry.level) != 0);
            prop_assert!(read.summary.statuses & status_bit(entry.status) != 0);
            prop_assert!(read.summary.kinds & kind_bit(entry.kind) != 0);
            prop_assert!((read.summary.earliest..=read.summary.latest).contains(&entry.at));
        }
    }

    #[test]
    fn other_bytes_are_no_head(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(Head::read(&bytes), None);
        prop_assert_eq!(records(&bytes).count(), 0);
    }
}

#[test]
fn every_flipped_bit_of_a_head_is_found() {
    let (head, bytes) = frame(&owner(), Summary { count: 1, ..Summary::EMPTY }, b"block").unwrap();
    for bit in 0..(HEAD + head.owner_length()) * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let read = Head::read(&flipped).and_then(|head| head.owner(&flipped[HEAD..]));
        assert_eq!(read, None, "bit {bit}");
    }
}
