//! Whether the platform is well.

use serde_json::json;
use skep_store::Permission;

use crate::answer::Answer;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::ApiResult;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::AccountRead);
    vec![
        endpoint!(GET "/skep/v1/accounts/{account_id}/status", reads, "Whether the platform is well, and the alerts about the account's Workers; its nodes, checks and all alerts for who has the permission `operator`", status),
    ]
}

async fn status(call: Call) -> ApiResult {
    let operator = call.token.as_ref().is_some_and(|token| token.permissions.contains(&Permission::Operator));
    Ok(Answer::ok(json!(call.control.runtime.insights.status(call.account(), operator))))
}
