//! One file for each benchmark.

mod hello;
mod latency;
mod memory;
mod parse;
mod reload;
mod start;
mod stream;
mod stream_1gb;
mod throughput;

use std::error::Error;

use clap::ValueEnum;

use crate::Bench;
use crate::report::Section;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Item {
    /// Requests per second for a short JSON answer
    Hello,
    /// Time of one request on one connection
    Latency,
    /// Megabytes per second from a ReadableStream
    Stream,
    /// Requests per second for 100 KB of JSON, read and written
    Parse,
    /// From the command to the first answer
    Start,
    /// From a saved file to its answer
    Reload,
    /// Memory before and after a load
    Memory,
    /// Memory while 1 GB streams through a Worker
    #[value(name = "stream-1gb")]
    Stream1gb,
}

impl Item {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 8] = [
        Self::Hello,
        Self::Latency,
        Self::Stream,
        Self::Parse,
        Self::Start,
        Self::Reload,
        Self::Memory,
        Self::Stream1gb,
    ];

    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(crate) fn run(self, bench: &Bench) -> Result<Section, Box<dyn Error>> {
        match self {
            Self::Hello => hello::run(bench),
            Self::Latency => latency::run(bench),
            Self::Stream => stream::run(bench),
            Self::Parse => parse::run(bench),
            Self::Start => start::run(bench),
            Self::Reload => reload::run(bench),
            Self::Memory => memory::run(bench),
            Self::Stream1gb => stream_1gb::run(bench),
        }
    }
}
