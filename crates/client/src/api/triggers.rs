//! What starts a Worker besides requests: cron triggers.

use ::http::Method;
use serde::Deserialize;
use serde_json::{Value, json as value};

use super::{Api, CronRun, Root, Schedule, json, segment};
use crate::error::Result;

#[derive(Deserialize)]
struct Schedules {
    schedules: Vec<Schedule>,
}

impl Api {
    /// A Worker's cron triggers.
    ///
    /// # Errors
    /// When there is no such Worker.
    pub async fn schedules(&self, worker: &str) -> Result<Vec<Schedule>> {
        let found: Schedules =
            self.get(Root::Account, &format!("/workers/scripts/{}/schedules", segment(worker))).await?;
        Ok(found.schedules)
    }

    /// Replaces a Worker's cron triggers.
    ///
    /// # Errors
    /// When one of them is no cron expression.
    pub async fn put_schedules(&self, worker: &str, crons: &[String]) -> Result<()> {
        let sent: Vec<Value> = crons.iter().map(|cron| value!({ "cron": cron })).collect();
        let path = format!("/workers/scripts/{}/schedules", segment(worker));
        self.send::<Value>(Method::PUT, Root::Account, &path, json(sent)).await.map(drop)
    }

    /// Runs a Worker's scheduled handler now, and waits for it. Without an expression it is that of the Worker's only trigger.
    ///
    /// # Errors
    /// When there is no such Worker, or nothing of it is deployed. A handler that fails is an answer.
    pub async fn run_cron(&self, worker: &str, cron: Option<&str>) -> Result<CronRun> {
        let path = format!("/workers/{}/crons/run", segment(worker));
        self.send(Method::POST, Root::Own, &path, json(value!({ "cron": cron }))).await
    }
}
