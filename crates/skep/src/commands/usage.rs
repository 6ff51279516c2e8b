//! `skep usage`: what an account used, and whether the ledger of that is whole.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use skep_client::api::Span;
use skep_meter::{By, Damage, Row, Usage};

use crate::commands::connection::Connection;
use crate::commands::{Outcome, block_on};
use crate::output::{self, text};

/// Show what the account used: requests, CPU time, bytes
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
struct What {
    /// The first day, UTC, such as 2026-11-01. Without one, the first of the month
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last day. Without one, today
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// What it is added up by
    #[arg(long, default_value = By::default().name(), value_parser = by())]
    by: By,
    /// Of this Worker only
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    /// Of all accounts together: for who runs the platform
    #[arg(long)]
    all_accounts: bool,
    /// Show what this month's traffic would cost elsewhere, and when a virtual machine would be cheaper
    #[arg(long, conflicts_with_all = ["from", "to", "worker", "all_accounts"])]
    compare: bool,
    /// What a virtual machine costs a month, to compare with
    #[arg(long, value_name = "AMOUNT", requires = "compare")]
    vm_price: Option<String>,
    /// How many cores it has
    #[arg(long, value_name = "NUMBER", requires = "compare")]
    vm_cores: Option<u32>,
    /// Compare this month, such as 2026-11, in place of the current one
    #[arg(long, value_name = "MONTH", requires = "compare")]
    month: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Check that the ledger of usage is whole: every seal, every link, each batch once
    Verify {
        /// Read this data directory, whose platform is stopped, in place of asking a platform
        #[arg(long, value_name = "FOLDER")]
        data_dir: Option<PathBuf>,
    },
}

fn by() -> impl clap::builder::TypedValueParser<Value = By> {
    PossibleValuesParser::new(By::ALL.map(By::name)).try_map(|name| By::named(&name).ok_or("unknown"))
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Some(Command::Verify { data_dir: Some(data_dir) }) => {
            let _lock = skep_serve::lock(data_dir)?;
            let verification = skep_meter::verify(&data_dir.join("usage"))?;
            let found = (verification.files, verification.frames, verification.batches);
            verified(arguments.connection.json, found, &verification.damages)
        }
        Some(Command::Verify { data_dir: None }) => block_on(async {
            let verification = arguments.connection.api().await?.verify_usage().await?;
            let found = (verification.files, verification.frames, verification.batches);
            verified(arguments.connection.json, found, &verification.damages)
        }),
        None if arguments.what.compare => block_on(compare(&arguments.connection, &arguments.what)),
        None => block_on(show(&arguments.connection, &arguments.what)),
    }
}

fn verified(is_json: bool, (files, frames, batches): (usize, u64, u64), damages: &[Damage]) -> Outcome {
    if is_json {
        let clean = damages.is_empty();
        output::document(
            &json!({ "clean": clean, "files": files, "frames": frames, "batches": batches, "damages": damages }),
        );
    } else {
        output::line(&format!("{files} files, {frames} frames, {batches} batches"));
        damages.iter().for_each(|damage| output::line(&damage.to_string()));
    }
    match damages.len() {
        0 if is_json => Ok(()),
        0 => {
            output::line("The ledger is whole: every seal holds, and every batch is there once");
            Ok(())
        }
        1 => Err("the ledger is damaged in one place. What is there is still read; restore the file from a backup if you have one".into()),
        count => Err(format!("the ledger is damaged in {count} places. What is there is still read; restore the files from a backup if you have one").into()),
    }
}

