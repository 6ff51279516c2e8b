//! What the operator hears of exports: of each kind of trouble one sentence in a while, with what was not said before.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Says a sentence to the operator. It must not wait: exports wait for it.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// The shortest time between two sentences of one kind.
const PAUSE: Duration = Duration::from_secs(60);

/// A kind of trouble.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// The collector takes nothing now.
    Away,
    /// Spans are lost that the collector did not take.
    Lost,
    /// The collector left out some spans of a batch.
    Rejected,
    /// The queue was full.
    Dropped,
}

/// Tells.
pub(crate) struct Teller {
    tell: Tell,
    kinds: [Kind; 4],
}

/// What was told of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    /// When the last sentence was told.
    last: Option<Instant>,
    /// Spans since then of which nothing was told.
    spans: u64,
    /// Whether somebody waits to hear that it is over.
    open: bool,
}

impl Teller {
    pub(crate) fn new(tell: Tell) -> Self {
        Self { tell, kinds: [Kind::default(); 4] }
    }

    /// Tells of some spans, or keeps their number for the next sentence of this kind, which is told of all of them.
    pub(crate) fn say(&mut self, trouble: Trouble, spans: u64, sentence: impl FnOnce(u64) -> String) {
        self.say_at(Instant::now(), trouble, spans, sentence);
    }

    fn say_at(&mut self, now: Instant, trouble: Trouble, spans: u64, sentence: impl FnOnce(u64) -> String) {
        let kind = &mut self.kinds[trouble as usize];
        kind.spans = kind.spans.saturating_add(spans);
        if kind.last.is_none_or(|last| now.duration_since(last) >= PAUSE) {
            kind.last = Some(now);
            kind.open = true;
            (self.tell)(&sentence(std::mem::take(&mut kind.spans)));
        }
    }

    /// Tells that it is over, if it was told that it began.
    pub(crate) fn over(&mut self, trouble: Trouble, sentence: impl FnOnce() -> String) {
        if std::mem::take(&mut self.kinds[trouble as usize].open) {
            (self.tell)(&sentence());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_kind_is_told_once_in_a_while_and_nothing_is_left_out() {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&told);
        let mut teller = Teller::new(Arc::new(move |sentence| kept.lock().unwrap().push(sentence.to_owned())));
        let heard = || std::mem::take(&mut *told.lock().unwrap());
        let rejected = |spans| format!("rejected {spans}");
        teller.over(Trouble::Away, || "never began".to_owned());
        let begun = Instant::now();
        for seconds in 0..3 {
            let now = begun + Duration::from_secs(seconds);
            teller.say_at(now, Trouble::Rejected, 5, rejected);
            teller.say_at(now, Trouble::Away, 0, |_| "away".to_owned());
        }
        assert_eq!(heard(), ["rejected 5", "away"]);
        teller.over(Trouble::Away, || "back".to_owned());
        teller.over(Trouble::Away, || "back".to_owned());
        assert_eq!(heard(), ["back"]);
        teller.say_at(begun + PAUSE, Trouble::Rejected, 1, rejected);
        assert_eq!(heard(), ["rejected 11"]);
    }
}
