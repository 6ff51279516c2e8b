//! Gradual promotion: traffic moves to a version step by step, and back if too much fails.

use std::str::FromStr;
use std::time::Duration;

use ::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::{Api, Root, Sent, segment};
use crate::error::{Error, NO_ENDPOINT, Result};

/// The most steps.
const MOST_STEPS: usize = 20;
/// The longest time between two steps: a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the platform may be away while a promotion is followed.
const MOST_MISSED: u32 = 30;

/// Shares of the traffic, one after another, in percent: `1,10,50,100`.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps(Vec<f64>);

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        for part in text.split(',') {
            let number = part.trim().trim_end_matches('%').trim_end();
            let step: f64 = number.parse().map_err(|_| format!("\"{part}\" is no share: write it like 1,10,50,100"))?;
            if !(step > 0.0 && step <= 100.0) {
                return Err(format!("{part} is no share of the traffic: it must be above 0 and at most 100"));
            }
            if steps.last().is_some_and(|last| *last >= step) {
                return Err(format!("{part} comes after a share that is not smaller: write them in rising order"));
            }
            steps.push(step);
        }
        if steps.last() != Some(&100.0) {
            steps.push(100.0);
        }
        if steps.len() > MOST_STEPS {
            return Err(format!("{} steps are too many: {MOST_STEPS} are the most", steps.len()));
        }
        Ok(Self(steps))
    }
}

/// The time between two steps: `30s`, `1m`, `2h`, or seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every(Duration);

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no time: write it like 30s, 1m or 2h");
        let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
        let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
        let unit = match &text[digits.len()..] {
            "" | "s" | "sec" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            _ => return Err(wrong()),
        };
        let time = number.checked_mul(unit).map(Duration::from_secs).ok_or_else(wrong)?;
        if time.is_zero() || time > LONGEST {
            return Err(format!("{text} between two steps cannot be: it must be from 1s to 7d"));
        }
        Ok(Self(time))
    }
}

/// From which share of failed requests on a promotion is undone: `error-rate>2%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RollbackOn {
    /// From 0 to 1.
    error_rate: f64,
}

impl FromStr for RollbackOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("\"{text}\" {what}: write it like 'error-rate>2%', in quotes");
        let (name, value) = text.split_once('>').ok_or_else(|| wrong("has no > in it"))?;
        if !matches!(name.trim(), "error-rate" | "error_rate") {
            return Err(wrong("is not about the error rate"));
        }
        let value = value.trim();
        let (number, unit) = match value.strip_suffix('%') {
            Some(number) => (number.trim_end(), 100.0),
            None => (value, 1.0),
        };
        let rate = number.parse::<f64>().map_err(|_| wrong("does not end with a share"))? / unit;
        if !(0.0..1.0).contains(&rate) {
            return Err(wrong("has no share from 0 to 100 %"));
        }
        Ok(Self { error_rate: rate })
    }
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The shares.
    pub steps: Steps,
    /// The time between them.
    pub every: Every,
    /// When to go back.
    pub rollback_on: Option<RollbackOn>,
    /// Why it is done.
    pub message: Option<String>,
}

impl Plan {
    /// The body of the call that begins it.
    fn body(&self, version: &str) -> Value {
        let steps: Vec<Value> = self.steps.0.iter().map(|step| number(*step)).collect();
        let mut body = json!({ "version_id": version, "steps": steps, "every": self.every.0.as_secs() });
        if let Some(rollback) = self.rollback_on {
            body["rollback_on"] = json!({ "error_rate": rollback.error_rate });
        }
        if let Some(message) = &self.message {
            body["message"] = json!(message);
        }
        body
    }
}

/// A whole number without a point.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 { json!(value as u64) } else { json!(value) }
}

/// How a promotion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It goes on.
    Running,
    /// The version has all the traffic.
    Done,
    /// Too much failed: the old version has all the traffic again.
    RolledBack,
    /// Somebody stopped it.
    Stopped,
}

