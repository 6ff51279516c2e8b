//! What is looked at, one function each.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use skep_deliver::Waiting;
use skep_store::Node;
use time::OffsetDateTime;

use crate::health::alerts::{Check, Finding};
use crate::health::node::Disk;
use crate::health::{Health, Looked, MOST_FAILURES, PATIENCE, SILENT, milliseconds};
use crate::runtimes::Told;
use crate::series::Rate;
use crate::settings::HealthSettings;

/// A certificate that is valid for less is worth a word, if it should have been renewed before.
const EXPIRES: Duration = Duration::from_secs(14 * 24 * 3600);
/// The part of its life, counted from the end, in which that holds for certificates that live for less than three months.
const LAST: u32 = 6;
/// Processes that die in a window before that is worth a word.
const DEATHS: u64 = 3;
const GIB: u64 = 1 << 30;

/// All of them, in the order in which they are shown.
pub(super) async fn all(health: &Health, told: &Told) -> Vec<Looked> {
    let disk = Disk::of(&health.parts.data_dir).unwrap_or_default();
    let deaths = health.parts.runtimes.deaths();
    let stored = store(health, node(health, disk, told, deaths)).await;
    let settings = &health.parts.settings;
    vec![
        canary(health),
        stored,
        timed(Check::Disk, || disk_room(settings, &health.parts.data_dir, disk)),
        timed(Check::Certificate, || certificates(&health.parts.expiries.all(), SystemTime::now())),
        ledger(health).await,
        timed(Check::Runtime, || runtimes(health, &told.silent, deaths)),
        timed(Check::Worker, || workers(settings, &health.parts.series.rates(settings.window))),
        timed(Check::Node, || nodes(&health.state().nodes, &health.identity.id, milliseconds(now()))),
        timed(Check::Outbox, || outbox(&health.parts.delivery.waiting(), settings.outbox, now())),
    ]
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Findings, and what is said if there are none.
type Findings = (Vec<Finding>, String);

fn timed(check: Check, look: impl FnOnce() -> Findings) -> Looked {
    let begun = Instant::now();
    let (found, well) = look();
    Looked { check, took: begun.elapsed(), found, well }
}

/// A finding about the whole platform.
fn whole(check: Check, message: String) -> Finding {
    Finding { check, account: None, subject: String::new(), message }
}

fn canary(health: &Health) -> Looked {
    let ran = health.state().canary.clone();
    let reason = ran.reason.filter(|_| ran.failures >= MOST_FAILURES);
    let found = reason.map(|reason| {
        let message = format!(
            "A request for the platform's own Worker failed {} times in a row: {reason}. See what the log says of the processes that run Workers",
            ran.failures
        );
        whole(Check::Canary, message)
    });
    let well = "A request for the platform's own Worker was answered".to_owned();
    Looked { check: Check::Canary, took: ran.took, found: found.into_iter().collect(), well }
}

/// What is said of this node in the store.
fn node(health: &Health, disk: Disk, told: &Told, deaths: u64) -> Node {
    let (parts, identity) = (&health.parts, &health.identity);
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Node {
        id: identity.id.clone(),
        name: identity.name.clone(),
        address: parts.address.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: identity.started,
        last_heartbeat: milliseconds(now()),
        cores: count(std::thread::available_parallelism().map_or(1, usize::from)),
        memory_used: told.sum.memory,
        memory_limit: parts.memory_limit,
        disk_free: disk.free,
        disk_total: disk.total,
        runtimes: count(told.processes),
        restarts: deaths,
        isolates: count(told.sum.isolates),
    }
}

/// Says in the store that this node is there, and reads which others are.
async fn store(health: &Health, own: Node) -> Looked {
    let begun = Instant::now();
    let beat = async {
        health.parts.store.beat(&own).await?;
        health.parts.store.nodes().await
    };
    let answered = tokio::time::timeout(PATIENCE, beat).await;
    let mut state = health.state();
    state.late = if answered.is_ok() { 0 } else { state.late.saturating_add(1) };
    let problem = match answered {
        Ok(Ok(nodes)) => {
            state.nodes = nodes;
            None
        }
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) if state.late < MOST_FAILURES => None,
        Err(_) => Some(format!("it did not answer within {} s", PATIENCE.as_secs())),
    };
    drop(state);
    let found = problem.map(|problem| {
        let message = format!("The store cannot be written: {problem}. Nothing can be deployed; look at the disk");
        whole(Check::Store, message)
    });
    let well = "The store was written to".to_owned();
    Looked { check: Check::Store, took: begun.elapsed(), found: found.into_iter().collect(), well }
}

fn disk_room(settings: &HealthSettings, folder: &Path, Disk { free, total }: Disk) -> Findings {
    let percent = if total == 0 { 100.0 } else { free as f64 * 100.0 / total as f64 };
    let told = format!("{:.1} GiB ({percent:.0} %) free", free as f64 / GIB as f64);
    let is_full = total > 0 && (percent < settings.disk_percent as f64 || free < settings.disk_bytes);
    let message = || {
        format!(
            "The disk of {} is filling: {told}. Make room, or versions, usage and secrets cannot be written down any more",
            folder.display()
        )
    };
    (is_full.then(|| whole(Check::Disk, message())).into_iter().collect(), told)
}

