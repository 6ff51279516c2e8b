//! What is gathered of one event while it is handled, as long as it is not known whether anybody wants it.

use crate::{Details, Gather, Observer, Tracing, Wanted};

/// What is gathered of one event. Of one that is wanted only if it fails, nothing is made before there is something to keep.
#[derive(Debug, Default)]
pub struct Gathering {
    details: Option<Box<Details>>,
    /// [`Gather::IfFailed`]
    only_failed: bool,
}

impl Gathering {
    /// Of an event that begins, and the trace that it is a part of.
    pub fn begin(wanted: Option<Wanted>) -> (Self, Option<Tracing>) {
        let Some(Wanted { interval, trace, gather }) = wanted else { return (Self::default(), None) };
        let gathering = match gather {
            Gather::Nothing => Self::default(),
            Gather::IfFailed => Self { details: None, only_failed: true },
            Gather::All => {
                Self { details: Some(Box::new(Details { interval, ..Details::default() })), only_failed: false }
            }
        };
        (gathering, trace)
    }

    /// Whether anything is kept.
    pub fn is_wanted(&self) -> bool {
        self.only_failed || self.details.is_some()
    }

    /// Where to keep something, if it is wanted.
    pub fn details(&mut self) -> Option<&mut Details> {
        if self.only_failed && self.details.is_none() {
            self.details = Some(Box::default());
        }
        self.details.as_deref_mut()
    }

    /// What was gathered, at the event's end, if it is still wanted.
    pub fn end(self, failed: bool, observer: &dyn Observer) -> Option<Box<Details>> {
        if !self.only_failed {
            return self.details;
        }
        let wanted = if failed { observer.failed() } else { None }?;
        let mut details = self.details.unwrap_or_default();
        details.interval = wanted.interval;
        Some(details)
    }
}

#[cfg(test)]
mod tests {
    use super::Gathering;
    use crate::{EventRecord, Exception, Gather, LogLine, Observer, Source, Wanted};

    struct Keeps;

    impl Observer for Keeps {
        fn failed(&self) -> Option<Wanted> {
            Some(Wanted { interval: 7, ..Wanted::default() })
        }
        fn log(&self, _: &Source, _: LogLine) {}
        fn exception(&self, _: &Source, _: Exception) {}
        fn finished(&self, _: &Source, _: EventRecord) {}
    }

    fn begin(wanted: Wanted) -> Gathering {
        Gathering::begin(Some(wanted)).0
    }

    #[test]
    fn what_nobody_wants_is_not_gathered() {
        let (mut gathering, trace) = Gathering::begin(None);
        assert!(!gathering.is_wanted() && gathering.details().is_none() && trace.is_none());
        assert!(gathering.end(true, &Keeps).is_none());
        let mut gathering = begin(Wanted { gather: Gather::Nothing, ..Wanted::default() });
        assert!(!gathering.is_wanted() && gathering.details().is_none());
        assert!(gathering.end(true, &Keeps).is_none());
    }

    #[test]
    fn what_is_wanted_stays_as_it_was_wanted() {
        let mut gathering = begin(Wanted { interval: 3, ..Wanted::default() });
        assert!(gathering.is_wanted());
        gathering.details().expect("wanted").cold = true;
        let details = gathering.end(true, &Keeps).expect("wanted");
        assert_eq!((details.interval, details.cold), (3, true));
    }

    #[test]
    fn what_is_wanted_if_it_fails_is_kept_if_it_fails() {
        let only_failed = || begin(Wanted { gather: Gather::IfFailed, ..Wanted::default() });
        assert!(only_failed().is_wanted());
        assert_eq!(only_failed().end(true, &Keeps).map(|details| details.interval), Some(7));
        let mut gathering = only_failed();
        gathering.details().expect("perhaps wanted").cold = true;
        assert_eq!(gathering.end(true, &Keeps).map(|details| (details.interval, details.cold)), Some((7, true)));
        let mut gathering = only_failed();
        gathering.details().expect("perhaps wanted").cold = true;
        assert!(gathering.end(false, &Keeps).is_none());
    }
}
