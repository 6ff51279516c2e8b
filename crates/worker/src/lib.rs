//! What a Worker is: [`Version`] (one immutable upload: modules, bindings, compatibility date and flags, limits), the
//! [`Event`]s it handles and the [`Outcome`] of each. Plain types shared by every other room: no I/O, no async, no V8.

#![forbid(unsafe_code)]

pub mod binding;
pub mod compatibility;
pub mod event;
pub mod limits;
pub mod outcome;
pub mod route;
pub mod secret;
pub mod used;
pub mod version;

pub use binding::{Binding, BindingKind};
pub use compatibility::{Compatibility, CompatibilityDate, CompatibilityError};
pub use event::Event;
pub use limits::Limits;
pub use outcome::{ErrorCode, Limit, LimitExceeded, Outcome};
pub use route::{PatternError, RoutePattern, RouteTable};
pub use secret::Secret;
pub use used::Used;
pub use version::{EntryFormat, Module, ModuleContent, Version};
