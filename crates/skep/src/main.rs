//! The `skep` command: arguments in, an exit code out. What a command does is in the room it is named for.

#![forbid(unsafe_code)]

mod commands;
mod output;

use std::process::ExitCode;
use std::time::Instant;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::commands::{
    billing, completions, cron, delete, deliveries, deploy, deployments, dev, domains, env, init, invoice, login,
    logout, logs, man, master_key, open, rollback, routes, runtime, secret, serve, service, status, tail, token, types,
    usage, versions, whoami,
};

/// A request is allocated on one thread and freed on another, which glibc's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serverless on your own machines: write the logic that handles a request, run one command, and it is live
#[derive(Parser)]
#[command(name = "skep", version, about, propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Dev(dev::Arguments),
    Deploy(deploy::Arguments),
    Versions(versions::Arguments),
    Deployments(deployments::Arguments),
    Rollback(rollback::Arguments),
    Delete(delete::Arguments),
    Secret(secret::Arguments),
    Tail(tail::Arguments),
    Cron(cron::Arguments),
    Routes(routes::Arguments),
    Domains(domains::Arguments),
    Open(open::Arguments),
    Login(login::Arguments),
    Logout(logout::Arguments),
    Whoami(whoami::Arguments),
    Logs(logs::Arguments),
    Status(status::Arguments),
    Deliveries(deliveries::Arguments),
    Usage(usage::Arguments),
    Billing(billing::Arguments),
    Invoice(invoice::Arguments),
    Token(token::Arguments),
    MasterKey(master_key::Arguments),
    Env(env::Arguments),
    Serve(Box<serve::Arguments>),
    #[command(hide = true)]
    Runtime(runtime::Arguments),
    Service(service::Arguments),
    Types(types::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

fn main() -> ExitCode {
    let begun = Instant::now();
    let matches = Arguments::command().get_matches();
    let for_programs = wants_json(&matches);
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match arguments.command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Dev(arguments) => dev::run(arguments, begun),
        Command::Deploy(arguments) => deploy::run(arguments),
        Command::Versions(arguments) => versions::run(arguments),
        Command::Deployments(arguments) => deployments::run(&arguments),
        Command::Rollback(arguments) => rollback::run(&arguments),
        Command::Delete(arguments) => delete::run(&arguments),
        Command::Secret(arguments) => secret::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Cron(arguments) => cron::run(&arguments),
        Command::Routes(arguments) => routes::run(&arguments),
        Command::Domains(arguments) => domains::run(&arguments),
        Command::Open(arguments) => open::run(&arguments),
        Command::Login(arguments) => login::run(&arguments),
        Command::Logout(arguments) => logout::run(&arguments),
        Command::Whoami(arguments) => whoami::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Deliveries(arguments) => deliveries::run(&arguments),
        Command::Usage(arguments) => usage::run(&arguments),
        Command::Billing(arguments) => billing::run(&arguments),
        Command::Invoice(arguments) => invoice::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::MasterKey(arguments) => master_key::run(&arguments),
        Command::Env(arguments) => env::run(&arguments),
        Command::Serve(arguments) => serve::run(*arguments, begun),
        Command::Runtime(arguments) => runtime::run(&arguments),
        Command::Service(arguments) => service::run(arguments),
        Command::Types(arguments) => types::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, Arguments::command()),
        Command::Man(arguments) => man::run(&arguments, Arguments::command()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if for_programs => {
            output::error_document(&*error);
            ExitCode::FAILURE
        }
        Err(error) => {
            output::error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Whether the innermost command has the flag `--json`.
fn wants_json(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some((_, inner)) if wants_json(inner) => true,
        _ => matches.try_get_one::<bool>("json").ok().flatten().copied().unwrap_or(false),
    }
}
