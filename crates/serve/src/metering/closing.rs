//! When a month is closed: its invoices are final, and nothing is billed to it any more.
//!
//! What a process has counted is billed to the time in which that was, also when it could not be written down for hours. So a month is closed some
//! minutes after its end, and not while usage cannot be written down, or could not be until lately. What is told of a closed month all the same, as a clock
//! was set back or a process was held for long, is billed to the next one that is open: nothing is billed twice, and nothing to no month.

use std::sync::PoisonError;
use std::time::Duration;

use skep_meter::Month;
use time::OffsetDateTime;

use crate::metering::Metering;

/// How long after its end a time is taken to be written down completely.
const SETTLED: time::Duration = time::Duration::minutes(5);
/// How long ago something may have been counted that is told: nobody is believed more.
const LONGEST: Duration = Duration::from_secs(40 * 24 * 3600);

impl Metering {
    /// What time it is as far as bills are concerned: never one of a month that is closed.
    pub(super) fn now(&self) -> OffsetDateTime {
        self.open_from((self.clock)())
    }

    /// The moment to which something is billed that was counted so long ago.
    pub(super) fn billed_at(&self, age: Duration) -> OffsetDateTime {
        self.open_from((self.clock)() - age.min(LONGEST))
    }

    /// A moment, or the first one after it in a month that is not closed.
    fn open_from(&self, mut moment: OffsetDateTime) -> OffsetDateTime {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        while closed.contains(&Month::at(moment)) {
            moment = Month::at(moment).ends();
        }
        moment
    }

    /// Up to when everything that was used is written down. Nothing while that is not known.
    pub(crate) fn settled(&self) -> Option<OffsetDateTime> {
        let until = (self.clock)() - SETTLED;
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_none_or(|failed| failed <= until).then_some(until)
    }

    /// Closes a month, if everything that was used in it is written down. Gives whether it is closed. What is read afterwards is all of it.
    pub(super) async fn close(&self, month: Month) -> bool {
        let is_closed = || self.closed.lock().unwrap_or_else(PoisonError::into_inner).contains(&month);
        if is_closed() {
            return true;
        }
        // Whoever writes something of that month has written it.
        let _nobody = self.writing.write().await;
        let is_over = self.settled().is_some_and(|until| month.ends() <= until);
        if is_over {
            self.closed.lock().unwrap_or_else(PoisonError::into_inner).insert(month);
        }
        is_over
    }
}
