//! Promotions: a version that gets its traffic in steps, and goes back by itself when too many of its requests fail.

use serde_json::{Value, json};
use skep_store::{NewPromotion, Permission, Progress, Promotion, PromotionState};

use crate::answer::{Answer, date};
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    let writes = Access::Account(Permission::WorkersWrite);
    vec![
        endpoint!(GET "/skep/v1/accounts/{account_id}/workers/{script_name}/promotion", reads, "A Worker's newest promotion, and how far it is", show),
        endpoint!(PUT "/skep/v1/accounts/{account_id}/workers/{script_name}/promotion", writes, "Give a version its traffic in steps, with a way back", begin),
        endpoint!(DELETE "/skep/v1/accounts/{account_id}/workers/{script_name}/promotion", writes, "Stop a promotion: the version before gets everything again", stop),
    ]
}

fn shown(promotion: &Promotion) -> Value {
    let mut shown = json!(promotion);
    shown["percentage"] = match promotion.state {
        PromotionState::Running | PromotionState::Done => json!(promotion.percentage()),
        PromotionState::RolledBack | PromotionState::Stopped => json!(0),
    };
    shown["begun_on"] = json!(date(promotion.begun_on));
    shown["next_on"] = json!(promotion.next_on.map(date));
    shown
}

fn none(name: &str) -> ApiError {
    ApiError::not_found(10007, format!("{name} has no promotion"))
}

async fn show(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let promotion = call.store().promotion(worker.id).await?.ok_or_else(|| none(&worker.name))?;
    Ok(Answer::ok(shown(&promotion)))
}

async fn begin(mut call: Call) -> ApiResult {
    let sent: NewPromotion = call.json().await?;
    let worker = call.worker().await?.id;
    // It is started before anybody is sent to it.
    call.control.runtime.trials.prepare(worker, sent.version_id).await;
    let promotion = call.store().begin_promotion(&call.actor(), call.worker_name(), sent).await?;
    Ok(Answer::ok(shown(&promotion)))
}

async fn stop(call: Call) -> ApiResult {
    let worker = call.worker().await?;
    let promotion = call.store().promotion(worker.id).await?;
    let running = promotion.filter(|promotion| promotion.state == PromotionState::Running);
    let Promotion { id, requests, errors, .. } = running
        .ok_or_else(|| ApiError::not_found(10007, format!("{} has no promotion that is running", worker.name)))?;
    let actor = call.actor();
    let back = Progress::GoBack { automatic: false, reason: format!("stopped by {}", actor.name) };
    let stopped = call.store().move_promotion(&actor, &worker.name, id, (requests, errors), back).await?;
    Ok(Answer::ok(shown(&stopped.ok_or_else(|| none(&worker.name))?)))
}
