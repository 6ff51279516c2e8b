//! What the control plane is told.

use std::sync::Arc;
use std::time::Duration;

use skep_control::{Analytics, Insights, NodeStatus, Status, StatusAlert, StatusKind};
use skep_store::Node;
use time::OffsetDateTime;

use crate::health::alerts::{Check, Told};
use crate::health::{Health, checks, is_grave, milliseconds};
use crate::series::Series;

/// Sees how the platform and its Workers do.
pub(crate) struct Watch {
    pub(crate) series: Arc<Series>,
    pub(crate) health: Arc<Health>,
}

impl Insights for Watch {
    fn analytics(&self, account: &str, worker: Option<&str>, since: Duration) -> Analytics {
        self.series.analytics(account, worker, since)
    }

    fn status(&self, account: &str, operator: bool) -> Status {
        self.health.status(account, operator)
    }
}

impl Health {
    fn status(&self, account: &str, operator: bool) -> Status {
        let now = milliseconds(OffsetDateTime::now_utc());
        let state = self.state();
        let is_own = |told: &&Told| operator || told.finding.account.as_deref() == Some(account);
        let alerts: Vec<StatusAlert> = state.alerts.told().iter().filter(is_own).map(shown).collect();
        let is_down = state.checks.iter().any(|check| !check.ok && is_grave(&check.name));
        // How other accounts' Workers do is nothing that the platform can do about.
        let of_platform = |name: &str| operator || name != Check::Worker.name();
        let is_well = alerts.is_empty() && state.checks.iter().all(|check| check.ok || !of_platform(&check.name));
        let status = match (is_down, is_well) {
            (true, _) => StatusKind::Down,
            (false, true) => StatusKind::Ok,
            (false, false) => StatusKind::Degraded,
        };
        let (nodes, checks) = if operator {
            (state.nodes.iter().map(|node| node_status(node, now)).collect(), state.checks.clone())
        } else {
            (Vec::new(), Vec::new())
        };
        Status { status, version: env!("CARGO_PKG_VERSION").to_owned(), now, nodes, checks, alerts }
    }
}

fn shown(told: &Told) -> StatusAlert {
    StatusAlert { event: told.event(), message: told.finding.message.clone(), since: told.since }
}

fn node_status(node: &Node, now: i64) -> NodeStatus {
    NodeStatus { up: !checks::is_down(node, now), node: node.clone() }
}
