//! The tables of a plan, one function each.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::read::{Source, Table};
use super::{Cap, CpuPrice, DurationPrice, EgressPrice, Limits, Plan, PlanError, RequestPrice, Round, Then, VcpuPrice};
use crate::Kind;

const TOP: [&str; 14] = [
    "name", "title", "currency", "source", "as_of", "base", "billed", "warn", "requests", "cpu", "duration", "egress",
    "limits", "cap",
];
const DURATION: [&str; 8] = [
    "memory_mb",
    "round",
    "included_gb_seconds",
    "price_per_gb_second",
    "vcpu",
    "vcpu_unit",
    "included_vcpu_seconds",
    "price_per_vcpu_second",
];
const LIMITS: [&str; 6] =
    ["requests_per_day", "cpu_ms_per_day", "bytes_out_per_day", "cpu_ms_per_request", "then", "throttle_per_second"];
/// What Cloudflare bills as requests; the others are free.
const BILLED: [Kind; 3] = [Kind::Fetch, Kind::Scheduled, Kind::Queue];
const WARN: [u8; 3] = [50, 80, 100];
/// The most memory of an event, in MB.
const MOST_MEMORY: u32 = 1_000_000;
/// The most processors of an event.
const MOST_PROCESSORS: u32 = 1000;
/// More requests in a second are no limit.
const MOST_PER_SECOND: u32 = 1_000_000;
/// The longest name, in bytes.
const MOST_NAME: usize = 63;

pub(super) fn plan(file: &str, text: &str) -> Result<Plan, PlanError> {
    let source = Source { file, text };
    let document = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        source.error(offset, "", format!("this is not TOML: {}; mend it as https://toml.io says", error.message()))
    })?;
    let top = Table::top(source, document.get_ref(), &TOP)?;
    Ok(Plan {
        name: name(&top)?,
        title: top.need("title", "title = \"Team\"")?.text()?.to_owned(),
        currency: currency(&top)?,
        source: address(&top)?,
        as_of: top.get("as_of").map(|value| value.date()).transpose()?,
        base: top.need("base", "base = \"5.00\"")?.amount()?,
        billed: billed(&top)?,
        requests: requests(&top)?,
        cpu: cpu(&top)?,
        duration: duration(&top)?,
        egress: egress(&top)?,
        limits: limits(&top)?,
        cap: cap(&top)?,
        warn: warn(&top)?,
    })
}

fn name(top: &Table<'_>) -> Result<String, PlanError> {
    let value = top.need("name", "name = \"team\"")?;
    let name = value.text()?;
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_slug = name.bytes().all(is_known) && !name.starts_with('-') && !name.ends_with('-');
    if !is_slug || name.len() > MOST_NAME {
        let message = format!("use lowercase letters, digits, and hyphens between them, {MOST_NAME} at most");
        return Err(value.error(format!("\"{name}\" is no name of a plan: {message}")));
    }
    Ok(name.to_owned())
}

fn currency(top: &Table<'_>) -> Result<String, PlanError> {
    let Some(value) = top.get("currency") else { return Ok("USD".to_owned()) };
    let currency = value.text()?;
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        let message = "use three capital letters as in ISO 4217, such as \"USD\"";
        return Err(value.error(format!("\"{currency}\" is no currency: {message}")));
    }
    Ok(currency.to_owned())
}

fn address(top: &Table<'_>) -> Result<Option<String>, PlanError> {
    let Some(value) = top.get("source") else { return Ok(None) };
    let address = value.text()?;
    if !address.starts_with("https://") && !address.starts_with("http://") {
        let message = "give the URL of the price list, which begins with https://";
        return Err(value.error(format!("\"{address}\" is no address: {message}")));
    }
    Ok(Some(address.to_owned()))
}

fn billed(top: &Table<'_>) -> Result<BTreeSet<Kind>, PlanError> {
    let Some(value) = top.get("billed") else { return Ok(BILLED.into()) };
    let kinds = Kind::ALL.map(|kind| (kind.name(), kind));
    value.elements()?.iter().map(|element| element.choice(&kinds)).collect()
}

fn warn(top: &Table<'_>) -> Result<Vec<u8>, PlanError> {
    let Some(value) = top.get("warn") else { return Ok(WARN.to_vec()) };
    let mut percentages = BTreeSet::new();
    for element in value.elements()? {
        let percentage = element.count(1)?;
        let percentage = u8::try_from(percentage).ok().filter(|percentage| *percentage <= 100);
        percentages.insert(percentage.ok_or_else(|| element.error("this is no percentage: give 1 to 100"))?);
    }
    Ok(percentages.into_iter().collect())
}

fn requests(top: &Table<'_>) -> Result<RequestPrice, PlanError> {
    let table = top.table("requests", &["included", "price_per_million"])?;
    let table = table.ok_or_else(|| {
        top.error("requests", "this table is missing: add [requests] with included and price_per_million")
    })?;
    Ok(RequestPrice {
        included: table.need("included", "included = 10_000_000")?.count(0)?,
        price_per_million: table.need("price_per_million", "price_per_million = \"0.30\"")?.price()?,
    })
}

