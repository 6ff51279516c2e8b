//! Promotions: a version that gets its traffic in steps, and goes back when it fails. Who watches the errors says when;
//! what happens then is one transaction here.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use crate::audit::{Actor, record};
use crate::feed::Share;
use crate::records::{Timestamp, from_json, json, now};
use crate::versions;
use crate::workers::{expect, insert_deployment};
use crate::{Annotations, NewDeployment, Store, StoreError, StoreResult, WorkerRecord};

/// The most steps of a promotion.
const MOST_STEPS: usize = 20;
/// The longest step, in seconds: a week.
const LONGEST_STEP: u32 = 7 * 24 * 3600;

/// When a promotion goes back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollbackOn {
    /// The share of the new version's requests, 0 to 1, that may fail during a step.
    pub error_rate: f64,
}

/// A promotion to be made.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct NewPromotion {
    /// The version that gets the traffic.
    pub version_id: Uuid,
    /// Its percentages, in rising order, the last of which is 100.
    pub steps: Vec<f64>,
    /// How long each step lasts, in seconds.
    pub every: u32,
    /// When it goes back. Without it, only a person ends it.
    #[serde(default)]
    pub rollback_on: Option<RollbackOn>,
    /// Why.
    #[serde(default)]
    pub message: Option<String>,
}

/// How far a promotion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromotionState {
    /// The next step comes by itself.
    Running,
    /// The version has all the traffic.
    Done,
    /// Too many requests failed: the version before has all the traffic again.
    RolledBack,
    /// A person ended it, or deployed something else.
    Stopped,
}

/// A promotion, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// Its id.
    pub id: Uuid,
    /// The version that gets the traffic.
    pub version_id: Uuid,
    /// The version that had it, if there was one.
    pub from: Option<Uuid>,
    /// The percentages.
    pub steps: Vec<f64>,
    /// How long each step lasts, in seconds.
    pub every: u32,
    /// When it goes back.
    pub rollback_on: Option<RollbackOn>,
    /// How far it is.
    pub state: PromotionState,
    /// The step that it is at, from 0 on.
    pub step: usize,
    /// Why it ended, unless it ended well.
    pub reason: Option<String>,
    /// Requests that the new version answered during the step.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Who made it.
    pub author: String,
    /// When.
    pub begun_on: Timestamp,
    /// When the next step comes, if it is running.
    pub next_on: Option<Timestamp>,
}

/// A promotion that is running, and whose Worker it is.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningPromotion {
    /// The account's id.
    pub account_id: String,
    /// The Worker's name.
    pub worker: String,
    /// The promotion.
    pub promotion: Promotion,
}

/// What becomes of a promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The step goes on; so many requests were answered and so many of them failed.
    Counted,
    /// The next step begins, or the promotion is done.
    NextStep,
    /// The version before gets everything again.
    GoBack {
        /// Whether nobody asked for it.
        automatic: bool,
        /// Why.
        reason: String,
    },
}

impl Promotion {
    /// The percentage of the new version at this step.
    pub fn percentage(&self) -> f64 {
        self.steps.get(self.step).copied().unwrap_or(100.0)
    }

    /// Who gets what at this step.
    fn shares(&self) -> Vec<Share> {
        let new = Share { version_id: self.version_id, percentage: self.percentage() };
        match self.from {
            Some(from) if new.percentage < 100.0 => {
                vec![new, Share { version_id: from, percentage: 100.0 - new.percentage }]
            }
            _ => vec![new],
        }
    }

    fn end(&mut self, state: PromotionState, reason: Option<String>) {
        (self.state, self.reason, self.next_on) = (state, reason, None);
    }

    fn after(every: u32) -> Timestamp {
        now() + Timestamp::from(every) * 1000
    }
}

