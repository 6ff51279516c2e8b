//! People are told when a limit is near, or reached: once for each percentage of each day or month.
//!
//! What was told is kept in the store, with the entry of the audit log. First the outbox has it on its disk, then the store knows: whatever is
//! killed in between, a start finds what is reached and was never told, and tells it. What the outbox had already it knows by its key, which is
//! made of the same. As long as one of the two cannot be written, it is tried again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use skep_deliver::{Alert, Severity};
use skep_meter::{Measure, Plan, Standing};
use skep_store::{StoreError, UsageWarning};
use time::OffsetDateTime;

use crate::metering::{Metering, State, accounts};

/// Days and months of a limit that are remembered: a clock that jumps, and a limit that is changed and changed back, tell nothing again.
const REMEMBERED: usize = 6;
/// How long it is waited before something is written again that could not be.
const AGAIN: Duration = Duration::from_secs(5);
/// How long ago a day or month may have ended of which a start tells what nobody was told.
const LATE: time::Duration = time::Duration::DAY;

/// What was told, or is being told: by account and limit, the days and months of it with the highest percentage, the latest last.
#[derive(Default)]
pub(super) struct Told(HashMap<(String, String), Vec<(String, u8)>>);

/// A limit that is near, or reached.
pub(super) struct Warning {
    of: UsageWarning,
    worker: Option<String>,
    text: String,
    at: OffsetDateTime,
}

// === impl Told ===

impl Told {
    /// Takes it for told. Gives whether it, or more, was not before.
    fn is_new(&mut self, warning: &UsageWarning) -> bool {
        let periods = self.0.entry((warning.account_id.clone(), warning.measure.clone())).or_default();
        if let Some((_, percent)) = periods.iter_mut().find(|(period, _)| *period == warning.period) {
            let before = *percent;
            *percent = before.max(warning.percent);
            return before < warning.percent;
        }
        if periods.len() >= REMEMBERED {
            periods.remove(0);
        }
        periods.push((warning.period.clone(), warning.percent));
        true
    }
}

// === impl Warning ===

impl Warning {
    /// What of an account's standing is to be told, whether it was or not.
    fn all<'s>(
        account: &'s str,
        plan: &'s Plan,
        standing: &'s Standing,
        at: OffsetDateTime,
    ) -> impl Iterator<Item = Self> + 's {
        standing.measures.iter().filter_map(move |measure| {
            let reached = plan.warn.iter().copied().filter(|percent| u64::from(*percent) <= measure.percent).max()?;
            Some(Self::new(account, reached, measure, at))
        })
    }

    fn new(account: &str, percent: u8, measure: &Measure, at: OffsetDateTime) -> Self {
        let worker = measure.worker.clone();
        let of = UsageWarning {
            account_id: account.to_owned(),
            measure: format!("{}/{:?}", worker.as_deref().unwrap_or_default(), measure.what),
            // A limit that is changed is another one.
            period: format!("{}/{}", measure.period, measure.allowed),
            percent,
        };
        Self { of, worker, text: measure.warning(), at }
    }

    /// Its key means the same limit, time and percentage, also after a restart.
    pub(super) fn alert(&self) -> Alert {
        let UsageWarning { account_id, measure, period, percent } = &self.of;
        Alert {
            kind: "usage.limit".to_owned(),
            severity: if *percent >= 100 { Severity::Critical } else { Severity::Warning },
            account: Some(account_id.clone()),
            worker: self.worker.clone(),
            title: format!("{percent} % of a limit is used"),
            text: self.text.clone(),
            at: self.at,
            key: format!("usage.limit/{account_id}/{measure}/{period}/{percent}"),
        }
    }
}

// === impl Metering ===

impl Metering {
    /// What of an account's standing is to be told now, and was not. It is taken for told.
    pub(super) fn reached(
        &self,
        state: &mut State,
        account: &str,
        standing: &Standing,
        at: OffsetDateTime,
    ) -> Vec<Warning> {
        let plan = self.plan(state.accounts.of(account).0);
        Warning::all(account, plan, standing, at).filter(|warning| state.told.is_new(&warning.of)).collect()
    }

    /// What nobody was told of a day or month that has ended since an account last used something, at the moment `last`.
    pub(super) fn reached_before(
        &self,
        state: &mut State,
        account: &str,
        last: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Vec<Warning> {
        if last > now || last.date() == now.date() || now - last > LATE {
            return Vec::new();
        }
        let (plan, terms) = state.accounts.of(account);
        let standing = state.books.standing(account, self.plan(plan), terms.unwrap_or(&accounts::NONE), last);
        self.reached(state, account, &standing, now)
    }

    /// Takes for told what was told before. Gives whether that is kept: if it never was, [`Self::begin_to_warn`] is to follow.
    pub(super) async fn read_told(&self) -> Result<bool, StoreError> {
        let told = self.store.usage_warnings().await?;
        let mut state = self.state();
        for warning in told.iter().flatten() {
            state.told.is_new(warning);
        }
        Ok(told.is_some())
    }

    /// Takes for told what is reached already, as it was told by a platform that did not keep it.
    pub(super) async fn begin_to_warn(&self, reached: Vec<Warning>) -> Result<(), StoreError> {
        let told: Vec<UsageWarning> = reached.into_iter().map(|warning| warning.of).collect();
        self.store.keep_usage_warnings(&told).await
    }

    /// Tells who owns an account, and who runs the platform, that a limit is near.
    pub(super) fn warn(self: &Arc<Self>, warnings: Vec<Warning>) {
        if warnings.is_empty() {
            return;
        }
        let metering = Arc::clone(self);
        tokio::spawn(async move {
            for warning in warnings {
                (metering.tell)(&format!("Account {}: {}", warning.of.account_id, warning.text));
                metering.warn_of(&warning).await;
            }
        });
    }

    /// Tells people one thing, until that is on the disk.
    async fn warn_of(&self, warning: &Warning) {
        let target = warning.worker.as_deref().unwrap_or(&warning.of.account_id);
        let detail = serde_json::json!({ "percent": warning.of.percent, "message": warning.text });
        let (mut parcel, mut was_said) = (self.delivery.parcel(warning.alert()), false);
        loop {
            let kept = match self.delivery.put(&mut parcel).await {
                Ok(()) => self.store.warned(&warning.of, target, &detail).await.map_err(|error| error.to_string()),
                Err(error) => Err(error),
            };
            let Err(error) = kept else { return };
            if !was_said {
                was_said = true;
                (self.tell)(&format!("A warning cannot be written down: {error}. It is told as soon as it can"));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
