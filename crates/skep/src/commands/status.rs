//! `skep status`: whether the platform is well.

use clap::Args;
use skep_client::api::{Check, Node, Status};
use skep_client::times;

use crate::commands::connection::Connection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// Show whether the platform is well: its nodes, what was looked at, what is wrong. Fails if something is
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let status = block_on(async { Ok(arguments.connection.api().await?.status().await?) })?;
    if arguments.connection.json {
        output::document(&status);
    } else {
        show(&status);
    }
    match status.status.as_str() {
        "ok" => Ok(()),
        "down" => Err("not all that the platform needs works: what failed is said above, and its log says more".into()),
        _ => Err("something needs to be looked at: what, is said above".into()),
    }
}

fn show(status: &Status) {
    output::line(&format!("Skep {} is {} ({})", status.version, status.status, times::local_at(status.now)));
    if !status.nodes.is_empty() {
        output::line("");
        let rows: Vec<[String; 8]> = status.nodes.iter().map(|node| row(node, status.now)).collect();
        output::table(["NODE", "STATE", "UP", "CORES", "MEMORY", "DISK FREE", "RUNTIMES", "ISOLATES"], &rows);
    }
    if !status.checks.is_empty() {
        output::line("");
        let rows: Vec<[String; 4]> = status.checks.iter().map(checked).collect();
        output::table(["CHECK", "RESULT", "TOOK", "WHAT"], &rows);
    }
    for alert in &status.alerts {
        output::line("");
        output::line(&format!("{} since {}: {}", alert.event, times::local_at(alert.since), alert.message));
    }
}

fn row(node: &Node, now: i64) -> [String; 8] {
    let restarts = match node.restarts {
        0 => String::new(),
        restarts => format!(" ({restarts} died)"),
    };
    [
        format!("{} {}", node.name, node.address),
        if node.up { "up".to_owned() } else { format!("down since {}", times::local_at(node.last_heartbeat)) },
        since(now - node.started),
        node.cores.to_string(),
        format!("{} of {}", gibibytes(node.memory_used), gibibytes(node.memory_limit)),
        format!("{} of {}", gibibytes(node.disk_free), gibibytes(node.disk_total)),
        format!("{}{restarts}", node.runtimes),
        node.isolates.to_string(),
    ]
}

fn checked(check: &Check) -> [String; 4] {
    let result = if check.ok { "ok" } else { "FAILED" };
    [check.name.clone(), result.to_owned(), format!("{:.1} ms", check.took_ms), check.message.clone()]
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// Milliseconds in the largest unit of which there is one.
fn since(milliseconds: i64) -> String {
    let minutes = milliseconds / 60_000;
    match minutes {
        ..1 => format!("{} s", milliseconds / 1000),
        1..60 => format!("{minutes} min"),
        60..1440 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::{gibibytes, since};

    #[test]
    fn times_and_sizes_are_short() {
        assert_eq!([5_000, 60_000, 7_200_000, 864_000_000].map(since), ["5 s", "1 min", "2 h", "10 d"]);
        assert_eq!(gibibytes(3 << 29), "1.5 GiB");
    }
}
