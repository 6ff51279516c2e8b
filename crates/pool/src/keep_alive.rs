//! How long a Worker's isolate is kept when nobody asks for it: from how long it was idle before.
//!
//! The policy is the hybrid histogram of "Serverless in the Wild" (Shahrad et al., USENIX ATC 2020, section 4.2): the times between
//! one visit and the next are counted in minutes. Where they have a pattern, the isolate goes away at once and is started again
//! shortly before the next visit is to be expected, and kept until it is hardly to be expected any more. Where they have none,
//! or too few are known, it is kept for a fixed time.
//!
//! The paper takes the 5th and the 99th percentile of the idle times for that. They do not know what they cost: one visit in fifty that
//! comes after three hours has the isolate kept for three hours after every visit. Here, a start that nobody waits for has a price in
//! minutes of an idle isolate, and the window is the one that is worth the most. `benches/keep_alive.rs` compares it with a fixed time.

use std::ops::Range;
use std::time::Duration;

/// The width of a bin.
const BIN: Duration = Duration::from_secs(60);
/// Bins: four hours.
const BINS: usize = 240;
/// Idle times of which fewer say nothing.
const ENOUGH: u32 = 4;
/// How many bins an isolate may be idle for each visit that need not wait for a start. On the benchmark's traces, 10 has two thirds of
/// the cold starts that a fixed ten minutes has and four fifths of its idle isolates; 20 a third and nine tenths; 30 a quarter and as many.
/// It was chosen on those traces, so that they are no independent proof of it; two seeds that were not looked at before gave the same.
const WORTH: f64 = 20.0;
/// How much earlier than the window the isolate is started, and how much longer it is kept, as a part of the time.
const MARGIN: f64 = 0.10;
/// The coefficient of variation of the bins below which they have no pattern.
const PATTERN: f64 = 2.0;
/// The part of idle times that are longer than the bins from which they have no pattern.
const BEYOND: f64 = 0.5;
/// How long an isolate is kept where nothing is known: what the field does.
pub const FIXED: Duration = Duration::from_secs(600);
/// Counts are halved when the largest reaches this, so that habits may change.
const MOST: u16 = 1 << 12;

/// When an isolate is there after a visit: from `start` to `end`, counted from when the visit began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it is started again. Zero: it is kept from the beginning.
    pub start: Duration,
    /// When it goes for good.
    pub end: Duration,
}

impl Window {
    /// What holds where nothing is known.
    pub const UNKNOWN: Self = Self { start: Duration::ZERO, end: FIXED };

    /// Whether there is to be an isolate after this idle time.
    pub fn holds(&self, idle: Duration) -> bool {
        self.start <= idle && idle < self.end
    }
}

/// How long one Worker was idle between its visits.
#[derive(Clone, Debug)]
pub struct IdleTimes {
    bins: Box<[u16; BINS]>,
    total: u32,
    beyond: u32,
}

impl Default for IdleTimes {
    fn default() -> Self {
        Self { bins: Box::new([0; BINS]), total: 0, beyond: 0 }
    }
}

impl IdleTimes {
    /// Counts an idle time that is over.
    pub fn record(&mut self, idle: Duration) {
        let bin = idle.as_secs() / BIN.as_secs();
        match usize::try_from(bin).ok().and_then(|bin| self.bins.get_mut(bin)) {
            Some(count) => {
                *count += 1;
                self.total += 1;
                if *count >= MOST {
                    self.halve();
                }
            }
            None => self.beyond += 1,
        }
    }

    fn halve(&mut self) {
        for count in self.bins.iter_mut() {
            *count /= 2;
        }
        self.total = self.bins.iter().map(|count| u32::from(*count)).sum();
        self.beyond /= 2;
    }

