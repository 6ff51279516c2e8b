//! One file for each benchmark.

mod assets_serve;
mod billing;
mod burst;
mod cold;
mod density;
mod deploy;
mod hello;
mod instructions;
mod kills;
mod latency;
mod memory;
mod neighbour;
mod parse;
mod platform_hello;
mod reload;
mod start;
mod stream;
mod stream_1gb;
mod throughput;
mod watched;
mod workers_100k;

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
    /// From a deploy to its answer, and what clients see meanwhile
    Deploy,
    /// Start and memory of the platform with 100,000 Workers
    #[value(name = "workers-100k")]
    Workers100k,
    /// Requests per second for a small static file through the platform
    AssetsServe,
    /// The first request of a Worker
    Cold,
    /// From one request each second to as many as the cores can serve
    Burst,
    /// Memory of 1,000 loaded Workers
    Density,
    /// Requests per second and time of a short JSON answer through the platform
    PlatformHello,
    /// Processor instructions for a request
    Instructions,
    /// What one account's Workers feel of another one's that attack
    Neighbour,
    /// What clients see while the runtime process is killed again and again
    Kills,
    /// What is billed while processes are killed, and how soon a spend cap holds
    Billing,
    /// What it costs a request that somebody watches, or that its event is kept
    Watched,
}

impl Item {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 20] = [
        Self::Hello,
        Self::Latency,
        Self::Stream,
        Self::Parse,
        Self::Start,
        Self::Reload,
        Self::Memory,
        Self::Stream1gb,
        Self::Deploy,
        Self::Workers100k,
        Self::AssetsServe,
        Self::Cold,
        Self::Burst,
        Self::Density,
        Self::PlatformHello,
        Self::Instructions,
        Self::Neighbour,
        Self::Kills,
        Self::Billing,
        Self::Watched,
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
            Self::Deploy => deploy::run(bench),
            Self::Workers100k => workers_100k::run(bench),
            Self::AssetsServe => assets_serve::run(bench),
            Self::Cold => cold::run(bench),
            Self::Burst => burst::run(bench),
            Self::Density => density::run(bench),
            Self::PlatformHello => platform_hello::run(bench),
            Self::Instructions => instructions::run(bench),
            Self::Neighbour => neighbour::run(bench),
            Self::Kills => kills::run(bench),
            Self::Billing => billing::run(bench),
            Self::Watched => watched::run(bench),
        }
    }
}
