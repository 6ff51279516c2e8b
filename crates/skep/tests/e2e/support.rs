//! What the tests share: projects in temporary folders, the `skep` command, what it prints, and an HTTP client.

mod devtools;
mod http;
mod output;
mod process;
mod project;

use std::time::Duration;

pub(crate) use devtools::DevTools;
pub(crate) use http::{body, fetch, get};
pub(crate) use output::Output;
pub(crate) use process::{Dev, Ended, skep};
pub(crate) use project::Project;

/// How long a test waits for something that should come soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