    /// When an isolate is to be there after the next visit.
    pub fn window(&self) -> Window {
        let all = self.total + self.beyond;
        if all < ENOUGH || f64::from(self.beyond) > f64::from(all) * BEYOND || self.variation() < PATTERN {
            return Window::UNKNOWN;
        }
        let Some(bins) = self.worthwhile() else { return Window::UNKNOWN };
        let start = BIN.mul_f64(bins.start as f64 * (1.0 - MARGIN));
        let end = BIN.mul_f64(bins.end as f64 * (1.0 + MARGIN));
        Window { start, end }
    }

    /// The bins in a row in which it is worth the most to have an isolate: the sum of what each is worth is the largest (Kadane's
    /// algorithm). Nothing when none is worth its memory.
    fn worthwhile(&self) -> Option<Range<usize>> {
        let (mut best, mut most) = (None, 0.0);
        let (mut first, mut sum) = (0, 0.0);
        let mut still_idle = f64::from(self.total + self.beyond);
        for (bin, count) in self.bins.iter().enumerate() {
            let visited = f64::from(*count);
            // Who is visited in this bin was idle for half of it.
            sum += visited * WORTH - (still_idle - visited / 2.0);
            still_idle -= visited;
            if sum > most {
                (best, most) = (Some(first..bin + 1), sum);
            }
            if sum < 0.0 {
                (first, sum) = (bin + 1, 0.0);
            }
        }
        best
    }

    /// The coefficient of variation of the bins: their standard deviation, divided by their mean.
    fn variation(&self) -> f64 {
        let mean = f64::from(self.total) / BINS as f64;
        if mean <= 0.0 {
            return 0.0;
        }
        let squares: f64 = self.bins.iter().map(|count| (f64::from(*count) - mean).powi(2)).sum();
        (squares / BINS as f64).sqrt() / mean
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FIXED, IdleTimes, Window};

    fn minutes(minutes: f64) -> Duration {
        Duration::from_secs_f64(minutes * 60.0)
    }

    fn after(idle: impl IntoIterator<Item = f64>) -> Window {
        let mut times = IdleTimes::default();
        idle.into_iter().for_each(|idle| times.record(minutes(idle)));
        times.window()
    }

    #[test]
    fn what_is_not_known_is_kept_for_the_fixed_time() {
        assert_eq!(after([]), Window { start: Duration::ZERO, end: FIXED });
        assert_eq!(after([5.0, 5.0, 5.0]), Window::UNKNOWN);
        // Every idle time is as likely as any other.
        assert_eq!(after((0..240).map(f64::from)), Window::UNKNOWN);
        // Most idle times are longer than what is counted.
        assert_eq!(after([500.0, 600.0, 700.0, 1.0, 1.0]), Window::UNKNOWN);
    }

    #[test]
    fn a_timer_s_visits_find_an_isolate_that_was_started_before_them() {
        let window = after([30.5; 20]);
        assert_eq!(window, Window { start: minutes(27.0), end: minutes(34.1) });
        assert!(!window.holds(minutes(1.0)) && window.holds(minutes(30.5)) && !window.holds(minutes(60.0)));
    }

    #[test]
    fn a_worker_that_is_always_used_is_kept_for_a_little() {
        assert_eq!(after([0.1; 1000]), Window { start: Duration::ZERO, end: minutes(1.1) });
    }

    #[test]
    fn few_late_visits_do_not_keep_an_isolate_after_every_visit() {
        let visits = |early, late, idle| after(std::iter::repeat_n(0.5, early).chain(std::iter::repeat_n(idle, late)));
        assert_eq!(visits(95, 5, 200.5), Window { start: Duration::ZERO, end: minutes(1.1) });
        // Where as many come late as soon, and not much later, it is worth waiting for them.
        assert_eq!(visits(50, 50, 15.5), Window { start: Duration::ZERO, end: minutes(17.6) });
    }

    #[test]
    fn habits_change() {
        let mut times = IdleTimes::default();
        for _ in 0..10_000 {
            times.record(minutes(0.5));
        }
        for _ in 0..10_000 {
            times.record(minutes(100.5));
        }
        assert!(times.window().holds(minutes(100.5)), "{:?}", times.window());
    }
}
