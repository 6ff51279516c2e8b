//! What Cloudflare's API does not have, or has elsewhere: tokens, members, the audit log, domains and their proof.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use skep_store::{NewToken, Permission, Zone};
use skep_worker::RoutePattern;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::answer::{Answer, date};
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

/// Roles of members.
const ROLES: [&str; 3] = ["admin", "developer", "viewer"];
/// The account has no such domain.
const NO_DOMAIN: u32 = 10063;
/// Control of a domain is not proved.
const UNPROVED: u32 = 10065;
/// Entries of the audit log that are shown at once.
const ENTRIES: u32 = 100;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::AccountRead);
    let writes = Access::Account(Permission::AccountWrite);
    vec![
        endpoint!(GET "/skep/v1/accounts/{account_id}/tokens", reads, "An account's API tokens, without the tokens themselves", tokens),
        endpoint!(POST "/skep/v1/accounts/{account_id}/tokens", writes, "Make an API token: the answer is the only place that shows it", create_token),
        endpoint!(DELETE "/skep/v1/accounts/{account_id}/tokens/{token_id}", writes, "Revoke an API token", revoke_token),
        endpoint!(GET "/skep/v1/accounts/{account_id}/members", reads, "An account's members", members),
        endpoint!(PUT "/skep/v1/accounts/{account_id}/members/{email}", writes, "Add a member, or change a role", put_member),
        endpoint!(DELETE "/skep/v1/accounts/{account_id}/members/{email}", writes, "Remove a member", remove_member),
        endpoint!(GET "/skep/v1/accounts/{account_id}/audit", reads, "Who changed what, newest first", audit),
        endpoint!(POST "/skep/v1/accounts/{account_id}/accounts", Access::Account(Permission::Operator), "Make another account, and a token for it", create_account),
        endpoint!(GET "/skep/v1/accounts/{account_id}/domains", Access::Account(Permission::WorkersRead), "Domains, proved or not", domains),
        endpoint!(POST "/skep/v1/accounts/{account_id}/domains", Access::Account(Permission::WorkersWrite), "Add a domain: the answer says how to prove it", add_domain),
        endpoint!(POST "/skep/v1/accounts/{account_id}/domains/{domain_id}/verify", Access::Account(Permission::WorkersWrite), "Check the proof of a domain: an error says what was found instead", verify_domain),
    ]
}

async fn tokens(call: Call) -> ApiResult {
    Ok(Answer::ok(json!(call.store().tokens(call.account()).await?)))
}

#[derive(Deserialize)]
struct TokenSent {
    name: String,
    permissions: Vec<Permission>,
    worker: Option<String>,
    /// RFC 3339.
    expires_on: Option<String>,
}

/// Nobody gives what he does not have.
async fn create_token(mut call: Call) -> ApiResult {
    let sent: TokenSent = call.json().await?;
    let own = call.token.as_ref().ok_or_else(ApiError::authentication)?;
    if let Some(missing) = sent.permissions.iter().find(|permission| !own.permissions.contains(permission)) {
        return Err(ApiError::forbidden(&crate::server::name(*missing)));
    }
    if sent.permissions.is_empty() {
        return Err(ApiError::bad("a token without \"permissions\" allows nothing: name at least one"));
    }
    let expires_on = sent
        .expires_on
        .map(|text| OffsetDateTime::parse(&text, &Rfc3339))
        .transpose()
        .map_err(|_| ApiError::bad("\"expires_on\" is no time: write it like 2027-01-31T00:00:00Z"))?
        .map(|time| time.unix_timestamp() * 1000);
    let new = NewToken { name: sent.name, permissions: sent.permissions, worker: sent.worker, expires_on };
    let (token, text) = call.store().create_token(&call.actor(), new).await?;
    let mut shown = json!(token);
    shown["value"] = json!(text.reveal());
    Ok(Answer::ok(shown))
}

async fn revoke_token(call: Call) -> ApiResult {
    call.store().revoke_token(&call.actor(), call.parameter("token_id")).await?;
    Ok(Answer::done())
}

async fn members(call: Call) -> ApiResult {
    Ok(Answer::ok(json!(call.store().members(call.account()).await?)))
}

#[derive(Deserialize)]
struct MemberSent {
    role: String,
}

async fn put_member(mut call: Call) -> ApiResult {
    let sent: MemberSent = call.json().await?;
    let email = call.parameter("email").to_owned();
    if !ROLES.contains(&sent.role.as_str()) {
        return Err(ApiError::bad(format!("\"{}\" is no role: use {}", sent.role, ROLES.join(", "))));
    }
    if !email.contains('@') {
        return Err(ApiError::bad(format!("\"{email}\" is no e-mail address")));
    }
    call.store().put_member(&call.actor(), &email, &sent.role).await?;
    Ok(Answer::ok(json!({ "email": email, "role": sent.role })))
}

