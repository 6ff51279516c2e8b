//! What holds for an account beside its plan: a spend cap, and limits of single Workers.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::{Plan, Then, money};

/// Workers with limits of their own in one account, at most.
const MOST_WORKERS: usize = 1000;

/// What an account, or who runs the platform for it, has decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Terms {
    /// The most that a month may cost, in place of the plan's own cap.
    pub cap: Option<SpendCap>,
    /// Limits of single Workers, by their names.
    pub workers: BTreeMap<String, WorkerTerms>,
}

/// The most that a month may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendCap {
    /// The amount, in the plan's currency, as a string such as "20.00".
    #[serde(serialize_with = "money::serialize")]
    pub per_month: Decimal,
    /// What happens beyond: `refuse`, `bill` or `throttle`.
    #[serde(default)]
    pub then: Beyond,
    /// Requests in a second that are served beyond, for `throttle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle_per_second: Option<u32>,
}

/// Limits of a Worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerTerms {
    /// Requests of the kinds that are billed, in a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u64>,
    /// CPU time in a day (UTC), in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms_per_day: Option<u64>,
    /// The Worker's share of what the account's month costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<SpendCap>,
    /// What happens beyond the limits of a day.
    pub then: Beyond,
    /// Requests in a second that are served beyond, for `throttle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle_per_second: Option<u32>,
}

/// What happens beyond a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Beyond {
    /// Requests are refused.
    #[default]
    Refuse,
    /// They are served and billed: the limit only warns.
    Bill,
    /// Some are served each second.
    Throttle,
}

impl Beyond {
    /// The same, with how many are served.
    pub(crate) fn then(self, throttle_per_second: Option<u32>) -> Then {
        match self {
            Self::Refuse => Then::Refuse,
            Self::Bill => Then::Bill,
            Self::Throttle => Then::Throttle { per_second: throttle_per_second.unwrap_or(1).max(1) },
        }
    }
}

/// Why terms cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct TermsError {
    /// Which of them, such as `workers.api.cap.per_month`.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Terms {
    /// Checks the values.
    ///
    /// # Errors
    /// When an amount is negative, has parts of cents, or is below the plan's base price; when it is not said how many requests are served
    /// while others are held back; when a limit is 0.
    pub fn check(&self, plan: &Plan) -> Result<(), TermsError> {
        if let Some(cap) = &self.cap {
            cap.check("cap", plan)?;
        }
        if self.workers.len() > MOST_WORKERS {
            let message = format!("{} Workers have limits of their own: {MOST_WORKERS} may", self.workers.len());
            return Err(TermsError { key: "workers".to_owned(), message });
        }
        for (name, worker) in &self.workers {
            let key = format!("workers.{name}");
            for (limit, value) in
                [("requests_per_day", worker.requests_per_day), ("cpu_ms_per_day", worker.cpu_ms_per_day)]
            {
                if value == Some(0) {
                    let message = "0 would refuse everything: give at least 1, or delete the Worker's route".to_owned();
                    return Err(TermsError { key: format!("{key}.{limit}"), message });
                }
            }
            check_throttle(&key, worker.then, worker.throttle_per_second)?;
            if let Some(cap) = &worker.cap {
                cap.check(&format!("{key}.cap"), plan)?;
            }
        }
        Ok(())
    }
}

impl SpendCap {
    fn check(&self, key: &str, plan: &Plan) -> Result<(), TermsError> {
        let wrong = |message: String| Err(TermsError { key: format!("{key}.per_month"), message });
        let amount = self.per_month.normalize();
        if amount.is_sign_negative() || amount.is_zero() {
            return wrong("give an amount above 0, such as \"20.00\"; leave the cap out for none".to_owned());
        }
        if amount.scale() > 2 {
            return wrong(format!("\"{amount}\" has parts of cents: give two decimal places"));
        }
        if key == "cap" && amount <= plan.base {
            let (base, title) = (money::exact(plan.base), &plan.title);
            return wrong(format!("the plan {title} costs {base} before anything is used: give more than that"));
        }
        check_throttle(key, self.then, self.throttle_per_second)
    }
}

fn check_throttle(key: &str, then: Beyond, per_second: Option<u32>) -> Result<(), TermsError> {
    let wrong =
        |message: &str| Err(TermsError { key: format!("{key}.throttle_per_second"), message: message.to_owned() });
    match (then, per_second) {
        (Beyond::Throttle, None | Some(0)) => wrong("say how many requests are served each second, at least 1"),
        (Beyond::Refuse | Beyond::Bill, Some(_)) => wrong("this is for \"then\": \"throttle\" only: remove it"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Terms;
    use crate::Plan;

    #[test]
    fn terms_that_cannot_hold_say_why() {
        let plan = Plan::named("workers-paid").expect("it is shipped");
        let check = |text: &str, expect: &str| {
            let said = match serde_json::from_str::<Terms>(text) {
                Ok(terms) => terms.check(plan).map_or_else(|error| error.to_string(), |()| "fine".to_owned()),
                Err(error) => error.to_string(),
            };
            assert!(said.contains(expect), "{text}: {said}");
        };
        check("{}", "fine");
        check(r#"{"cap":{"per_month":"20.00"}}"#, "fine");
        check(r#"{"cap":{"per_month":"20.00","then":"throttle","throttle_per_second":5}}"#, "fine");
        check(r#"{"workers":{"api":{"requests_per_day":5,"cap":{"per_month":"1"}}}}"#, "fine");
        check(r#"{"cap":{"per_month":"-1"}}"#, "cap.per_month: give an amount above 0");
        check(r#"{"cap":{"per_month":"5.00"}}"#, "costs 5.00 before anything is used");
        check(r#"{"cap":{"per_month":"20.001"}}"#, "parts of cents");
        check(r#"{"cap":{"per_month":20.5}}"#, "invalid type: ");
        check(r#"{"cap":{"per_month":"20","then":"throttle"}}"#, "cap.throttle_per_second: say how many");
        check(r#"{"cap":{"per_month":"20","throttle_per_second":5}}"#, "remove it");
        check(r#"{"workers":{"api":{"requests_per_day":0}}}"#, "workers.api.requests_per_day: 0 would refuse");
        check(r#"{"spend":1}"#, "unknown field `spend`");
    }
}
