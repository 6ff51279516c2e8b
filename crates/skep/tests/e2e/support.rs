//! What the tests share: projects in temporary folders, the `skep` command, what it prints, and an HTTP client.

mod cli;
mod devtools;
mod http;
mod output;
mod platform;
mod process;
mod project;
mod terminal;
pub(crate) mod tls;

use std::time::Duration;

pub(crate) use cli::Person;
pub(crate) use devtools::DevTools;
pub(crate) use http::{Answer, body, fetch, fetch_over, get};
pub(crate) use output::Output;
pub(crate) use platform::{Platform, Wrangler, path_with_node};
pub(crate) use process::{Dev, Ended, command, skep};
pub(crate) use project::Project;
pub(crate) use terminal::Terminal;

/// How long a test waits for something that should come soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
