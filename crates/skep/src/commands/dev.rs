//! `skep dev`: serves a project on this machine.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use skep_bundle::Mode;
use skep_dev::Printer;

use crate::commands::{Outcome, today};

/// Run a Worker on this machine, and again whenever a file is saved
#[derive(Args)]
pub(crate) struct Arguments {
    /// The script, in place of `main` of the configuration
    script: Option<PathBuf>,
    /// The configuration's file
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The environment of the configuration
    #[arg(long, short, value_name = "NAME", env = "CLOUDFLARE_ENV")]
    env: Option<String>,
    /// The Worker's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The port to listen on; 0 takes any free one [default: 8787]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The address to listen on; 0.0.0.0 or * for all [default: localhost]
    #[arg(long, visible_alias = "ip", value_name = "ADDRESS")]
    host: Option<String>,
    /// Whether to serve http, or https with a certificate that signs itself
    #[arg(long, value_name = "PROTOCOL")]
    local_protocol: Option<Protocol>,
    /// The port for debuggers; 0 takes any free one [default: 9229]
    #[arg(long, value_name = "PORT")]
    inspector_port: Option<u16>,
    /// A variable for the Worker, in place of the configuration's
    #[arg(long = "var", value_name = "KEY:VALUE", value_parser = skep_bundle::parse_var)]
    vars: Vec<(String, String)>,
    /// A file with variables, in place of .dev.vars and .env
    #[arg(long = "env-file", value_name = "FILE")]
    env_files: Vec<PathBuf>,
    /// The compatibility date, in place of the configuration's
    #[arg(long, value_name = "YYYY-MM-DD")]
    compatibility_date: Option<String>,
    /// A further compatibility flag
    #[arg(long = "compatibility-flag", visible_alias = "compatibility-flags", value_name = "FLAG")]
    compatibility_flags: Vec<String>,
    /// Run the scheduled handler when /__scheduled is asked for
    #[arg(long)]
    test_scheduled: bool,
    /// Make the code small, as a deploy does
    #[arg(long)]
    minify: bool,
    /// Take the files as they are
    #[arg(long)]
    no_bundle: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    Http,
    Https,
}

pub(crate) fn run(arguments: Arguments, begun: Instant) -> Outcome {
    // Before any other thread: V8 wants it so.
    skep_isolate::initialize();
    let printer = Printer::new();
    let output = printer.clone();
    let build = skep_bundle::Options {
        config: arguments.config,
        main: arguments.script,
        environment: arguments.env,
        name: arguments.name,
        compatibility_date: arguments.compatibility_date,
        compatibility_flags: arguments.compatibility_flags,
        vars: arguments.vars,
        env_files: arguments.env_files,
        minify: arguments.minify.then_some(true),
        no_bundle: arguments.no_bundle.then_some(true),
        command_output: std::sync::Arc::new(move |line| output.line(line)),
        ..skep_bundle::Options::new(std::env::current_dir()?, Mode::Dev, today())
    };
    let options = skep_dev::Options {
        build,
        host: arguments.host,
        port: arguments.port,
        https: arguments.local_protocol.map(|protocol| protocol == Protocol::Https),
        inspector_port: arguments.inspector_port,
        test_scheduled: arguments.test_scheduled,
        begun,
    };
    Ok(skep_dev::run(options, &printer)?)
}
