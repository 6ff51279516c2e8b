//! What the tests share: projects in temporary folders, the `skep` command, what it prints, and an HTTP client.

mod authority;
mod cli;
mod devtools;
mod hook;
mod http;
mod output;
mod platform;
mod process;
mod project;
mod terminal;
pub(crate) mod tls;

use std::time::Duration;

pub(crate) use authority::{Authority, Dns, free_port};
pub(crate) use cli::Person;
pub(crate) use devtools::DevTools;
pub(crate) use hook::{Hook, Posted, SECRET, SECRET_PATH};
pub(crate) use http::{Answer, body, fetch, fetch_over, get, try_fetch};
pub(crate) use output::Output;
pub(crate) use platform::{Platform, Wrangler, cached, path_with_node};
pub(crate) use process::{Dev, Ended, command, skep};
pub(crate) use project::Project;
pub(crate) use terminal::Terminal;

/// Whether tests are to do without the network, and without what is installed from it.
pub(crate) fn offline() -> bool {
    std::env::var_os("SKEP_OFFLINE").is_some_and(|value| value == "1")
}

/// How long a test waits for something that should come soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
