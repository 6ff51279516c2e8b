//! `skep billing`: the account's plan, its spend cap and limits, and what is used of them.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use skep_meter::{Beyond, SpendCap, Terms, WorkerTerms};

use crate::commands::connection::Connection;
use crate::commands::{Outcome, block_on};
use crate::output::{self, text};

/// Show the account's plan and what is used of its limits, or set a spend cap
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Command {
    /// List the plans that there are
    Plans,
    /// Give an account a plan: for who runs the platform
    Plan {
        /// The plan's name
        name: String,
        /// The account's id, in place of the token's own
        #[arg(long, value_name = "ID")]
        of: Option<String>,
    },
    /// Set the most that a month may cost, or `none`
    Cap {
        /// The amount, such as 20.00
        amount: String,
        #[command(flatten)]
        beyond: What,
    },
    /// Set limits of a Worker; without any, it has none
    Limit {
        /// The Worker's name
        worker: String,
        /// Requests in a day (UTC)
        #[arg(long, value_name = "NUMBER")]
        requests_per_day: Option<u64>,
        /// CPU time in a day (UTC), in milliseconds
        #[arg(long, value_name = "MS")]
        cpu_ms_per_day: Option<u64>,
        /// The most that it may cost in a month
        #[arg(long, value_name = "AMOUNT")]
        cap: Option<String>,
        #[command(flatten)]
        beyond: What,
    },
}

#[derive(Args)]
struct What {
    /// What happens to requests beyond it
    #[arg(long, value_enum, default_value_t = Then::Refuse)]
    then: Then,
    /// Requests that are served each second beyond it, with `--then throttle`
    #[arg(long, value_name = "NUMBER")]
    per_second: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Then {
    /// They get error 1027
    Refuse,
    /// They are served and billed: it only warns
    Bill,
    /// Some are served each second
    Throttle,
}

impl Then {
    fn beyond(self) -> Beyond {
        match self {
            Self::Refuse => Beyond::Refuse,
            Self::Bill => Beyond::Bill,
            Self::Throttle => Beyond::Throttle,
        }
    }
}

impl What {
    fn cap(&self, amount: &str) -> Result<SpendCap, String> {
        let per_month = serde_json::from_value(Value::from(amount));
        let per_month = per_month.map_err(|_| format!("\"{amount}\" is no amount: write it like 20.00"))?;
        Ok(SpendCap { per_month, then: self.then.beyond(), throttle_per_second: self.per_second })
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let connection = &arguments.connection;
    block_on(async {
        let api = connection.api().await?;
        let answer = match &arguments.command {
            Some(Command::Plans) => {
                let plans = api.plans().await?;
                if !connection.json {
                    listed(&plans);
                    return Ok(());
                }
                plans
            }
            None => api.billing().await?,
            Some(Command::Plan { name, of }) => api.put_plan(of.as_deref().unwrap_or(api.account_id()), name).await?,
            Some(Command::Cap { amount, beyond }) => {
                let mut terms = terms(&api.billing().await?)?;
                terms.cap = if amount == "none" { None } else { Some(beyond.cap(amount)?) };
                api.put_terms(&terms).await?
            }
            Some(Command::Limit { worker, requests_per_day, cpu_ms_per_day, cap, beyond }) => {
                let mut terms = terms(&api.billing().await?)?;
                let limits = WorkerTerms {
                    requests_per_day: *requests_per_day,
                    cpu_ms_per_day: *cpu_ms_per_day,
                    cap: cap.as_deref().map(|amount| beyond.cap(amount)).transpose()?,
                    then: beyond.then.beyond(),
                    throttle_per_second: beyond.per_second,
                };
                if limits.requests_per_day.is_none() && limits.cpu_ms_per_day.is_none() && limits.cap.is_none() {
                    terms.workers.remove(worker);
                } else {
                    terms.workers.insert(worker.clone(), limits);
                }
                api.put_terms(&terms).await?
            }
        };
        if connection.json {
            output::document(&answer);
        } else {
            show(&answer);
        }
        Ok(())
    })
}

/// The terms that hold now.
fn terms(billing: &Value) -> Result<Terms, serde_json::Error> {
    serde_json::from_value(billing["terms"].clone())
}

fn listed(plans: &Value) {
    let row = |plan: &Value| {
        let limits = if plan["limits"].is_null() { "" } else { "with limits" };
        let price = format!("{} {} a month", text(&plan["base"]), text(&plan["currency"]));
        [text(&plan["name"]), text(&plan["title"]), price, limits.to_owned()]
    };
    let rows: Vec<[String; 4]> = plans.as_array().into_iter().flatten().map(row).collect();
    output::table(["PLAN", "", "BASE", ""], &rows);
}

fn show(billing: &Value) {
    output::line(&format!("Plan: {} ({})", text(&billing["plan"]["title"]), text(&billing["plan"]["name"])));
    let row = |measure: &Value| {
        let whose = measure["worker"].as_str().unwrap_or("account").to_owned();
        let what = text(&measure["what"]).replace('_', " ");
        let used = format!("{} of {}", text(&measure["used"]), text(&measure["allowed"]));
        [whose, what, text(&measure["period"]), used, format!("{} %", measure["percent"]), text(&measure["then"])]
    };
    let measures = billing["standing"]["measures"].as_array();
    let rows: Vec<[String; 6]> = measures.into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        output::line("There is no spend cap and no limit: `skep billing cap 20.00` sets one");
        return;
    }
    output::table(["OF", "LIMIT", "PERIOD", "USED", "", "BEYOND"], &rows);
    let workers = billing["standing"]["workers"].as_object().into_iter().flat_map(|workers| workers.values());
    let verdicts = std::iter::once(&billing["standing"]["account"]).chain(workers);
    for verdict in verdicts.filter(|verdict| !verdict.is_null()) {
        output::line(&text(&verdict["reason"]));
    }
}