async fn remove_member(call: Call) -> ApiResult {
    call.store().remove_member(&call.actor(), call.parameter("email")).await?;
    Ok(Answer::done())
}

async fn audit(call: Call) -> ApiResult {
    let before = call.query("before").and_then(|text| text.parse().ok());
    let entries = call.store().audit(call.account(), before, ENTRIES).await?;
    let shown: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut shown = json!(entry);
            shown["at"] = json!(date(entry.at));
            shown
        })
        .collect();
    Ok(Answer::ok(shown))
}

#[derive(Deserialize)]
struct AccountSent {
    name: String,
    subdomain: String,
}

async fn create_account(mut call: Call) -> ApiResult {
    let sent: AccountSent = call.json().await?;
    super::scripts::check_name(&sent.subdomain)?;
    let by = call.actor().name;
    let account = call.store().create_account(&by, &sent.name, &sent.subdomain.to_ascii_lowercase()).await?;
    let permissions = Permission::ALL.into_iter().filter(|permission| *permission != Permission::Operator).collect();
    let new = NewToken { name: "admin".to_owned(), permissions, worker: None, expires_on: None };
    let actor = skep_store::Actor::platform(&account.id, &by);
    let (_, token) = call.store().create_token(&actor, new).await?;
    Ok(Answer::ok(
        json!({ "id": account.id, "name": account.name, "subdomain": account.subdomain, "token": token.reveal() }),
    ))
}

fn shown_domain(zone: &Zone) -> Value {
    json!({
        "id": zone.id,
        "name": zone.name,
        "verified_on": zone.verified_on.map(date),
        "proof": {
            "dns": { "type": "TXT", "name": format!("_skep.{}", zone.name), "value": zone.challenge },
            "file": { "url": format!("http://{}/.well-known/skep-verify.txt", zone.name), "content": zone.challenge },
        },
    })
}

async fn domains(call: Call) -> ApiResult {
    let zones = call.store().zones(call.account()).await?;
    Ok(Answer::ok(zones.iter().map(shown_domain).collect::<Vec<_>>()))
}

#[derive(Deserialize)]
struct DomainSent {
    name: String,
    /// The owner of the machine needs no proof.
    #[serde(default)]
    trusted: bool,
}

async fn add_domain(mut call: Call) -> ApiResult {
    let sent: DomainSent = call.json().await?;
    let name = sent.name.to_ascii_lowercase();
    let pattern = RoutePattern::parse(&name).map_err(|error| ApiError::bad(error.to_string()))?;
    if pattern.host() != name {
        return Err(ApiError::bad(format!("\"{name}\" is not a domain: no wildcard, scheme or path")));
    }
    let operator = call.token.as_ref().is_some_and(|token| token.permissions.contains(&Permission::Operator));
    if sent.trusted && !operator {
        return Err(ApiError::forbidden("operator"));
    }
    let zone = call.store().add_zone(&call.actor(), &name, sent.trusted).await?;
    Ok(Answer::ok(shown_domain(&zone)))
}

/// The account's domain in the path.
async fn domain(call: &Call) -> ApiResult<Zone> {
    let id = call.parameter("domain_id");
    let zones = call.store().zones(call.account()).await?;
    let unknown = || {
        ApiError::not_found(
            NO_DOMAIN,
            format!("the account has no domain {id}: `skep domains list` shows those it has"),
        )
    };
    zones.into_iter().find(|zone| zone.id == id).ok_or_else(unknown)
}

/// One that is proved already stays so: the proof may be taken away afterwards.
async fn verify_domain(call: Call) -> ApiResult {
    let zone = domain(&call).await?;
    if zone.verified_on.is_some() {
        return Ok(Answer::ok(shown_domain(&zone)));
    }
    let way = call.control.proofs.check(&zone.name, &zone.challenge).await.map_err(|unproved| {
        let message = format!("control of {} is not proved yet. What was tried: {unproved}. Put \"{}\" into one of the two and try again; DNS servers may remember the old record for a while", zone.name, zone.challenge);
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, UNPROVED, message)
    })?;
    call.store().verify_zone(&call.actor(), &zone.id).await?;
    let mut shown = shown_domain(&domain(&call).await?);
    shown["proved_by"] = json!(way);
    Ok(Answer::ok(shown))
}
