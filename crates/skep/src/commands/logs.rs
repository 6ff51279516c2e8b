//! `skep logs`: the events that the platform has kept.

use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use skep_client::api::LogQuery;
use skep_client::tail::pretty;
use skep_client::times;

use crate::commands::connection::Connection;
use crate::commands::project::Selection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// Events of one call.
const PAGE: usize = 200;

/// Search the logs that the platform has kept, oldest first
#[derive(Args)]
pub(crate) struct Arguments {
    /// The Worker's name; without one, the project's
    worker: Option<String>,
    /// Of all Workers of the account
    #[arg(long, conflicts_with = "worker")]
    all: bool,
    /// Not before this: a time (2026-11-26T10:00:00Z), a day, or so long ago (30m, 2h, 7d)
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = moment)]
    since: i64,
    /// Not after this, in the same way
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
    /// Only events in whose console lines, exceptions or URL this text is
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only events with this status: 404, 5xx, or error for all that failed
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only events that ended so, such as exceededCpu
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Only events that printed something at least so loud
    #[arg(long, value_name = "LEVEL")]
    level: Option<Loudness>,
    /// Only requests with this method
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Only events that this version handled
    #[arg(long, value_name = "VERSION")]
    version_id: Option<String>,
    /// Only the request with this Ray ID: it is in the response header cf-ray and on error pages
    #[arg(long, value_name = "RAY")]
    ray: Option<String>,
    /// The most events: the newest ones are shown
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Loudness {
    Debug,
    Info,
    Log,
    Warn,
    Error,
}

/// A moment in milliseconds since 1970.
fn moment(text: &str) -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
    times::moment(text, now)
        .ok_or_else(|| "write a time like 2026-11-26T10:00:00Z, a day, or 30m, 2h, 7d for so long ago".to_owned())
}

impl Arguments {
    fn conditions(&self) -> Result<Vec<(&'static str, String)>, Box<dyn Error>> {
        let mut conditions = vec![("since", self.since.to_string())];
        if !self.all {
            let worker = match &self.worker {
                Some(worker) => worker.clone(),
                None => self.selection.worker()?,
            };
            conditions.push(("worker", worker));
        }
        let level = self.level.and_then(|level| Some(level.to_possible_value()?.get_name().to_owned()));
        let until = self.until.map(|until| until.to_string());
        let more = [
            ("until", &until),
            ("search", &self.search),
            ("status", &self.status),
            ("outcome", &self.outcome),
            ("level", &level),
            ("method", &self.method),
            ("version", &self.version_id),
            ("ray", &self.ray),
        ];
        conditions.extend(more.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        Ok(conditions)
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    block_on(async {
        let api = arguments.connection.api().await?;
        let mut query = LogQuery { conditions: arguments.conditions()?, limit: PAGE, cursor: None };
        let most = arguments.limit as usize;
        let (mut events, mut gaps, mut damaged) = (Vec::new(), Vec::new(), 0);
        loop {
            query.limit = PAGE.min(most - events.len());
            let page = api.logs(&query).await?;
            events.extend(page.events);
            gaps.extend(page.gaps);
            damaged = damaged.max(page.damaged);
            query.cursor = page.next;
            if query.cursor.is_none() || events.len() >= most {
                break;
            }
        }
        for found in events.iter().rev() {
            match arguments.connection.json {
                true => output::document(found),
                false => pretty(&found["event"]).iter().for_each(|line| output::line(line)),
            }
        }
        if query.cursor.is_some() {
            output::warning(&format!("There are more: these are the newest {most}. Use --limit, --until or --search"));
        }
        for gap in gaps {
            let before = times::local_at(gap.before);
            output::warning(&format!(
                "warning: {} events of {} before {before} could not be kept",
                gap.dropped, gap.worker
            ));
        }
        if damaged > 0 {
            output::warning(&format!("warning: {damaged} pieces of the logs are damaged and were left out"));
        }
        if events.is_empty() && !arguments.connection.json {
            output::warning(
                "Nothing was found. Events are kept of Workers with \"observability\": { \"enabled\": true } in their configuration",
            );
        }
        Ok(())
    })
}
