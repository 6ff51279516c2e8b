//! The machines that serve the platform, and when each was heard of last.

use serde::{Deserialize, Serialize};

use crate::records::{Timestamp, from_json, json};
use crate::{Store, StoreResult};

/// How long a node is remembered of which nothing is heard, in milliseconds: a week.
const REMEMBERED: Timestamp = 7 * 24 * 3600 * 1000;

/// A machine that serves the platform, as it was when it was heard of last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id: made once for each data directory.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Skep's version.
    pub version: String,
    /// When it was started, in milliseconds since 1970.
    pub started: Timestamp,
    /// When it was heard of last, in milliseconds since 1970.
    pub last_heartbeat: Timestamp,
    /// Cores that it may use.
    pub cores: u64,
    /// Memory of the processes that run Workers, in bytes.
    pub memory_used: u64,
    /// Memory above which isolates go away, in bytes.
    pub memory_limit: u64,
    /// Bytes that the disk of the data directory has left for the platform.
    pub disk_free: u64,
    /// Bytes that it has.
    pub disk_total: u64,
    /// Processes that run Workers.
    pub runtimes: u64,
    /// How many of those died since the start.
    pub restarts: u64,
    /// Isolates with a version.
    pub isolates: u64,
}

impl Store {
    /// Writes down that a node is there, and forgets those of which nothing was heard for a week.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn beat(&self, node: &Node) -> StoreResult<()> {
        let mut writer = self.write().await;
        sqlx::query(
            "INSERT INTO nodes (id, name, last_heartbeat, document) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET name = $2, last_heartbeat = $3, document = $4",
        )
        .bind(&node.id)
        .bind(&node.name)
        .bind(node.last_heartbeat)
        .bind(json(node)?)
        .execute(&mut *writer)
        .await?;
        sqlx::query("DELETE FROM nodes WHERE last_heartbeat < $1")
            .bind(node.last_heartbeat - REMEMBERED)
            .execute(&mut *writer)
            .await?;
        Ok(())
    }

    /// The nodes that were heard of in the last week, by their names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn nodes(&self) -> StoreResult<Vec<Node>> {
        let rows = sqlx::query("SELECT document FROM nodes ORDER BY name, id").fetch_all(self.readers()).await?;
        rows.iter().map(|row| from_json(row, "document")).collect()
    }
}