fn cpu(top: &Table<'_>) -> Result<Option<CpuPrice>, PlanError> {
    let Some(table) = top.table("cpu", &["included_ms", "price_per_million_ms"])? else { return Ok(None) };
    Ok(Some(CpuPrice {
        included_ms: table.need("included_ms", "included_ms = 30_000_000")?.count(0)?,
        price_per_million_ms: table.need("price_per_million_ms", "price_per_million_ms = \"0.02\"")?.price()?,
    }))
}

fn duration(top: &Table<'_>) -> Result<Option<DurationPrice>, PlanError> {
    let Some(table) = top.table("duration", &DURATION)? else { return Ok(None) };
    let rounds = [("1ms", Round::Millisecond), ("100ms", Round::HundredMilliseconds)];
    Ok(Some(DurationPrice {
        memory_mb: table.need("memory_mb", "memory_mb = 128")?.small_count(MOST_MEMORY)?,
        round: table.need("round", "round = \"1ms\"")?.choice(&rounds)?,
        included_gb_seconds: table.need("included_gb_seconds", "included_gb_seconds = 400_000")?.count(0)?,
        price_per_gb_second: table.need("price_per_gb_second", "price_per_gb_second = \"0.0000166667\"")?.price()?,
        vcpu: vcpu(&table)?,
    }))
}

fn vcpu(table: &Table<'_>) -> Result<Option<VcpuPrice>, PlanError> {
    let Some(share) = table.get("vcpu") else {
        let rest = ["vcpu_unit", "included_vcpu_seconds", "price_per_vcpu_second"];
        return match rest.into_iter().find(|key| table.get(key).is_some()) {
            Some(key) => Err(table.error(key, "this needs vcpu: add it, such as vcpu = \"0.2\", or remove this")),
            None => Ok(None),
        };
    };
    let example = "price_per_vcpu_second = \"0.000024\"";
    Ok(Some(VcpuPrice {
        share: share.decimal(MOST_PROCESSORS)?,
        unit: table.get("vcpu_unit").map_or(Ok("vCPU"), |value| value.text())?.to_owned(),
        included_seconds: table.need("included_vcpu_seconds", "included_vcpu_seconds = 200_000")?.count(0)?,
        price_per_second: table.need("price_per_vcpu_second", example)?.price()?,
    }))
}

fn egress(top: &Table<'_>) -> Result<Option<EgressPrice>, PlanError> {
    let Some(table) = top.table("egress", &["included_gb", "gb_bytes", "price_per_gb"])? else { return Ok(None) };
    let gb = table.need("gb_bytes", "gb_bytes = 1_000_000_000, or 1_073_741_824 where a GB is 2^30 bytes")?;
    let gb_bytes = gb.count(1)?;
    if gb_bytes != 1_000_000_000 && gb_bytes != 1 << 30 {
        return Err(gb.error(format!("{gb_bytes} bytes are no GB: give 1_000_000_000 or 1_073_741_824")));
    }
    Ok(Some(EgressPrice {
        included_gb: table.need("included_gb", "included_gb = 100")?.count(0)?,
        gb_bytes,
        price_per_gb: table.need("price_per_gb", "price_per_gb = \"0.09\"")?.price()?,
    }))
}

fn limits(top: &Table<'_>) -> Result<Option<Limits>, PlanError> {
    let Some(table) = top.table("limits", &LIMITS)? else { return Ok(None) };
    let limit = |key| table.get(key).map(|value| value.count(1)).transpose();
    let limits = Limits {
        requests_per_day: limit("requests_per_day")?,
        cpu_ms_per_day: limit("cpu_ms_per_day")?,
        bytes_out_per_day: limit("bytes_out_per_day")?,
        cpu_ms_per_request: limit("cpu_ms_per_request")?,
        then: then(&table)?,
    };
    let given = [limits.requests_per_day, limits.cpu_ms_per_day, limits.bytes_out_per_day, limits.cpu_ms_per_request];
    if given.iter().all(Option::is_none) {
        return Err(table.error("then", "there is no limit: add one, such as requests_per_day, or remove this table"));
    }
    Ok(Some(limits))
}

fn cap(top: &Table<'_>) -> Result<Option<Cap>, PlanError> {
    let Some(table) = top.table("cap", &["per_month", "then", "throttle_per_second"])? else { return Ok(None) };
    let per_month = table.need("per_month", "per_month = \"50.00\"")?.amount()?;
    Ok(Some(Cap { per_month, then: then(&table)? }))
}

fn then(table: &Table<'_>) -> Result<Then, PlanError> {
    let throttle = Then::Throttle { per_second: 1 };
    let then = table.need("then", "then = \"refuse\"")?.choice(&[
        ("refuse", Then::Refuse),
        ("bill", Then::Bill),
        ("throttle", throttle),
    ])?;
    let key = "throttle_per_second";
    if then == throttle {
        let per_second = table.need(key, "throttle_per_second = 10")?.small_count(MOST_PER_SECOND)?;
        return Ok(Then::Throttle { per_second });
    }
    match table.get(key) {
        Some(_) => Err(table.error(key, "this needs then = \"throttle\": write that, or remove this")),
        None => Ok(then),
    }
}
