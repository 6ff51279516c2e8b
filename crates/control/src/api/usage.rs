//! What an account used.

use serde_json::json;
use skep_meter::{By, Question};
use skep_store::Permission;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::answer::Answer;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

/// How days are written. RFC 3339, `full-date`.
const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
/// Days that one report is about at most: a leap year.
const MOST_DAYS: i64 = 366;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::AccountRead);
    let operator = Access::Account(Permission::Operator);
    vec![
        endpoint!(GET "/skep/v1/accounts/{account_id}/usage", reads, "What the account used, from a day to another (`from`, `to`; this month if nobody says), added up `by` worker, version, day, hour, kind or outcome; of one `worker` only", usage),
        endpoint!(GET "/skep/v1/accounts/{account_id}/usage/all", operator, "The same of all accounts together, also by account", all),
        endpoint!(GET "/skep/v1/accounts/{account_id}/usage/verification", operator, "Whether the ledger of usage is whole: each seal, each link and each batch is checked", verification),
    ]
}

/// A day of the query, or another one.
fn day(call: &Call, name: &str, otherwise: Date) -> ApiResult<Date> {
    let Some(text) = call.query(name) else { return Ok(otherwise) };
    Date::parse(text, DAY).map_err(|_| ApiError::bad(format!("\"{name}\" is no day: write it like 2026-11-26")))
}

fn question(call: &Call, account: Option<&str>) -> ApiResult<Question> {
    let today = OffsetDateTime::now_utc().date();
    let to = day(call, "to", today)?;
    let from = day(call, "from", to.replace_day(1).unwrap_or(to))?;
    if from > to {
        return Err(ApiError::bad(format!("\"from\" ({from}) is after \"to\" ({to}): give the earlier day first")));
    }
    if (to - from).whole_days() >= MOST_DAYS {
        return Err(ApiError::bad(format!("{from} to {to} is more than {MOST_DAYS} days: ask for a year at a time")));
    }
    let by = call.query("by").unwrap_or(By::default().name());
    let by = By::named(by).filter(|by| account.is_none() || *by != By::Account).ok_or_else(|| {
        let known = By::ALL.into_iter().filter(|by| account.is_none() || *by != By::Account).map(By::name);
        ApiError::bad(format!("\"by\" is \"{by}\": use {}", known.collect::<Vec<_>>().join(", ")))
    })?;
    Ok(Question { account: account.map(str::to_owned), worker: call.query("worker").map(str::to_owned), from, to, by })
}

async fn answer(call: &Call, question: Question) -> ApiResult {
    let (from, to) = (question.from.to_string(), question.to.to_string());
    let report = call.control.runtime.bills.report(question).await.map_err(ApiError::internal)?;
    let mut shown = json!(report);
    (shown["from"], shown["to"]) = (from.into(), to.into());
    Ok(Answer::ok(shown))
}

async fn usage(call: Call) -> ApiResult {
    answer(&call, question(&call, Some(call.account()))?).await
}

async fn all(call: Call) -> ApiResult {
    answer(&call, question(&call, None)?).await
}

async fn verification(call: Call) -> ApiResult {
    let verification = call.control.runtime.bills.verify().await.map_err(ApiError::internal)?;
    let mut shown = json!(verification);
    shown["clean"] = verification.is_clean().into();
    Ok(Answer::ok(shown))
}
