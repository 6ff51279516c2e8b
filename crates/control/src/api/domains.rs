//! An account's domains, and how control of one is proved.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use skep_store::{Permission, Zone};
use skep_worker::RoutePattern;

use crate::answer::{Answer, date};
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

/// The API's code for a domain that is not there.
const NO_DOMAIN: u32 = 10063;
/// The API's code for a domain that is not proved.
const UNPROVED: u32 = 10065;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    let writes = Access::Account(Permission::WorkersWrite);
    vec![
        endpoint!(GET "/skep/v1/accounts/{account_id}/domains", reads, "Domains, proved or not", domains),
        endpoint!(POST "/skep/v1/accounts/{account_id}/domains", writes, "Add a domain: the answer says how to prove it", add_domain),
        endpoint!(POST "/skep/v1/accounts/{account_id}/domains/{domain_name}/verify", writes, "Look for the proof of a domain", verify_domain),
        endpoint!(DELETE "/skep/v1/accounts/{account_id}/domains/{domain_name}", writes, "Remove a domain that no Worker answers", remove_domain),
    ]
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
    let own = &call.control.addresses.domain;
    let is_own = name == *own || name.strip_suffix(own).is_some_and(|rest| rest.ends_with('.'));
    if is_own && !sent.trusted {
        // Who has a Worker there could prove its name, and keep it when the Worker is another account's.
        return Err(ApiError::bad(format!("{name} is the platform's own: Workers answer there without a route")));
    }
    let operator = call.token.as_ref().is_some_and(|token| token.permissions.contains(&Permission::Operator));
    if sent.trusted && !operator {
        return Err(ApiError::forbidden("operator"));
    }
    let zone = call.store().add_zone(&call.actor(), &name, sent.trusted).await?;
    Ok(Answer::ok(shown_domain(&zone)))
}

/// The domain in the path.
async fn named(call: &Call) -> ApiResult<Zone> {
    let name = call.parameter("domain_name").to_ascii_lowercase();
    let zones = call.store().zones(call.account()).await?;
    zones.into_iter().find(|zone| zone.name == name).ok_or_else(|| {
        ApiError::not_found(NO_DOMAIN, format!("the account has no domain {name}: add it with `skep domains add`"))
    })
}

async fn verify_domain(call: Call) -> ApiResult {
    let zone = named(&call).await?;
    if zone.verified_on.is_some() {
        return Ok(Answer::ok(shown_domain(&zone)));
    }
    let way = call.control.runtime.proofs.check(&zone.name, &zone.challenge).await.map_err(|unproved| {
        let message = format!(
            "control of {} is not proved yet. What was tried: {unproved}. Put {} into one of the two and try again; DNS servers may remember the old record for a while",
            zone.name, zone.challenge
        );
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, UNPROVED, message)
    })?;
    call.store().verify_zone(&call.actor(), &zone.id).await?;
    let mut shown = shown_domain(&named(&call).await?);
    shown["proved_by"] = json!(way);
    Ok(Answer::ok(shown))
}

async fn remove_domain(call: Call) -> ApiResult {
    let zone = named(&call).await?;
    call.store().remove_zone(&call.actor(), &zone.id).await?;
    Ok(Answer::done())
}
