//! How much waits, how long, and how often it is tried.

use std::time::Duration;

use skep_outbound::Pauses;

/// How much waits, how long, and how often it is tried. Everything that an [`crate::Outbox`] holds is bounded by these.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items of one destination, those that failed and are kept among them.
    pub items: usize,
    /// Bytes of these on the disk.
    pub bytes: u64,
    /// Bytes of one item on the disk.
    pub item_bytes: u64,
    /// Destinations that have items.
    pub destinations: usize,
    /// Keys of one destination that are remembered after their item was sent.
    pub keys: usize,
    /// How long the key of an alert is remembered: one with the same key is not sent again before that.
    pub same_alert: Duration,
    /// How long the key of a usage event is remembered.
    pub same_usage: Duration,
    /// How long one try may take, the answer included.
    pub timeout: Duration,
    /// The pause after the first failure. Each further one doubles it.
    pub first_pause: Duration,
    /// The longest pause, unless the destination asks for a longer one.
    pub last_pause: Duration,
    /// The longest pause that a destination may ask for.
    pub longest_asked: Duration,
    /// How long an alert is tried. Then it is kept as failed.
    pub alert_age: Duration,
    /// How long a usage event is tried. Then it is kept as failed.
    pub usage_age: Duration,
    /// The shortest time between two sentences about one destination.
    pub tell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            items: 10_000,
            bytes: 16 << 20,
            item_bytes: 64 << 10,
            destinations: 64,
            keys: 50_000,
            same_alert: HOUR,
            // Stripe takes no event that is older than 35 days: sent again after that, it is refused there.
            same_usage: 40 * DAY,
            // Standard Webhooks asks for 15 to 30 seconds.
            timeout: 20 * SECOND,
            first_pause: 5 * SECOND,
            last_pause: HOUR,
            longest_asked: DAY,
            alert_age: 3 * DAY,
            usage_age: 35 * DAY,
            tell: 60 * SECOND,
        }
    }
}

/// The part of a pause by which it is longer at most.
const SPREAD: f64 = 0.25;

impl Limits {
    pub(crate) fn pauses(&self) -> Pauses {
        Pauses { first: self.first_pause, last: self.last_pause, longest_asked: self.longest_asked, spread: SPREAD }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use skep_outbound::Backoff;

    use super::Limits;

    #[test]
    fn a_destination_that_is_down_for_an_hour_is_tried_some_ten_times() {
        let (mut backoff, pauses) = (Backoff::default(), Limits::default().pauses());
        let (mut passed, mut tries) = (Duration::ZERO, 0);
        while passed < Duration::from_secs(3600) {
            passed += backoff.failed(&pauses, None);
            tries += 1;
        }
        assert!((9..=10).contains(&tries), "{tries} tries");
    }
}
