//! What time it is: this machine's clock, or a test's.

use std::sync::Arc;

use time::OffsetDateTime;

/// Says what time it is.
pub(crate) type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// This machine's clock.
pub(crate) fn of_machine() -> Clock {
    Arc::new(OffsetDateTime::now_utc)
}
