//! Zones, routes and custom domains.

use serde::Deserialize;
use serde_json::{Value, json};
use skep_store::{Permission, Route, Zone};
use skep_worker::RoutePattern;

use crate::answer::Answer;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::WorkersRead);
    let writes = Access::Account(Permission::WorkersWrite);
    let (zone_reads, zone_writes) = (Access::Zone(Permission::WorkersRead), Access::Zone(Permission::WorkersWrite));
    vec![
        endpoint!(GET "/zones", Access::Token, "Domains whose control is proved", zones),
        endpoint!(GET "/zones/{zone_id}/workers/routes", zone_reads, "A domain's routes", zone_routes),
        endpoint!(POST "/zones/{zone_id}/workers/routes", zone_writes, "Add a route", add_route),
        endpoint!(DELETE "/zones/{zone_id}/workers/routes/{route_id}", zone_writes, "Delete a route", delete_route),
        endpoint!(PUT "/accounts/{account_id}/workers/scripts/{script_name}/routes", writes, "Replace a Worker's routes", put_routes),
        endpoint!(POST "/accounts/{account_id}/workers/scripts/{script_name}/domains/changeset", writes, "What a change of custom domains would do", changeset),
        endpoint!(PUT "/accounts/{account_id}/workers/scripts/{script_name}/domains/records", writes, "Replace a Worker's custom domains", put_domains),
        endpoint!(GET "/accounts/{account_id}/workers/domains/records", reads, "An account's custom domains", domains),
        endpoint!(GET "/accounts/{account_id}/workers/domains", reads, "An account's custom domains", domains),
        endpoint!(DELETE "/accounts/{account_id}/workers/domains/{domain_id}", writes, "Delete a custom domain", delete_domain),
    ]
}

fn shown_zone(zone: &Zone) -> Value {
    json!({
        "id": zone.id,
        "name": zone.name,
        "status": if zone.verified_on.is_some() { "active" } else { "pending" },
        "account": { "id": zone.account_id },
    })
}

async fn zones(call: Call) -> ApiResult {
    let token = call.token.as_ref().ok_or_else(ApiError::authentication)?;
    if !token.permissions.contains(&Permission::WorkersRead) {
        return Err(ApiError::forbidden("workers_read"));
    }
    let page = call.page();
    let zones = call.store().zones(&token.account_id).await?;
    let wanted = |zone: &&Zone| {
        zone.verified_on.is_some() && call.query("name").is_none_or(|name| zone.name.eq_ignore_ascii_case(name))
    };
    let shown = zones.iter().filter(wanted).skip(page.skip() as usize).take(page.size as usize).map(shown_zone);
    Ok(Answer::page(shown.collect(), page))
}

/// The account's proved zone that a host name is in: the longest one.
async fn zone_of(call: &Call, host: &str) -> ApiResult<Zone> {
    let zones = call.store().zones(call.account()).await?;
    zones
        .into_iter()
        .filter(|zone| zone.verified_on.is_some())
        .filter(|zone| host == zone.name || host.strip_suffix(&zone.name).is_some_and(|rest| rest.ends_with('.')))
        .max_by_key(|zone| zone.name.len())
        .ok_or_else(|| {
            ApiError::not_found(
                10063,
                format!(
                    "{host} is in no domain of your account: add it with `skep domains add` and prove that it is yours"
                ),
            )
        })
}

async fn checked_pattern(call: &Call, text: &str) -> ApiResult<(String, String)> {
    let pattern = RoutePattern::parse(text).map_err(|error| ApiError::bad(error.to_string()))?;
    let zone = zone_of(call, pattern.host()).await?;
    Ok((pattern.to_string(), zone.id))
}

async fn zone_routes(call: Call) -> ApiResult {
    let account = call.token.as_ref().map_or("", |token| &token.account_id);
    let routes = call.store().routes(account).await?;
    let page = call.page();
    let own = |route: &&Route| route.zone_id == call.parameter("zone_id");
    let shown = routes.iter().filter(own).skip(page.skip() as usize).take(page.size as usize).map(|route| json!(route));
    Ok(Answer::page(shown.collect(), page))
}

#[derive(Deserialize)]
struct RouteSent {
    pattern: String,
    script: String,
}

