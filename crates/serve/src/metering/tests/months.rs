//! The end of a month: while the platform is down, while nothing can be written down, and with a clock that is set back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_control::{Bills as _, Owner};
use skep_meter::{Month, Totals};
use time::OffsetDateTime;
use time::macros::{date, datetime};

use super::{Life, PATIENCE, World};
use crate::metering::OfLedger;

/// Fifty requests a month.
const CAPPED: &str = "[cap]\nper_month = \"0.50\"\nthen = \"refuse\"";
const MINUTE: Duration = Duration::from_secs(60);
/// The last minute of a month, and the first of the next one.
const BEFORE: OffsetDateTime = datetime!(2099-11-30 23:59 UTC);
const AFTER: OffsetDateTime = datetime!(2099-12-01 0:01 UTC);

fn november() -> Month {
    "2099-11".parse().expect("a month")
}

fn december() -> Month {
    "2099-12".parse().expect("a month")
}

impl Life {
    /// The state and the total of a month's invoice.
    async fn invoice(&self, world: &World, month: Month) -> (String, String) {
        let owner = Owner { id: world.account.clone(), name: "Skep".to_owned(), since: 0 };
        let made = OfLedger(Arc::clone(&self.metering)).invoice(&owner, month).await.expect("an invoice").document;
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        (text("state"), text("total"))
    }

    /// Whether requests are refused.
    fn is_stopped(&self, world: &World) -> bool {
        self.metering.state().standing.get(&world.account).is_some_and(|standing| standing.account.is_some())
    }

    /// Waits until they are, or are not.
    async fn stops(&self, world: &World, is_stopped: bool) {
        let deadline = Instant::now() + PATIENCE;
        while self.is_stopped(world) != is_stopped {
            assert!(Instant::now() < deadline, "it is not {is_stopped}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn said(state: &str, total: &str) -> (String, String) {
    (state.to_owned(), total.to_owned())
}

#[test]
fn what_is_handed_in_late_is_billed_to_its_month_and_nothing_twice() {
    let mut world = World::new("");
    world.set(BEFORE);
    let again = world.batch(30);
    world.live(async |life| {
        life.metering.take(again.clone(), Duration::ZERO).await.expect("taken");
        // What was acknowledged, and is told again as the answer was lost.
        life.metering.take(again, Duration::ZERO).await.expect("taken");
    });
    // The platform was down at midnight. What is in the journal is of the month before, and so is what was counted then.
    world.set(AFTER);
    let (first, late, new) = (world.batch(5), world.batch(10), world.batch(7));
    world.live(async |life| {
        life.metering.take(first, 2 * MINUTE).await.expect("taken");
        assert_eq!(life.invoice(&world, november()).await, said("open", "0.35"));
        // The disk is full.
        life.metering.note(Some(&"there is no room".to_owned()));
        world.set(AFTER + 20 * MINUTE);
        life.metering.note(Some(&"there is no room".to_owned()));
        assert!(!life.metering.invoice_month_before(december()).await.expect("asked"), "not all of it is there");
        assert_eq!(life.invoice(&world, november()).await, said("open", "0.35"));
        // There is room.
        life.metering.take(late, 22 * MINUTE).await.expect("taken");
        life.metering.take(new, Duration::ZERO).await.expect("taken");
        assert_eq!(life.invoice(&world, november()).await, said("open", "0.45"));
        world.set(AFTER + 26 * MINUTE);
        assert!(life.metering.invoice_month_before(december()).await.expect("made"));
        assert_eq!(life.invoice(&world, november()).await, said("final", "0.45"));
        assert_eq!(life.invoice(&world, december()).await, said("open", "0.07"));
    });
    // What comes later than that is billed as well, to the month that is open.
    let last = world.batch(3);
    world.live(async |life| {
        life.metering.take(last, 60 * MINUTE).await.expect("taken");
        assert_eq!(life.invoice(&world, november()).await, said("final", "0.45"));
        assert_eq!(life.invoice(&world, december()).await, said("open", "0.10"));
    });
    world.live(async |life| {
        assert_eq!(life.invoice(&world, november()).await, said("final", "0.45"));
        assert_eq!(life.invoice(&world, december()).await, said("open", "0.10"));
        let mut all = Totals::default();
        let (from, to) = (date!(2099 - 01 - 01), date!(2099 - 12 - 31));
        life.metering.ledger().read(from, to, |_, entry| all.add(entry)).expect("read");
        assert_eq!(all.total().requests, 55);
        assert!(life.metering.ledger().verify().expect("read").is_clean());
    });
}

#[test]
fn who_was_stopped_goes_on_in_the_new_month_also_when_it_began_without_the_platform() {
    for limit in [CAPPED, super::LIMITED] {
        let mut world = World::new(limit);
        world.set(BEFORE);
        let (all, new) = (world.batch(100), world.batch(49));
        world.live(async |life| {
            life.metering.take(all, Duration::ZERO).await.expect("taken");
            assert!(life.is_stopped(&world));
        });
        world.live(async |life| assert!(life.is_stopped(&world)));
        world.set(AFTER);
        world.live(async |life| assert!(!life.is_stopped(&world)));
        // And while it runs.
        world.set(BEFORE);
        world.live(async |life| {
            assert!(life.is_stopped(&world));
            let looking = tokio::spawn(Arc::clone(&life.metering).look());
            world.set(AFTER);
            life.stops(&world, false).await;
            looking.abort();
            life.metering.take(new, Duration::ZERO).await.expect("taken");
            assert!(!life.is_stopped(&world), "the new one begins at nothing");
        });
    }
}

#[test]
fn a_clock_that_is_set_back_over_the_end_of_a_month_moves_nothing() {
    let mut world = World::new(CAPPED);
    world.set(datetime!(2099-11-03 12:00 UTC));
    let all = world.batch(50);
    world.live(async |life| life.metering.take(all, Duration::ZERO).await.expect("taken"));
    world.set(AFTER);
    let (new, old) = (world.batch(10), world.batch(5));
    world.live(async |life| {
        assert!(!life.is_stopped(&world));
        life.metering.take(new, Duration::ZERO).await.expect("taken");
        // It was wrong: the old month is not over. All of it is known.
        world.set(BEFORE);
        life.metering.take(old, Duration::ZERO).await.expect("taken");
        assert!(life.is_stopped(&world));
        assert_eq!(life.invoice(&world, november()).await, said("open", "0.55"));
        assert_eq!(life.invoice(&world, december()).await, said("open", "0.10"));
        world.set(AFTER + 5 * MINUTE);
        assert_eq!(life.invoice(&world, november()).await, said("final", "0.55"));
    });
    // Set back into a month whose invoice is made: what is used then is of the next one, and that one's cap counts.
    world.set(BEFORE);
    let (more, most) = (world.batch(4), world.batch(36));
    world.live(async |life| {
        assert!(!life.is_stopped(&world));
        life.metering.take(more, Duration::ZERO).await.expect("taken");
        assert_eq!(life.invoice(&world, november()).await, said("final", "0.55"));
        assert_eq!(life.invoice(&world, december()).await, said("open", "0.14"));
        life.metering.take(most, Duration::ZERO).await.expect("taken");
        assert!(life.is_stopped(&world));
    });
    world.live(async |life| assert!(life.is_stopped(&world)));
    world.set(AFTER + 5 * MINUTE);
    world.live(async |life| assert!(life.is_stopped(&world)));
}
