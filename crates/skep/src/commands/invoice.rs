//! `skep invoice`: what a month costs.

use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;
use time::OffsetDateTime;

use crate::commands::connection::Connection;
use crate::commands::{Outcome, block_on};
use crate::output::{self, text};

/// Show the account's invoice of a month
#[derive(Args)]
pub(crate) struct Arguments {
    /// The month, such as 2026-11. Without one, the current one so far
    month: Option<String>,
    /// In which form
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write it to this file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For the terminal
    Text,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
    /// A page to read and to print
    Html,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let now = OffsetDateTime::now_utc();
    let current = format!("{:04}-{:02}", now.year(), u8::from(now.month()));
    let month = arguments.month.as_deref().unwrap_or(&current);
    let format = if arguments.connection.json { Format::Json } else { arguments.format };
    let text = block_on(async {
        let api = arguments.connection.api().await?;
        Ok(match format {
            Format::Text => shown(&api.invoice(month).await?),
            Format::Json => api.invoice(month).await?.to_string(),
            Format::Csv => api.invoice_as(month, "csv").await?,
            Format::Html => api.invoice_as(month, "html").await?,
        })
    })?;
    match &arguments.output {
        Some(path) => {
            fs::write(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
            output::warning(&format!("Written to {}", path.display()));
        }
        None => output::line(text.trim_end()),
    }
    Ok(())
}

fn shown(invoice: &Value) -> String {
    let of = |name: &str| text(&invoice[name]);
    let currency = of("currency");
    let mut lines = vec![
        format!("Invoice {} of {} ({})", of("number"), of("account_name"), of("state")),
        format!("{}, plan {}", of("period"), of("plan_title")),
    ];
    let mut row = |what: String, quantity: String, unit: String, amount: String| {
        lines.push(format!("  {what:<12} {quantity:>20} {unit:<10} {amount:>12} {currency}"));
    };
    for line in invoice["lines"].as_array().into_iter().flatten() {
        row(text(&line["what"]), text(&line["quantity"]), text(&line["unit"]), text(&line["amount"]));
    }
    row("total".to_owned(), String::new(), String::new(), of("total"));
    for worker in invoice["by_worker"].as_array().into_iter().flatten() {
        let (requests, amount) = (text(&worker["usage"]["requests"]), text(&worker["amount"]));
        lines.push(format!("  {:<33} {requests:>10} requests {amount:>6} {currency}", text(&worker["worker"])));
    }
    lines.join("\n")
}
