//! The feed of changes: what those who serve requests must know of each Worker.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Store, StoreResult};

/// One version's share of a deployment's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The version.
    pub version_id: Uuid,
    /// Its percentage, 0 to 100. All of a deployment's add up to 100.
    pub percentage: f64,
}

/// All that is needed to find a Worker for a request, and its current deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveWorker {
    /// The account's id.
    pub account_id: String,
    /// The account's label in addresses.
    pub subdomain: String,
    /// The Worker's id, the same as long as it exists.
    pub id: Uuid,
    /// Its name, unique in the account.
    pub name: String,
    /// Whether it answers at `<name>.<subdomain>.<domain>`.
    pub workers_dev: bool,
    /// Whether its versions answer at addresses of their own.
    pub previews: bool,
    /// The current deployment; empty when nothing is deployed.
    pub deployment: Vec<Share>,
    /// Patterns of routes to it.
    pub routes: Vec<String>,
    /// Custom domains: host names that are its own.
    pub domains: Vec<String>,
    /// Cron expressions.
    pub crons: Vec<String>,
    /// What becomes of its events, beside being counted.
    pub observability: Observability,
}

/// What becomes of a Worker's events, beside being counted.
/// <https://developers.cloudflare.com/workers/wrangler/configuration/#observability>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observability {
    /// The share of them that is kept, from 0 to 1.
    pub logs: f32,
    /// Only those are kept that printed something or failed.
    pub only_custom: bool,
    /// The share of them that is traced, from 0 to 1.
    pub traces: f32,
    /// The names of the account's Workers that get them.
    pub consumers: Vec<String>,
}

/// Something that those who serve requests must know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// A Worker is new, or anything about it is.
    Worker(Box<LiveWorker>),
    /// A Worker is gone.
    Deleted {
        /// Its id.
        id: Uuid,
    },
}

pub(crate) type Listener = Box<dyn Fn(&[Change]) + Send + Sync>;

impl Store {
    /// Calls a function with every Worker there is, many at a time, and from then on with the changes of each commit, in the
    /// order of the commits and before they are acknowledged. The function must not block.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn subscribe(&self, listener: impl Fn(&[Change]) + Send + Sync + 'static) -> StoreResult<()> {
        // Nothing changes while the Workers are read.
        let mut writer = self.write().await;
        self.live_workers(&mut writer, &listener).await?;
        self.add_listener(Box::new(listener));
        Ok(())
    }
}
