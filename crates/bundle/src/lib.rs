//! A project folder in, a Worker's [`Version`](skep_worker::Version) out: configuration, secrets, TypeScript, npm packages.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use skep_bundle::{Mode, Options, Project};
//!
//! let mut project = Project::open(Options::new("/home/me/my-worker", Mode::Dev, "2026-10-06".parse()?))?;
//! let build = project.build().await?;
//! println!("{} is {} bytes", build.version.worker, build.version.size());
//! # Ok(())
//! # }
//! ```
//!
//! [`config`] reads `wrangler.jsonc` and its relatives, [`dotenv`] reads `.dev.vars` and `.env`, `bundler` runs rolldown, and
//! [`types`] writes TypeScript declarations. What is wrong comes back as [`Diagnostic`]s; nothing here prints, and nothing here
//! knows V8.

#![forbid(unsafe_code)]

mod assets;
mod bundler;
pub mod config;
mod custom_build;
mod diagnostic;
mod document;
pub mod dotenv;
mod files;
mod no_bundle;
mod options;
mod project;
pub mod rules;
pub mod types;

pub use assets::BuiltAssets;
pub use config::Config;
pub use config::is_valid_name;
pub use diagnostic::{BuildError, Diagnostic, Location, Severity};
pub use options::{Mode, Options, parse_var};
pub use project::{Build, Building, Project};
