//! Deliveries to the outside world that are not done: what waits, what failed for good, and what becomes of that. For who runs the platform, as
//! they are of every account.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use skep_store::Permission;

use crate::answer::Answer;
use crate::call::Call;
use crate::deliveries::{Decided, DecisionError, WhichDeliveries};
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

/// Failed deliveries that are shown, if nobody says how many, and at most.
const SHOWN: usize = 100;
const MOST_SHOWN: usize = 10_000;
/// Ids that may be named in one call, and that the audit log names.
const MOST_IDS: usize = 1000;
const MOST_NOTED: usize = 100;
/// There is no such delivery.
const NO_DELIVERY: u32 = 10302;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let operates = Access::Account(Permission::Operator);
    vec![
        endpoint!(GET "/skep/v1/accounts/{account_id}/deliveries", operates, "Alerts and exported usage that are not delivered: what waits at each destination, and what failed for good, `limit` of them; of one `destination` only", deliveries),
        endpoint!(POST "/skep/v1/accounts/{account_id}/deliveries/retry", operates, "Send failed deliveries again, with the same ids: those with `ids`, those to a `destination`, or `all`; what waits there is tried at once", retry),
        endpoint!(POST "/skep/v1/accounts/{account_id}/deliveries/forget", operates, "Let go of failed deliveries: those with `ids`, those to a `destination`, or `all`", forget),
    ]
}

async fn deliveries(call: Call) -> ApiResult {
    let most = match call.query("limit").map(str::parse) {
        None => SHOWN,
        Some(Ok(most)) if most <= MOST_SHOWN => most,
        Some(_) => return Err(ApiError::bad(format!("\"limit\" is no number from 0 to {MOST_SHOWN}"))),
    };
    Ok(Answer::ok(json!(call.control.runtime.deliveries.undelivered(call.query("destination"), most)?)))
}

/// What is meant. Nobody means everything by saying nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    ids: Option<Vec<String>>,
    destination: Option<String>,
    #[serde(default)]
    all: bool,
}

impl Sent {
    fn which(self) -> ApiResult<WhichDeliveries> {
        let Self { ids, destination, all } = self;
        match (&ids, &destination, all) {
            (None, None, false) => {
                Err(ApiError::bad("say which deliveries: their \"ids\", a \"destination\", or \"all\": true"))
            }
            (Some(_), _, true) | (_, Some(_), true) => {
                Err(ApiError::bad("\"all\" goes with neither \"ids\" nor a \"destination\""))
            }
            (Some(ids), ..) if ids.is_empty() || ids.len() > MOST_IDS => {
                Err(ApiError::bad(format!("\"ids\" are from 1 to {MOST_IDS}: name a \"destination\", or \"all\"")))
            }
            _ => Ok(WhichDeliveries { destination, ids }),
        }
    }
}

async fn retry(mut call: Call) -> ApiResult {
    let which = call.json::<Sent>().await?.which()?;
    let decided = call.control.runtime.deliveries.retry(which).await?;
    note(&call, "deliveries.retry", &decided).await?;
    Ok(Answer::ok(json!({ "retried": decided.failed.len(), "hurried": decided.waiting })))
}

async fn forget(mut call: Call) -> ApiResult {
    let which = call.json::<Sent>().await?.which()?;
    let decided = call.control.runtime.deliveries.forget(which).await?;
    note(&call, "deliveries.forget", &decided).await?;
    Ok(Answer::ok(json!({ "forgotten": decided.failed.len() })))
}

/// Writes into the audit log what was decided, for each destination.
async fn note(call: &Call, action: &str, decided: &Decided) -> ApiResult<()> {
    for failed in decided.failed.chunk_by(|one, other| one.destination == other.destination) {
        let ids: Vec<&str> = failed.iter().map(|failed| failed.id.as_str()).take(MOST_NOTED).collect();
        let detail = json!({ "deliveries": failed.len(), "ids": ids });
        call.store().note(&call.actor(), action, &failed[0].destination, &detail).await?;
    }
    Ok(())
}

impl From<DecisionError> for ApiError {
    fn from(error: DecisionError) -> Self {
        match error {
            DecisionError::Unknown(message) => Self::new(StatusCode::NOT_FOUND, NO_DELIVERY, message),
            DecisionError::Refused(message) => Self::conflict(message),
            DecisionError::Failed(message) => Self::internal(message),
        }
    }
}
