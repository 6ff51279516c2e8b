//! How an account's Workers did in the last hour.

use std::time::Duration;

use serde_json::json;
use skep_store::Permission;

use crate::answer::Answer;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

/// How far back it goes, in seconds.
const MOST: u64 = 3600;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::AccountRead);
    vec![
        endpoint!(GET "/skep/v1/accounts/{account_id}/analytics", reads, "Requests, errors, CPU time and latency of the account's Workers in steps of ten seconds, for the last hour or `since` seconds; of one `worker` only", analytics),
    ]
}

async fn analytics(call: Call) -> ApiResult {
    let since = match call.query("since").map(str::parse::<u64>) {
        None => MOST,
        Some(Ok(since)) if (1..=MOST).contains(&since) => since,
        Some(_) => {
            return Err(ApiError::bad(format!(
                "\"since\" is how many seconds to go back: give a whole number from 1 to {MOST}"
            )));
        }
    };
    let insights = &call.control.runtime.insights;
    Ok(Answer::ok(json!(insights.analytics(call.account(), call.query("worker"), Duration::from_secs(since)))))
}
