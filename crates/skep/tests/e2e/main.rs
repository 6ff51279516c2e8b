//! The `skep` command as a person uses it: the real binary, real projects, real clients.
//!
//! Each file is about one subject. Tests wait for what they expect and never for a time, so that a busy machine makes
//! them slow and not wrong.

mod alerts;
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
mod deliveries;
mod full_disk;
mod inspector;
mod keys;
mod logs;
mod master_key;
mod metrics;
mod processes;
mod project;
mod promotion;
mod reload;
mod serve;
mod start;
mod status;
mod stop;
mod support;
mod tail;
mod tail_filters;
mod tutorial;
mod usage;
mod wrangler;

// Spans are read as the tests of `telemetry` read them, which use all of it.
#[path = "../../../telemetry/tests/network/server.rs"]
#[expect(dead_code, reason = "tests of another crate use the rest")]
mod collector;
#[path = "../../../telemetry/tests/network/message.rs"]
#[expect(dead_code, reason = "tests of another crate use the rest")]
mod message;
