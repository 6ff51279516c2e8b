//! What accounts have agreed to, as it is in the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use skep_meter::{Minute, Plan, Terms};
use skep_store::{Agreement, StoreError, Timestamp};

use crate::metering::Metering;

/// Terms that say nothing.
pub(super) static NONE: Terms = Terms { cap: None, workers: BTreeMap::new() };

/// What accounts have agreed to. Those that have nothing of their own are not here.
#[derive(Default)]
pub(super) struct Accounts(HashMap<String, (Option<String>, Option<Terms>)>);

impl Accounts {
    /// An account's plan, and its terms.
    pub(super) fn of(&self, account: &str) -> (Option<&str>, Option<&Terms>) {
        let (plan, terms) = self.0.get(account).map_or((None, None), |(plan, terms)| (plan.as_deref(), terms.as_ref()));
        (plan, terms.filter(|terms| **terms != NONE))
    }

    fn set(&mut self, Agreement { account_id, plan, terms }: Agreement) {
        // What the control plane has checked can be read.
        let terms = terms.and_then(|terms| serde_json::from_value(terms).ok());
        match (&plan, &terms) {
            (None, None) => drop(self.0.remove(&account_id)),
            _ => drop(self.0.insert(account_id, (plan, terms))),
        }
    }
}

impl Metering {
    /// The plan of this name. A plan that there is no more is the default, and so is none.
    pub(super) fn plan(&self, name: Option<&str>) -> &Plan {
        let named = |name: &str| self.plans.iter().find(|plan| plan.name == name);
        name.and_then(named).or_else(|| named(&self.default)).unwrap_or(&self.plans[0])
    }

    /// Reads what every account has agreed to, and judges all. `last` is when each last used something: what was reached and never told, as the
    /// platform was killed before, is told now.
    pub(super) async fn read_agreements(self: &Arc<Self>, last: HashMap<String, Minute>) -> Result<(), StoreError> {
        let agreements = self.store.agreements().await?;
        for agreement in &agreements {
            if let Some(plan) = &agreement.plan
                && self.plans.iter().all(|known| known.name != *plan)
            {
                (self.tell)(&format!(
                    "There is no plan \"{plan}\", which account {} has: it is billed as \"{}\" until there is",
                    agreement.account_id, self.default
                ));
            }
        }
        let is_kept = self.read_told().await?;
        let warnings = {
            let mut state = self.state();
            agreements.into_iter().for_each(|agreement| state.accounts.set(agreement));
            let (now, mut warnings) = (self.now(), Vec::new());
            for (account, last) in last {
                warnings.extend(self.reached_before(&mut state, &account, last.begins(), now));
                warnings.extend(self.judge(&mut state, &account, now));
            }
            warnings
        };
        match is_kept {
            true => self.warn(warnings),
            false => self.begin_to_warn(warnings).await?,
        }
        Ok(())
    }

    /// Reads what an account has agreed to now. When this is done, those who run its Workers know what follows.
    pub(super) async fn agreed(self: &Arc<Self>, account: &str) -> Result<(), StoreError> {
        if let Some(agreement) = self.store.agreement(account, Timestamp::MAX).await? {
            let warnings = {
                let mut state = self.state();
                state.accounts.set(agreement);
                self.judge(&mut state, account, self.now())
            };
            self.warn(warnings);
        }
        self.runtimes.settled().await;
        Ok(())
    }
}