/// A promotion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// Its id.
    #[serde(default)]
    pub id: Value,
    /// The version that gets the traffic.
    pub version_id: String,
    /// The version that had it.
    #[serde(default)]
    pub from: Option<String>,
    /// The shares in percent.
    pub steps: Vec<f64>,
    /// Seconds between two of them.
    pub every: f64,
    /// When to go back.
    #[serde(default)]
    pub rollback_on: Option<Map<String, Value>>,
    /// Which step it is at, from 0 on.
    pub step: usize,
    /// The version's share now: none after a rollback.
    pub percentage: f64,
    /// How it stands.
    pub state: State,
    /// Why it is no longer running.
    #[serde(default)]
    pub reason: Option<String>,
    /// Requests that the version answered.
    #[serde(default)]
    pub requests: u64,
    /// Those that failed.
    #[serde(default)]
    pub errors: u64,
    /// RFC 3339.
    #[serde(default)]
    pub begun_on: Option<String>,
    /// When the next step is due, RFC 3339.
    #[serde(default)]
    pub next_on: Option<String>,
}

impl Promotion {
    /// The share of the step that it is at, in percent; after a rollback, of the step that it failed at.
    pub fn share(&self) -> f64 {
        self.steps.get(self.step).copied().unwrap_or(self.percentage)
    }

    /// An error unless the version has all the traffic, or still may get it.
    ///
    /// # Errors
    /// [`Error::RolledBack`] when it was rolled back or stopped.
    pub fn check(&self) -> Result<()> {
        match self.state {
            State::Running | State::Done => Ok(()),
            State::RolledBack | State::Stopped => Err(Error::RolledBack {
                version: self.version_id.clone(),
                reason: self.reason.clone().unwrap_or_else(|| "no reason given".to_owned()),
            }),
        }
    }
}

fn path(worker: &str) -> String {
    format!("/workers/{}/promotion", segment(worker))
}

/// An older platform has no such endpoint.
fn explained(error: Error) -> Error {
    if error.code() != Some(NO_ENDPOINT) {
        return error;
    }
    Error::invalid("this platform knows no gradual promotion: update it, or deploy without --gradual")
}

impl Api {
    /// Begins a promotion.
    ///
    /// # Errors
    /// When there is no such version, or nothing is deployed yet.
    pub async fn promote(&self, worker: &str, version: &str, plan: &Plan) -> Result<Promotion> {
        let sent = Sent::Json(plan.body(version));
        self.send(Method::PUT, Root::Own, &path(worker), sent).await.map_err(explained)
    }