fn check(new: &NewPromotion) -> StoreResult<()> {
    let invalid = |message: &str| Err(StoreError::Invalid(message.to_owned()));
    let rising = new.steps.windows(2).all(|pair| pair[0] < pair[1]);
    let first = new.steps.first().is_some_and(|first| *first > 0.0);
    if !rising || !first || new.steps.last() != Some(&100.0) || new.steps.len() > MOST_STEPS {
        return invalid("the steps are percentages above 0 in rising order, 20 at most, and the last one is 100");
    }
    if new.every == 0 || new.every > LONGEST_STEP {
        return invalid("a step lasts from 1 second to 7 days");
    }
    if new.rollback_on.is_some_and(|on| !(0.0..1.0).contains(&on.error_rate)) {
        return invalid("the error rate that leads back is a share of the requests: 0 or more, and less than 1");
    }
    Ok(())
}

async fn running(connection: &mut SqliteConnection, worker: &WorkerRecord) -> StoreResult<Option<Promotion>> {
    let row = sqlx::query("SELECT document FROM promotions WHERE worker_id = $1 AND running")
        .bind(worker.id.to_string())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(|row| from_json(row, "document")).transpose()
}

async fn save(connection: &mut SqliteConnection, promotion: &Promotion) -> StoreResult<()> {
    sqlx::query("UPDATE promotions SET running = $1, document = $2 WHERE id = $3")
        .bind(promotion.state == PromotionState::Running)
        .bind(json(promotion)?)
        .bind(promotion.id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

async fn deploy(
    transaction: &mut SqliteConnection,
    actor: &Actor,
    worker: &WorkerRecord,
    versions: Vec<Share>,
    message: String,
) -> StoreResult<()> {
    let triggered_by = Some("promotion".to_owned());
    let annotations = Annotations { message: Some(message), triggered_by, ..Annotations::default() };
    insert_deployment(transaction, actor, worker, NewDeployment { versions, annotations }).await?;
    Ok(())
}

impl Store {
    /// Gives a version its first share of the traffic, and notes what comes next. Where nothing is deployed it gets everything.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a version that the Worker does not have, [`StoreError::Conflict`] while another promotion is
    /// running or two versions share the traffic, [`StoreError::Invalid`] for steps that are none.
    pub async fn begin_promotion(&self, actor: &Actor, name: &str, new: NewPromotion) -> StoreResult<Promotion> {
        check(&new)?;
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let worker = expect(&mut transaction, &actor.account_id, name).await?;
        let conflict = |message: String| Err(StoreError::Conflict(message));
        if running(&mut transaction, &worker).await?.is_some() {
            return conflict(format!("another promotion of {name} is running: stop it first"));
        }
        if versions::find(&mut *transaction, worker.id, new.version_id).await?.is_none() {
            let message = format!("{name} has no version {}: see `skep versions list`", new.version_id);
            return Err(StoreError::NotFound(message));
        }
        let from = match &worker.live[..] {
            [] => None,
            [only] if only.version_id != new.version_id => Some(only.version_id),
            [_] => return conflict(format!("the version {} has all the traffic already", new.version_id)),
            _ => {
                return conflict(format!(
                    "two versions of {name} share the traffic: deploy one of them with 100 % first, so that it is clear what to go back to"
                ));
            }
        };
        let mut promotion = Promotion {
            id: Uuid::new_v4(),
            version_id: new.version_id,
            from,
            step: if from.is_some() { 0 } else { new.steps.len() - 1 },
            steps: new.steps,
            every: new.every,
            rollback_on: new.rollback_on,
            state: PromotionState::Running,
            reason: None,
            requests: 0,
            errors: 0,
            author: actor.name.clone(),
            begun_on: now(),
            next_on: Some(Promotion::after(new.every)),
        };
        if from.is_none() {
            promotion.end(PromotionState::Done, Some("nothing was deployed before".to_owned()));
        }
        let message = new.message.unwrap_or_else(|| format!("promotion: {} %", promotion.percentage()));
        deploy(&mut transaction, actor, &worker, promotion.shares(), message).await?;
        sqlx::query(
            "INSERT INTO promotions (id, worker_id, created_on, running, document) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(promotion.id.to_string())
        .bind(worker.id.to_string())
        .bind(promotion.begun_on)
        .bind(promotion.state == PromotionState::Running)
        .bind(json(&promotion)?)
        .execute(&mut *transaction)
        .await?;
        record(&mut transaction, actor, "promotion.begin", name, &json!(promotion)).await?;
        transaction.commit().await?;
        self.tell_of(&mut writer, &actor.account_id, name).await?;
        Ok(promotion)
    }

    /// A Worker's newest promotion.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn promotion(&self, worker: Uuid) -> StoreResult<Option<Promotion>> {
        let row = sqlx::query("SELECT document FROM promotions WHERE worker_id = $1 ORDER BY created_on DESC LIMIT 1")
            .bind(worker.to_string())
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(|row| from_json(row, "document")).transpose()
    }

    /// Every promotion that is running.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn running_promotions(&self) -> StoreResult<Vec<RunningPromotion>> {
        let rows = sqlx::query(
            "SELECT promotions.document, workers.name, workers.account_id FROM promotions \
             JOIN workers ON workers.id = promotions.worker_id WHERE promotions.running",
        )
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(of_row).collect()
    }

    /// Moves a Worker's promotion on. Nothing happens when it is not running any more. One whose shares are not the Worker's
    /// any more, because somebody deployed something else, is stopped.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn move_promotion(
        &self,
        actor: &Actor,
        name: &str,
        id: Uuid,
        counts: (u64, u64),
        progress: Progress,
    ) -> StoreResult<Option<Promotion>> {
        let mut writer = self.write().await;
        let mut transaction = writer.begin().await?;
        let worker = expect(&mut transaction, &actor.account_id, name).await?;
        let Some(mut promotion) = running(&mut transaction, &worker).await?.filter(|running| running.id == id) else {
            return Ok(None);
        };
        (promotion.requests, promotion.errors) = counts;
        if worker.live != promotion.shares() {
            promotion.end(PromotionState::Stopped, Some("something else was deployed".to_owned()));
            record(&mut transaction, actor, "promotion.stop", name, &json!(promotion)).await?;
        } else {
            match progress {
                Progress::Counted => {}
                Progress::NextStep => next_step(&mut transaction, actor, &worker, &mut promotion).await?,
                Progress::GoBack { automatic, reason } => {
                    let (state, action) = match automatic {
                        true => (PromotionState::RolledBack, "promotion.rollback"),
                        false => (PromotionState::Stopped, "promotion.stop"),
                    };
                    let all = promotion.from.map(|from| Share { version_id: from, percentage: 100.0 });
                    deploy(&mut transaction, actor, &worker, all.into_iter().collect(), reason.clone()).await?;
                    promotion.end(state, Some(reason));
                    record(&mut transaction, actor, action, name, &json!(promotion)).await?;
                }
            }
        }
        save(&mut transaction, &promotion).await?;
        transaction.commit().await?;
        self.tell_of(&mut writer, &actor.account_id, name).await?;
        Ok(Some(promotion))
    }
}

async fn next_step(
    transaction: &mut SqliteConnection,
    actor: &Actor,
    worker: &WorkerRecord,
    promotion: &mut Promotion,
) -> StoreResult<()> {
    if promotion.step + 1 < promotion.steps.len() {
        promotion.step += 1;
        (promotion.requests, promotion.errors) = (0, 0);
        promotion.next_on = Some(Promotion::after(promotion.every));
        let message = format!("promotion: {} %", promotion.percentage());
        deploy(transaction, actor, worker, promotion.shares(), message).await?;
        record(transaction, actor, "promotion.step", &worker.name, &json!(promotion)).await
    } else {
        promotion.end(PromotionState::Done, None);
        record(transaction, actor, "promotion.done", &worker.name, &json!(promotion)).await
    }
}

fn of_row(row: &SqliteRow) -> StoreResult<RunningPromotion> {
    let promotion: Promotion = from_json(row, "document")?;
    Ok(RunningPromotion { account_id: row.try_get("account_id")?, worker: row.try_get("name")?, promotion })
}
