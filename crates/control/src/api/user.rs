//! Who calls: tokens, accounts, memberships.

use http::StatusCode;
use serde_json::{Value, json};
use skep_store::{Account, Permission, Store};

use crate::answer::{Answer, date};
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Access::{Account, Public, Token};
    let reads = Account(Permission::AccountRead);
    vec![
        endpoint!(GET "/user/tokens/verify", Token, "Whether the caller's token is good", verify),
        endpoint!(GET "/user", Token, "The caller", user),
        endpoint!(GET "/accounts", Token, "The accounts that the caller's token is for", accounts),
        endpoint!(GET "/memberships", Token, "The caller's place in those accounts", memberships),
        endpoint!(GET "/accounts/{account_id}", reads, "An account", account),
        endpoint!(GET "/accounts/{account_id}/tokens/verify", reads, "Whether the caller's token is good", verify),
        endpoint!(GET "/openapi.json", Public, "This API, described", openapi),
    ]
}

async fn openapi(_: Call) -> ApiResult {
    Ok(Answer::Raw(Box::new(crate::answer::json_response(StatusCode::OK, &crate::document()))))
}

async fn verify(call: Call) -> ApiResult {
    let token = call.token.as_ref().ok_or_else(ApiError::authentication)?;
    Ok(Answer::ok(json!({ "id": token.id, "status": "active", "expires_on": token.expires_on.map(date) })))
}

/// The token stands for a person here: it is named for who has it.
async fn user(call: Call) -> ApiResult {
    let token = call.token.as_ref().ok_or_else(ApiError::authentication)?;
    let members = call.store().members(&token.account_id).await?;
    let email = members.iter().find(|member| member.email == token.name).map_or_else(
        || format!("{}@{}", token.name.replace(char::is_whitespace, "-"), call.control.addresses.domain),
        |member| member.email.clone(),
    );
    Ok(Answer::ok(json!({ "id": token.id, "email": email })))
}

async fn own(store: &Store, call: &Call) -> ApiResult<Account> {
    let token = call.token.as_ref().ok_or_else(ApiError::authentication)?;
    store.account(&token.account_id).await?.ok_or_else(ApiError::authentication)
}

fn shown(account: &Account) -> Value {
    json!({ "id": account.id, "name": account.name, "type": "standard", "created_on": date(account.created_on) })
}

async fn accounts(call: Call) -> ApiResult {
    let account = own(call.store(), &call).await?;
    let page = call.page();
    Ok(Answer::page(if page.number == 1 { vec![shown(&account)] } else { Vec::new() }, page))
}

async fn memberships(call: Call) -> ApiResult {
    let account = own(call.store(), &call).await?;
    let page = call.page();
    let membership =
        json!({ "id": account.id, "status": "accepted", "account": shown(&account), "roles": ["Administrator"] });
    Ok(Answer::page(if page.number == 1 { vec![membership] } else { Vec::new() }, page))
}

async fn account(call: Call) -> ApiResult {
    Ok(Answer::ok(shown(&own(call.store(), &call).await?)))
}
