//! Cron triggers: at the minute, once, also across a restart. What was missed while the platform was down is reported, not
//! replayed.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use skep_control::{Crons, Ran, Running};
use skep_link::CallError;
use skep_pool::{Directory, Worker};
use skep_store::{Actor, Cron, Store, Timestamp};

use crate::Tell;
use crate::runtimes::Runtimes;

const MINUTE: Timestamp = 60_000;

fn now() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(0))
}

/// Fires what is due, minute by minute, for ever.
pub(crate) async fn run(runtimes: Arc<Runtimes>, directory: Arc<Directory>, store: Store, tell: Tell) {
    report_missed(&directory, &store, &tell).await;
    let mut last = now() / MINUTE;
    loop {
        let next = (last + 1) * MINUTE;
        let wait = u64::try_from(next - now()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        // The clock may have been set meanwhile: a minute that was jumped over is gone, one that comes again is not fired again.
        let minute = now() / MINUTE;
        if minute <= last {
            continue;
        }
        last = minute;
        for worker in directory.scheduled() {
            for cron in worker.crons() {
                if Cron::parse(cron).is_ok_and(|cron| cron.is_due(minute * MINUTE)) {
                    tokio::spawn(fire(
                        Arc::clone(&runtimes),
                        store.clone(),
                        Arc::clone(&worker),
                        cron.clone(),
                        minute * MINUTE,
                        Arc::clone(&tell),
                    ));
                }
            }
        }
    }
}

async fn fire(runtimes: Arc<Runtimes>, store: Store, worker: Arc<Worker>, cron: String, due: Timestamp, tell: Tell) {
    match store.claim_schedule(worker.id, &cron, due).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => return tell(&format!("The cron trigger \"{cron}\" of {} did not fire: {error}", worker.name)),
    }
    if let Some(problem) = problem(runtimes.scheduled(&worker, &cron, due).await) {
        tell(&format!("The cron trigger \"{cron}\" of {} failed: {problem}", worker.name));
    }
}

/// What went wrong, if something did.
fn problem(ran: Result<Result<(), String>, CallError>) -> Option<String> {
    match ran {
        Ok(ran) => ran.err(),
        Err(error) => Some(error.to_string()),
    }
}

/// Runs handlers for who asks.
pub(crate) struct ByHand {
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) directory: Arc<Directory>,
}

impl Crons for ByHand {
    fn run<'t>(&'t self, account: &'t str, worker: &'t str, cron: &'t str, due: Timestamp) -> Running<'t> {
        Box::pin(async move {
            let worker = self.directory.named(account, worker)?;
            if worker.deployment().is_empty() {
                return None;
            }
            let begun = Instant::now();
            let error = problem(self.runtimes.scheduled(&worker, cron, due).await);
            Some(Ran { error, wall: begun.elapsed() })
        })
    }
}

/// Says which triggers were due since they last fired, while nobody was there to fire them.
async fn report_missed(directory: &Directory, store: &Store, tell: &Tell) {
    let minute = now() / MINUTE * MINUTE;
    for worker in directory.scheduled() {
        let schedules = match store.schedules(worker.id).await {
            Ok(schedules) => schedules,
            Err(error) => return tell(&format!("The cron triggers cannot be read: {error}")),
        };
        for schedule in schedules {
            let Ok(cron) = Cron::parse(&schedule.cron) else { continue };
            let since = schedule.last_due.unwrap_or(schedule.created_on);
            let Some(missed) = cron.next(since).filter(|missed| *missed < minute) else { continue };
            tell(&format!(
                "The cron trigger \"{}\" of {} was missed while the platform was down",
                schedule.cron, worker.name
            ));
            let actor = Actor::platform(&*worker.account_id, "cron");
            let detail = json!({ "cron": schedule.cron, "first_missed": missed });
            let noted = store.note(&actor, "cron.missed", &worker.name, &detail).await;
            // It is said once: the next start reports what was missed after this one.
            let reported = store.claim_schedule(worker.id, &schedule.cron, minute - MINUTE).await;
            if let Err(error) = noted.and(reported) {
                tell(&format!("The audit log cannot be written: {error}"));
            }
        }
    }
}
