//! Which Worker answers a request, which of its versions, and in which isolate.
//!
//! The [`Directory`] knows every Worker there is and finds one by host and path; it hears of changes from the store and asks
//! nobody while a request waits. The [`Pool`] has the versions that are in use: the first request of a version loads it from
//! the store and starts an isolate, an idle one goes away. A deployment is swapped in one step: requests that have begun
//! finish on the version they began with.

#![forbid(unsafe_code)]

mod bindings;
mod choose;
mod directory;
mod gates;
pub mod keep_alive;
mod places;
mod pool;
mod source;
mod supply;
mod tend;

pub use choose::{Choice, choose};
pub use directory::{Directory, Found, Worker};
pub use gates::{Gate, Gates};
pub use places::{Place, Places};
pub use pool::{Answered, Environment, Loaded, Observers, Pool};
pub use source::{Asking, Source, SourceError};
pub use supply::{Capacity, Starts, Waited};
pub use tend::Usage;
