//! What an event uses.

use std::time::Duration;

/// What an event has used, by now or when it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Since it began.
    pub wall: Duration,
    /// CPU time of the isolate's thread that was spent on it.
    pub cpu: Duration,
    /// Subrequests it made.
    pub subrequests: u32,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the response's body that were sent.
    pub bytes_out: u64,
}