/// Of each host, until when its certificate is valid, and since when.
fn certificates(all: &[(String, std::ops::Range<SystemTime>)], now: SystemTime) -> Findings {
    let found = all.iter().filter_map(|(host, validity)| {
        let life = validity.end.duration_since(validity.start).unwrap_or_default();
        let left = validity.end.duration_since(now).unwrap_or_default();
        (left < EXPIRES.min(life / LAST)).then(|| {
            let hours = left.as_secs() / 3600;
            let message = format!(
                "The certificate of {host} is valid for {hours} more hours only: give a new one with --tls-certificate, or see in the log why it is not renewed"
            );
            Finding { check: Check::Certificate, account: None, subject: host.clone(), message }
        })
    });
    (found.collect(), format!("{} certificates are valid", all.len()))
}

async fn ledger(health: &Health) -> Looked {
    let begun = Instant::now();
    let state = health.parts.metering.health().await;
    let message = match (state.is_failing, state.damages) {
        (true, _) => Some("Usage cannot be written down: make room on the disk".to_owned()),
        (false, 0) => None,
        (false, damages) => Some(format!(
            "The ledger of usage has {damages} damages: `skep usage verify` names file and place; everything else is read"
        )),
    };
    let found = message.map(|message| whole(Check::Ledger, message)).into_iter().collect();
    let well = "The ledger of usage is whole".to_owned();
    Looked { check: Check::Ledger, took: begun.elapsed(), found, well }
}

fn runtimes(health: &Health, silent: &[u32], deaths: u64) -> Findings {
    let (now, window) = (Instant::now(), health.parts.settings.window);
    let mut state = health.state();
    let seen = &mut state.deaths;
    seen.push_back((now, deaths));
    while seen.front().is_some_and(|(at, _)| now.duration_since(*at) > window) {
        seen.pop_front();
    }
    let lately = deaths - seen.front().map_or(deaths, |(_, before)| *before);
    let died = (lately >= DEATHS).then(|| {
        format!(
            "{lately} processes that run Workers died within {} s: the log and the audit log name the versions whose code ran",
            window.as_secs()
        )
    });
    let still = |process: &u32| (*process, state.silent.get(process).map_or(1, |looks| looks.saturating_add(1)));
    state.silent = silent.iter().map(still).collect();
    let mut hangs: Vec<u32> = silent.iter().copied().filter(|process| state.silent[process] >= MOST_FAILURES).collect();
    hangs.sort_unstable();
    let hangs = hangs.into_iter().map(|process| {
        let message = format!(
            "The process {process}, which runs Workers, does not answer: if nobody has stopped it, end it, and another one takes its place"
        );
        Finding { check: Check::Runtime, account: None, subject: process.to_string(), message }
    });
    let died = died.map(|message| whole(Check::Runtime, message));
    (died.into_iter().chain(hangs).collect(), format!("{deaths} processes died since the start"))
}

fn workers(settings: &HealthSettings, rates: &[Rate]) -> Findings {
    let failing = rates.iter().filter(|rate| {
        rate.requests >= settings.errors_requests && rate.errors * 100 > rate.requests * settings.errors_percent
    });
    let found = failing.map(|rate| {
        let message = format!(
            "{} of {} requests to {} failed within {} s: `skep tail {}` shows why, `skep rollback` goes back",
            rate.errors,
            rate.requests,
            rate.worker,
            settings.window.as_secs(),
            rate.worker
        );
        let account = Some(rate.account.to_string());
        Finding { check: Check::Worker, account, subject: rate.worker.to_string(), message }
    });
    (found.collect(), format!("{} Workers were asked lately", rates.len()))
}

fn nodes(nodes: &[Node], own: &str, now: i64) -> Findings {
    let down = nodes.iter().filter(|node| node.id != own && is_down(node, now));
    let found = down.map(|node| {
        let seconds = (now - node.last_heartbeat) / 1000;
        let message = format!("Nothing was heard of the node {} ({}) for {seconds} s", node.name, node.address);
        Finding { check: Check::Node, account: None, subject: node.name.clone(), message }
    });
    (found.collect(), format!("{} nodes", nodes.len()))
}

/// Whether nothing was heard of a node for too long.
pub(super) fn is_down(node: &Node, now: i64) -> bool {
    now - node.last_heartbeat > SILENT.as_millis() as i64
}

/// Of each destination: what waits for longer than it may, and what failed for good.
fn outbox(waiting: &[Waiting], longest: Duration, now: OffsetDateTime) -> Findings {
    let found = waiting.iter().filter_map(|waiting| {
        let Waiting { destination, items, failed, since, reason, .. } = waiting;
        let stuck = since.filter(|since| now - *since > longest).map(|since| {
            let why = reason.as_deref().unwrap_or("nothing was tried yet: see in the log whether it is configured");
            format!("{items} items wait for up to {} min to be delivered to \"{destination}\": {why}", (now - since).whole_minutes())
        });
        let failed = (*failed > 0).then(|| {
            format!("{failed} items for \"{destination}\" failed for good and are kept: `skep deliveries` says why, and sends them again")
        });
        let message = stuck.into_iter().chain(failed).reduce(|one, other| format!("{one}; {other}"))?;
        Some(Finding { check: Check::Outbox, account: None, subject: destination.clone(), message })
    });
    let items: usize = waiting.iter().map(|waiting| waiting.items).sum();
    (found.collect(), format!("{items} items are to be delivered"))
}

#[cfg(test)]
mod tests;
