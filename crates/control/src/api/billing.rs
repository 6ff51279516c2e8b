//! Plans, spend caps, invoices, and what the same traffic would cost elsewhere.

use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};
use skep_exchange::{Body, Response};
use skep_meter::{Month, Terms, Vm};
use skep_store::Permission;
use time::OffsetDateTime;

use crate::answer::Answer;
use crate::call::Call;
use crate::endpoint::{Access, Endpoint, endpoint};
use crate::error::{ApiError, ApiResult};
use crate::runtime::{Owner, Stands};

/// What the page of an invoice may load: nothing.
const NOTHING: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'");
/// A virtual machine that nobody has described: what the smallest one with a core costs at many providers.
const VM_PRICE: &str = "5.00";
const VM_CORES: u32 = 1;
/// The most cores that a machine may have.
const MOST_CORES: u32 = 4096;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let reads = Access::Account(Permission::AccountRead);
    let writes = Access::Account(Permission::AccountWrite);
    let operator = Access::Account(Permission::Operator);
    vec![
        endpoint!(GET "/skep/v1/plans", Access::Token, "The plans that there are, with their prices", plans),
        endpoint!(GET "/skep/v1/accounts/{account_id}/billing", reads, "The account's plan, its spend cap and limits, and what is used of them", billing),
        endpoint!(PUT "/skep/v1/accounts/{account_id}/billing", writes, "Set the account's spend cap and the limits of its Workers: when this is answered, they hold", put_terms),
        endpoint!(PUT "/skep/v1/accounts/{account_id}/accounts/{of_account}/plan", operator, "Give an account a plan", put_plan),
        endpoint!(GET "/skep/v1/accounts/{account_id}/invoices/{month}", reads, "The account's invoice of a month (2026-11), as JSON, or with `format` csv or html", invoice),
        endpoint!(GET "/skep/v1/accounts/{account_id}/usage/comparison", reads, "What the traffic of a `month` would cost elsewhere, and on a virtual machine of `vm_price` a month with `vm_cores`", comparison),
    ]
}

async fn plans(call: Call) -> ApiResult {
    Ok(Answer::ok(json!(call.control.runtime.bills.plans())))
}

fn shown(Stands { plan, terms, standing }: &Stands) -> Value {
    json!({ "plan": plan, "terms": terms, "standing": standing })
}

async fn billing(call: Call) -> ApiResult {
    Ok(Answer::ok(shown(&call.control.runtime.bills.stands(call.account()))))
}

async fn put_terms(mut call: Call) -> ApiResult {
    let terms: Terms = call.json().await?;
    let bills = &call.control.runtime.bills;
    terms.check(&bills.stands(call.account()).plan).map_err(|error| ApiError::bad(error.to_string()))?;
    call.store().put_terms(&call.actor(), &json!(terms)).await?;
    bills.agreed(call.account()).await.map_err(ApiError::internal)?;
    Ok(Answer::ok(shown(&bills.stands(call.account()))))
}

#[derive(Deserialize)]
struct PlanSent {
    plan: String,
}

async fn put_plan(mut call: Call) -> ApiResult {
    let PlanSent { plan } = call.json().await?;
    let bills = &call.control.runtime.bills;
    if bills.plans().iter().all(|known| known.name != plan) {
        let known: Vec<&str> = bills.plans().iter().map(|plan| &*plan.name).collect();
        return Err(ApiError::bad(format!("there is no plan \"{plan}\": choose one of {}", known.join(", "))));
    }
    let of = call.parameter("of_account").to_owned();
    call.store().put_plan(&call.actor(), &of, &plan).await?;
    bills.agreed(&of).await.map_err(ApiError::internal)?;
    Ok(Answer::ok(shown(&bills.stands(&of))))
}

/// The account that calls.
async fn owner(call: &Call) -> ApiResult<Owner> {
    let account = call.store().account(call.account()).await?;
    let account = account.ok_or_else(|| ApiError::not_found(10007, "the account is gone"))?;
    Ok(Owner { id: account.id, name: account.name, since: account.created_on })
}

fn month(text: &str) -> ApiResult<Month> {
    let month: Month = text.parse().map_err(|error: skep_meter::MonthError| ApiError::bad(error.to_string()))?;
    let now = Month::at(OffsetDateTime::now_utc());
    if month > now {
        return Err(ApiError::bad(format!("{month} has not begun: this month is {now}")));
    }
    Ok(month)
}

async fn invoice(call: Call) -> ApiResult {
    let month = month(call.parameter("month"))?;
    let invoice = call.control.runtime.bills.invoice(&owner(&call).await?, month).await.map_err(ApiError::internal)?;
    let (kind, text, name) = match call.query("format").unwrap_or("json") {
        "json" => return Ok(Answer::ok(invoice.document)),
        "csv" => {
            ("text/csv; charset=utf-8", invoice.csv, Some(format!("attachment; filename=\"invoice-{month}.csv\"")))
        }
        "html" => ("text/html; charset=utf-8", invoice.html, None),
        other => return Err(ApiError::bad(format!("\"format\" is \"{other}\": use json, csv or html"))),
    };
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_SECURITY_POLICY, NOTHING);
    if let Some(name) = name.and_then(|name| HeaderValue::try_from(name).ok()) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    Ok(Answer::Raw(Box::new(response)))
}

async fn comparison(call: Call) -> ApiResult {
    let month = match call.query("month") {
        Some(text) => month(text)?,
        None => Month::at(OffsetDateTime::now_utc()),
    };
    let price = call.query("vm_price").unwrap_or(VM_PRICE);
    let price = Decimal::from_str_exact(price).ok().filter(|price| !price.is_sign_negative() && !price.is_zero());
    let price = price.filter(|price| *price < Decimal::from(1_000_000)).ok_or_else(|| {
        ApiError::bad("\"vm_price\" is no price: give what the machine costs a month, such as 5.00".to_owned())
    })?;
    let cores =
        call.query("vm_cores").map_or(Ok(VM_CORES), str::parse).ok().filter(|cores| (1..=MOST_CORES).contains(cores));
    let cores = cores.ok_or_else(|| ApiError::bad(format!("\"vm_cores\" is from 1 to {MOST_CORES}")))?;
    let bills = &call.control.runtime.bills;
    let currency = bills.stands(call.account()).plan.currency;
    let vm = Vm { price_per_month: price.round_dp(2), currency, cores };
    let comparison = bills.compare(&owner(&call).await?, month, vm).await.map_err(ApiError::internal)?;
    let mut shown = json!(comparison);
    shown["sentence"] = comparison.sentence().into();
    Ok(Answer::ok(shown))
}