async fn show(connection: &Connection, what: &What) -> Outcome {
    let span = Span {
        from: what.from.clone(),
        to: what.to.clone(),
        by: what.by,
        worker: what.worker.clone(),
        all: what.all_accounts,
    };
    let usage = connection.api().await?.usage(&span).await?;
    if connection.json {
        output::document(&usage);
        return Ok(());
    }
    output::line(&format!("{} to {} (UTC)", usage.from, usage.to));
    let mut rows: Vec<[String; 8]> = usage.report.rows.iter().map(row).collect();
    rows.push(cells("total".to_owned(), &usage.report.total));
    let head = what.by.name().to_uppercase();
    output::table([&head, "REQUESTS", "CPU", "CPU EACH", "TIME EACH", "IN", "OUT", "COLD STARTS"], &rows);
    Ok(())
}

async fn compare(connection: &Connection, what: &What) -> Outcome {
    let api = connection.api().await?;
    let comparison = api.compare(what.month.as_deref(), what.vm_price.as_deref(), what.vm_cores).await?;
    if connection.json {
        output::document(&comparison);
        return Ok(());
    }
    let row = |offer: &Value| {
        let is_possible = offer["cost"] == "possible";
        let amount = |name: &str| if is_possible { text(&offer[name]) } else { "not possible".to_owned() };
        let break_even = match offer["break_even"]["vm_is_cheaper"].as_str() {
            Some("always") => "always".to_owned(),
            Some("above") => format!("above {} requests a day", offer["break_even"]["requests_per_day"]),
            Some(_) => "never".to_owned(),
            None => "not known yet".to_owned(),
        };
        let own = if offer["is_own"] == true { " (yours)" } else { "" };
        [format!("{}{own}", text(&offer["title"])), amount("so_far"), amount("this_month"), break_even]
    };
    let currency = text(&comparison["currency"]);
    output::line(&format!("{}, amounts in {currency}", text(&comparison["month"])));
    let rows: Vec<[String; 4]> = comparison["offers"].as_array().into_iter().flatten().map(row).collect();
    output::table(["PLAN", "SO FAR", "THIS MONTH", "A VM IS CHEAPER"], &rows);
    output::line(&text(&comparison["sentence"]));
    Ok(())
}

fn row(row: &Row) -> [String; 8] {
    let of = match &row.worker {
        Some(worker) => format!("{worker} {}", row.of),
        None => row.of.clone(),
    };
    cells(of, &row.usage)
}

fn cells(of: String, usage: &Usage) -> [String; 8] {
    let each = |microseconds: u64| time(microseconds.checked_div(usage.requests).unwrap_or(0));
    [
        of,
        usage.requests.to_string(),
        time(usage.cpu_us),
        each(usage.cpu_us),
        each(usage.wall_us),
        bytes(usage.bytes_in),
        bytes(usage.bytes_out),
        usage.cold_starts.to_string(),
    ]
}

/// A number with three digits, in the largest unit of which there is at least one.
fn scaled(number: u64, units: &[(u64, &str)]) -> String {
    let (size, unit) = units.iter().rev().find(|(size, _)| number >= *size).unwrap_or(&units[0]);
    let (whole, rest) = (number / size, number % size);
    let tenths = rest * 10 / size;
    if *size == 1 || whole >= 100 { format!("{whole} {unit}") } else { format!("{whole}.{tenths} {unit}") }
}

/// Microseconds.
fn time(microseconds: u64) -> String {
    scaled(microseconds, &[(1, "µs"), (1000, "ms"), (1_000_000, "s"), (3_600_000_000, "h")])
}

fn bytes(bytes: u64) -> String {
    scaled(bytes, &[(1, "B"), (1000, "kB"), (1_000_000, "MB"), (1_000_000_000, "GB"), (1_000_000_000_000, "TB")])
}

#[cfg(test)]
mod tests {
    use super::{bytes, time};

    #[test]
    fn numbers_have_the_unit_that_fits() {
        assert_eq!([0, 999, 1000, 1999, 123_456].map(bytes), ["0 B", "999 B", "1.0 kB", "1.9 kB", "123 kB"]);
        assert_eq!([7, 65_400, 3_000_000, 7_200_000_000].map(time), ["7 µs", "65.4 ms", "3.0 s", "2.0 h"]);
    }
}
