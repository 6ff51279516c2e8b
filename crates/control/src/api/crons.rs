//! Running a scheduled handler now, whether or not its cron trigger is due.

use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use skep_store::Permission;

use crate::answer::Answer;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let writes = Access::Account(Permission::WorkersWrite);
    vec![
        endpoint!(POST "/skep/v1/accounts/{account_id}/workers/{script_name}/crons/run", writes, "Run a Worker's scheduled handler now, and wait for it", run),
    ]
}

#[derive(Deserialize)]
struct Sent {
    /// The expression that the handler sees; that of the Worker's only trigger if it is not said.
    cron: Option<String>,
    /// The time that the handler sees, in milliseconds since 1970; now if it is not said.
    scheduled_time: Option<i64>,
}

async fn run(mut call: Call) -> ApiResult {
    let sent: Sent = call.json().await?;
    let worker = call.worker().await?;
    let cron = match sent.cron {
        Some(cron) => cron,
        None => {
            let schedules = call.store().schedules(worker.id).await?;
            let crons: Vec<&str> = schedules.iter().map(|schedule| schedule.cron.as_str()).collect();
            match crons.as_slice() {
                [cron] => (*cron).to_owned(),
                [] => {
                    return Err(ApiError::bad(format!("{} has no cron trigger: say as which one to run", worker.name)));
                }
                several => {
                    let message =
                        format!("{} has several cron triggers: say which of {}", worker.name, several.join(", "));
                    return Err(ApiError::bad(message));
                }
            }
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    let due = sent.scheduled_time.unwrap_or(i64::try_from(now).unwrap_or(i64::MAX));
    let ran = call.control.runtime.crons.run(call.account(), &worker.name, &cron, due).await;
    let ran = ran.ok_or_else(|| {
        ApiError::new(StatusCode::CONFLICT, 10020, format!("nothing of {} is deployed: deploy it first", worker.name))
    })?;
    call.store().note(&call.actor(), "cron.run", &worker.name, &json!({ "cron": cron })).await?;
    Ok(Answer::ok(json!({
        "cron": cron,
        "outcome": if ran.error.is_some() { "exception" } else { "ok" },
        "error": ran.error,
        "wall_time_ms": u64::try_from(ran.wall.as_millis()).unwrap_or(u64::MAX),
    })))
}
