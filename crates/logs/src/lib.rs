//! Events that are kept: what Workers logged and how their events ended, on this machine's disk, compressed, within a budget, searchable.
//!
//! [`Logs`] takes an [`Entry`] for each event and never makes the caller wait; a thread of its own writes. A [`Query`] finds events of one account,
//! the newest first, page by page. These are logs and not money: nothing is synchronised to the disk, so that a crash of the process loses the last
//! second, and one of the machine what the kernel had not written. What is there is whole, or is found not to be.
//!
//! **Files.** Each Worker has files of its own, and a frame holds entries of one Worker: a search reads nothing of other accounts. What came in
//! a second is a small frame in the Worker's young file; when that holds enough for a frame of full size, its entries are
//! compressed together into the Worker's last segment, and the young file goes.
//!
//! **Who loses what.** When the files are larger than the budget, the Worker that holds the most loses its oldest file. It holds more than the budget divided
//! by the number of Workers that hold something, so a Worker that holds no more than that share loses nothing, whatever the others do. What is older than
//! [`Limits::keep`] goes in any case.

#![forbid(unsafe_code)]

mod block;
mod entry;
mod frame;
mod index;
mod logs;
mod query;
mod queue;
mod search;
mod segment;
mod text;
mod writer;

pub use entry::{Entry, Level};
pub use logs::{Limits, Logs, Stats};
pub use query::{Query, SearchError, Status, StatusError};
pub use search::{Found, Gap, Page};