async fn add_route(mut call: Call) -> ApiResult {
    let sent: RouteSent = call.json().await?;
    let checked = checked_pattern(&call, &sent.pattern).await?;
    let routes = call.store().put_routes(&call.actor(), &sent.script, std::slice::from_ref(&checked), false).await?;
    let route = routes.into_iter().find(|route| route.pattern == checked.0);
    Ok(Answer::ok(json!(route)))
}

async fn delete_route(call: Call) -> ApiResult {
    call.store().delete_route(&call.actor(), call.parameter("route_id")).await?;
    Ok(Answer::ok(json!({ "id": call.parameter("route_id") })))
}

#[derive(Deserialize)]
struct PatternSent {
    pattern: String,
}

async fn put_routes(mut call: Call) -> ApiResult {
    let sent: Vec<PatternSent> = call.json().await?;
    let mut checked = Vec::new();
    for route in sent {
        checked.push(checked_pattern(&call, &route.pattern).await?);
    }
    let routes = call.store().put_routes(&call.actor(), call.worker_name(), &checked, true).await?;
    Ok(Answer::ok(json!(routes)))
}

#[derive(Deserialize)]
struct HostSent {
    hostname: String,
}

/// A custom domain's name: a whole host, no wildcard and no path.
async fn checked_host(call: &Call, hostname: &str) -> ApiResult<(String, String)> {
    let pattern = RoutePattern::parse(hostname).map_err(|error| ApiError::bad(error.to_string()))?;
    if pattern.host() != hostname.to_ascii_lowercase() {
        return Err(ApiError::bad(format!(
            "\"{hostname}\" is not a host name: a custom domain has no wildcard, scheme or path"
        )));
    }
    let zone = zone_of(call, pattern.host()).await?;
    Ok((pattern.host().to_owned(), zone.id))
}

async fn changeset(mut call: Call) -> ApiResult {
    let sent: Vec<HostSent> = call.json().await?;
    let all = call.store().domains(call.account()).await?;
    let (mut added, mut updated, mut conflicting) = (Vec::new(), Vec::new(), Vec::new());
    for host in &sent {
        let (hostname, _) = checked_host(&call, &host.hostname).await?;
        match all.iter().find(|domain| domain.hostname == hostname) {
            None => added.push(json!({ "hostname": hostname })),
            Some(domain) if domain.service == call.worker_name() => {
                updated.push(json!({ "hostname": hostname, "modified": false }))
            }
            Some(domain) => conflicting.push(json!({
                "id": domain.id,
                "hostname": hostname,
                "service": domain.service,
                "environment": "production",
                "zone_name": domain.zone_name,
                "modified": true,
            })),
        }
    }
    let removed: Vec<Value> = all
        .iter()
        .filter(|domain| domain.service == call.worker_name())
        .filter(|domain| {
            call.query("replace_state") == Some("true") && !sent.iter().any(|host| host.hostname == domain.hostname)
        })
        .map(|domain| json!({ "hostname": domain.hostname }))
        .collect();
    // Wrangler asks a person about those in `updated` that are modified, and overrides what is in `conflicting`.
    Ok(Answer::ok(
        json!({ "added": added, "removed": removed, "updated": conflicting.iter().chain(&updated).collect::<Vec<_>>(), "conflicting": [] }),
    ))
}

#[derive(Deserialize)]
struct DomainsSent {
    #[serde(default)]
    override_existing_origin: bool,
    origins: Vec<HostSent>,
}

async fn put_domains(mut call: Call) -> ApiResult {
    let sent: DomainsSent = call.json().await?;
    let mut checked = Vec::new();
    for origin in &sent.origins {
        checked.push(checked_host(&call, &origin.hostname).await?);
    }
    let take_over = sent.override_existing_origin;
    let domains = call.store().put_domains(&call.actor(), call.worker_name(), &checked, true, take_over).await?;
    Ok(Answer::ok(json!(domains)))
}

async fn domains(call: Call) -> ApiResult {
    let wanted = call.query("service").map(str::to_owned);
    let domains = call.store().domains(call.account()).await?;
    let shown: Vec<Value> = domains
        .iter()
        .filter(|domain| wanted.as_ref().is_none_or(|service| *service == domain.service))
        .map(|domain| {
            let mut shown = json!(domain);
            shown["environment"] = json!("production");
            shown
        })
        .collect();
    Ok(Answer::ok(shown))
}

async fn delete_domain(call: Call) -> ApiResult {
    call.store().delete_domain(&call.actor(), call.parameter("domain_id")).await?;
    Ok(Answer::done())
}
