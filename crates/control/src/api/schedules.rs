//! Cron triggers.

use serde::Deserialize;
use serde_json::{Value, json};
use skep_store::{Cron, Permission, Schedule};

use crate::answer::{Answer, date};
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

/// Cron triggers of a Worker.
const MOST: usize = 250;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    let writes = Access::Account(Permission::WorkersWrite);
    vec![
        endpoint!(GET "/accounts/{account_id}/workers/scripts/{script_name}/schedules", reads, "A Worker's cron triggers", list),
        endpoint!(PUT "/accounts/{account_id}/workers/scripts/{script_name}/schedules", writes, "Replace a Worker's cron triggers", put),
    ]
}

fn shown(schedules: &[Schedule]) -> Answer {
    let schedules: Vec<Value> = schedules
        .iter()
        .map(|schedule| {
            json!({
                "cron": schedule.cron,
                "created_on": date(schedule.created_on),
                "modified_on": date(schedule.modified_on),
                "last_due": schedule.last_due.map(date),
            })
        })
        .collect();
    Answer::ok(json!({ "schedules": schedules }))
}

async fn list(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    Ok(shown(&call.store().schedules(worker.id).await?))
}

#[derive(Deserialize)]
struct Sent {
    cron: String,
}

async fn put(mut call: Call) -> ApiResult {
    let sent: Vec<Sent> = call.json().await?;
    if sent.len() > MOST {
        return Err(ApiError::bad(format!("a Worker has at most {MOST} cron triggers")));
    }
    let mut crons: Vec<String> = Vec::new();
    for Sent { cron } in sent {
        Cron::parse(&cron).map_err(|error| ApiError::bad(error.to_string()))?;
        if !crons.contains(&cron) {
            crons.push(cron);
        }
    }
    Ok(shown(&call.store().put_schedules(&call.actor(), call.worker_name(), &crons).await?))
}
