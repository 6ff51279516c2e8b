//! Promotions move on by themselves: to the next step when its time has come, back when too many requests fail.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_link::wire;
use skep_observe::Level;
use skep_store::{Actor, Progress, Promotion, RunningPromotion, Store, StoreError, Timestamp};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::Tell;
use crate::eyes::Eyes;

/// How often errors are looked at while a promotion is running.
const LOOK: Duration = Duration::from_millis(250);
/// How sure it must be that the error rate is too high before a step is cut short, in standard deviations.
const SURE: f64 = 3.0;

/// A promotion that is watched.
struct Watched {
    step: usize,
    /// What the version had answered when the step began.
    base: (u64, u64),
}

/// Moves promotions on, for ever. `changed` tells that one may have begun.
pub(crate) async fn run(store: Store, eyes: Eyes, changed: Arc<Notify>, tell: Tell) {
    let mut watched = HashMap::new();
    loop {
        let running = match store.running_promotions().await {
            Ok(running) => running,
            Err(error) => {
                tell(&format!("The promotions cannot be read: {error}"));
                tokio::time::sleep(Duration::from_secs(5)).await;
                continue;
            }
        };
        watched.retain(|id, _| running.iter().any(|running| running.promotion.id == *id));
        if running.is_empty() {
            changed.notified().await;
            continue;
        }
        for running in running {
            if let Err(error) = look(&store, &eyes, &mut watched, &running, &tell).await {
                tell(&format!("The promotion of {} cannot be moved on: {error}", running.worker));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(
    store: &Store,
    eyes: &Eyes,
    watched: &mut HashMap<Uuid, Watched>,
    running: &RunningPromotion,
    tell: &Tell,
) -> Result<(), StoreError> {
    let RunningPromotion { account_id, worker, promotion } = running;
    let wire::Counts { requests, errors, last_error } = eyes.counts(promotion.version_id).await;
    let base = (requests, errors);
    let watch = watched.entry(promotion.id).or_insert_with(|| Watched { step: promotion.step, base });
    if watch.step != promotion.step {
        (watch.step, watch.base) = (promotion.step, base);
    }
    let counts = (requests.saturating_sub(watch.base.0), errors.saturating_sub(watch.base.1));
    let progress = match decide(promotion, counts, now()) {
        Decision::Wait if counts == (promotion.requests, promotion.errors) => return Ok(()),
        Decision::Wait => Progress::Counted,
        Decision::Forward => Progress::NextStep,
        Decision::Back => {
            let reason = reason(promotion, counts, last_error);
            Progress::GoBack { automatic: true, reason }
        }
    };
    let back = matches!(progress, Progress::GoBack { .. });
    let actor = Actor::platform(account_id.as_str(), "promotion");
    let moved = store.move_promotion(&actor, worker, promotion.id, counts, progress).await?;
    if let Some(reason) = moved.and_then(|moved| moved.reason).filter(|_| back) {
        let message = format!("{worker}: {reason}");
        eyes.tails.say(account_id, worker, Level::Error, &message);
        tell(&message);
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Wait,
    Forward,
    Back,
}

/// What becomes of a promotion whose version has answered so many requests at this step, and failed so many of them. A
/// step is cut short when the error rate is too high beyond doubt; when its time is over, what was seen counts.
fn decide(promotion: &Promotion, (requests, errors): (u64, u64), now: Timestamp) -> Decision {
    let over = promotion.next_on.is_some_and(|next| next <= now);
    if let Some(on) = promotion.rollback_on
        && requests > 0
    {
        let beyond_doubt = least_rate(requests, errors) > on.error_rate;
        let seen = errors as f64 / requests as f64 > on.error_rate;
        if beyond_doubt || (over && seen) {
            return Decision::Back;
        }
    }
    if over { Decision::Forward } else { Decision::Wait }
}

/// The least error rate that explains what was seen: the lower end of Wilson's score interval.
/// E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
fn least_rate(requests: u64, errors: u64) -> f64 {
    let (count, rate, squared) = (requests as f64, errors as f64 / requests as f64, SURE * SURE);
    let centre = rate + squared / (2.0 * count);
    let width = SURE * (rate * (1.0 - rate) / count + squared / (4.0 * count * count)).sqrt();
    (centre - width) / (1.0 + squared / count)
}

fn reason(promotion: &Promotion, (requests, errors): (u64, u64), last: Option<String>) -> String {
    let allowed = promotion.rollback_on.map_or(1.0, |on| on.error_rate) * 100.0;
    let rate = errors as f64 / requests as f64 * 100.0;
    let last = last.map(|last| format!("; the last error: {last}")).unwrap_or_default();
    format!(
        "rolled back the promotion of version {} at {} %: {errors} of its {requests} requests failed, {rate:.1} %, and {allowed} % are allowed{last}",
        promotion.version_id,
        promotion.percentage(),
    )
}

fn now() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Decision, decide, least_rate};
    use skep_store::{Promotion, PromotionState, RollbackOn};
    use uuid::Uuid;

    fn promotion(rollback_on: Option<RollbackOn>) -> Promotion {
        Promotion {
            id: Uuid::nil(),
            version_id: Uuid::from_u128(2),
            from: Some(Uuid::from_u128(1)),
            steps: vec![1.0, 50.0, 100.0],
            every: 60,
            rollback_on,
            state: PromotionState::Running,
            step: 0,
            reason: None,
            requests: 0,
            errors: 0,
            author: "test".to_owned(),
            begun_on: 0,
            next_on: Some(60_000),
        }
    }

    #[test]
    fn a_step_is_cut_short_only_beyond_doubt() {
        let two_percent = promotion(Some(RollbackOn { error_rate: 0.02 }));
        let check = |counts, now, expect| assert_eq!(decide(&two_percent, counts, now), expect, "{counts:?} at {now}");
        check((0, 0), 1, Decision::Wait);
        check((0, 0), 60_000, Decision::Forward);
        check((1_000, 0), 1, Decision::Wait);
        // One failure of thirty may be bad luck, until the step is over.
        check((30, 1), 1, Decision::Wait);
        check((30, 1), 60_000, Decision::Back);
        check((30, 15), 1, Decision::Back);
        check((10_000, 150), 60_000, Decision::Forward);
        check((10_000, 400), 1, Decision::Back);
    }

    #[test]
    fn without_a_rate_only_time_counts() {
        let patient = promotion(None);
        assert_eq!(decide(&patient, (10, 10), 1), Decision::Wait);
        assert_eq!(decide(&patient, (10, 10), 60_000), Decision::Forward);
    }

    #[test]
    fn the_least_rate_is_wilson_s() {
        assert!(least_rate(100, 0).abs() < 1e-9);
        // With z = 3: (0.5 + 9/200 - 3 sqrt(0.25/100 + 9/40000)) / 1.09.
        assert!((least_rate(100, 50) - 0.356_3).abs() < 1e-3, "{}", least_rate(100, 50));
    }
}
