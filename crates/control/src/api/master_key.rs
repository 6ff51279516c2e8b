//! The key that secrets are sealed under: what is under it, and its replacement. For the owner of the machine, as it is one key
//! for the Workers of every account.

use http::StatusCode;
use serde_json::json;
use skep_store::Permission;

use crate::answer::Answer;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};
use crate::runtime::RotationError;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let operates = Access::Account(Permission::Operator);
    vec![
        endpoint!(GET "/skep/v1/accounts/{account_id}/master-key", operates, "The master key's name, and how many secrets are sealed under it and under others", status),
        endpoint!(POST "/skep/v1/accounts/{account_id}/master-key/rotate", operates, "Replace the master key, and seal every secret again under the new one", rotate),
    ]
}

async fn status(call: Call) -> ApiResult {
    let mut sealed = call.store().sealed_under().await?.into_iter();
    let current = sealed.next();
    Ok(Answer::ok(json!({
        "key": call.store().master_key_name(),
        "kept_in": call.control.runtime.rotations.kept_in(),
        "secrets": current.map_or(0, |current| current.secrets),
        "others": sealed.collect::<Vec<_>>(),
    })))
}

async fn rotate(call: Call) -> ApiResult {
    let rotated = call.control.runtime.rotations.rotate(call.actor()).await?;
    Ok(Answer::ok(json!({
        "key": rotated.key,
        "former_key": rotated.former,
        "resealed": rotated.resealed.secrets,
        "others": rotated.resealed.left,
    })))
}

impl From<RotationError> for ApiError {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Refused(message) => Self::conflict(message),
            RotationError::Failed(message) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, 10002, message),
        }
    }
}
