//! The `skep` command as a person uses it: the real binary, real projects, real clients.
//!
//! Each file is about one subject. Tests wait for what they expect and never for a time, so that a busy machine makes
//! them slow and not wrong.

mod assets;
mod bad_input;
mod billing;
mod c3;
mod certificates;
mod cli;
mod cli_errors;
mod cli_live;
mod crash;
mod dashboard;
mod inspector;
mod keys;
mod master_key;
mod processes;
mod project;
mod promotion;
mod reload;
mod serve;
mod start;
mod stop;
mod support;
mod tail;
mod tutorial;
mod usage;
mod wrangler;