    /// A Worker's latest promotion, if there was one.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn promotion(&self, worker: &str) -> Result<Option<Promotion>> {
        match self.get::<Option<Promotion>>(Root::Own, &path(worker)).await {
            Ok(found) => Ok(found),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stops a promotion that is running: the old version gets all the traffic again.
    ///
    /// # Errors
    /// When none is running.
    pub async fn stop_promotion(&self, worker: &str) -> Result<()> {
        self.send::<Value>(Method::DELETE, Root::Own, &path(worker), Sent::Nothing).await.map(drop).map_err(explained)
    }

    /// Follows a promotion until it is no longer running. `say` hears of every change. A platform that restarts meanwhile goes on
    /// with the promotion, and so does this.
    ///
    /// # Errors
    /// When the platform stays away, or refuses.
    pub async fn follow(&self, worker: &str, begun: Promotion, say: &(dyn Fn(&Promotion) + Sync)) -> Result<Promotion> {
        let pause = Duration::from_secs_f64((begun.every / 4.0).clamp(0.25, 2.0));
        let (mut last, mut missed) = (begun, 0);
        say(&last);
        while last.state == State::Running {
            tokio::time::sleep(pause).await;
            match self.promotion(worker).await {
                Ok(Some(now)) => {
                    missed = 0;
                    if now != last {
                        say(&now);
                    }
                    last = now;
                }
                Ok(None) => {
                    return Err(Error::invalid(format!(
                        "the promotion is gone: {worker} was deleted, or deployed anew"
                    )));
                }
                Err(Error::Unreachable { .. }) if missed < MOST_MISSED => missed += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_rise_to_a_hundred() {
        let check = |text: &str| text.parse::<Steps>().map(|steps| steps.0);
        assert_eq!(check("1,10,50,100"), Ok(vec![1.0, 10.0, 50.0, 100.0]));
        assert_eq!(check(" 0.5 , 10% ,50"), Ok(vec![0.5, 10.0, 50.0, 100.0]));
        assert_eq!(check("100"), Ok(vec![100.0]));
        for (text, reason) in [
            ("", "write it like"),
            ("ten", "write it like"),
            ("0,100", "above 0"),
            ("50,150", "at most 100"),
            ("10,10", "rising order"),
            ("50,10", "rising order"),
            ("NaN", "above 0"),
            ("-1", "above 0"),
        ] {
            assert!(check(text).unwrap_err().contains(reason), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        let check = |text: &str| text.parse::<Every>().map(|every| every.0.as_secs());
        for (text, seconds) in [("30s", 30), ("1m", 60), ("5min", 300), ("2h", 7200), ("1d", 86400), ("90", 90)] {
            assert_eq!(check(text), Ok(seconds), "{text}");
        }
        for text in ["", "m", "0s", "-1m", "1.5m", "1w", "8d", "99999999999999999999d", "18446744073709551615h"] {
            assert!(check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_shares() {
        let check = |text: &str| text.parse::<RollbackOn>().map(|on| on.error_rate);
        for text in ["error-rate>2%", "error_rate > 0.02", " error-rate >2 %"] {
            assert_eq!(check(text), Ok(0.02), "{text}");
        }
        assert_eq!(check("error-rate>0%"), Ok(0.0));
        for text in [
            "",
            "2%",
            "latency>2%",
            "error-rate<2%",
            "error-rate>2",
            "error-rate>100%",
            "error-rate>",
            "error-rate>-1%",
        ] {
            assert!(check(text).unwrap_err().contains("'error-rate>2%'"), "{text}");
        }
    }

    #[test]
    fn a_plan_is_sent_as_the_platform_takes_it() {
        let plan = Plan {
            steps: "1,12.5,100".parse().unwrap(),
            every: "1m".parse().unwrap(),
            rollback_on: Some("error-rate>2%".parse().unwrap()),
            message: Some("try".to_owned()),
        };
        assert_eq!(
            plan.body("v1"),
            json!({ "version_id": "v1", "steps": [1, 12.5, 100], "every": 60, "rollback_on": { "error_rate": 0.02 }, "message": "try" })
        );
        let bare = Plan { rollback_on: None, message: None, ..plan };
        assert_eq!(bare.body("v1"), json!({ "version_id": "v1", "steps": [1, 12.5, 100], "every": 60 }));
    }

    #[test]
    fn an_answer_is_read() {
        let text = r#"{"id":"p","version_id":"v2","from":"v1","steps":[1,10,50,100],"every":60,"rollback_on":{"error_rate":0.02},
            "step":1,"percentage":0,"state":"rolled_back","reason":"3.1 % of 320 requests failed","requests":320,"errors":10,
            "begun_on":"2026-11-22T10:00:00Z","next_on":null}"#;
        let promotion: Promotion = serde_json::from_str(text).unwrap();
        assert_eq!((promotion.state, promotion.percentage), (State::RolledBack, 0.0));
        let error = promotion.check().unwrap_err().to_string();
        assert_eq!(error, "version v2 did not get all the traffic: 3.1 % of 320 requests failed");
        let running = Promotion { state: State::Running, ..promotion };
        assert!(running.check().is_ok());
    }
}
