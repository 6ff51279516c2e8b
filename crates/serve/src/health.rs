//! Whether the platform is well: it looks at itself every few seconds, says so to who asks, and tells people when something begins to be wrong and
//! when that is over ([`alerts`]).
//!
//! A node says in the store that it is there. One of which nothing is heard for 15 s is down; the others notice.

mod alerts;
mod checks;
mod node;
mod status;

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skep_control::CheckStatus;
use skep_store::{Node, Store};
use time::OffsetDateTime;

use crate::Tell;
use crate::canary::Canary;
use crate::certificates::Expiries;
use crate::delivery::Delivery;
use crate::health::alerts::{Alerts, Check, Finding, Told};
use crate::health::node::Identity;
use crate::metering::Metering;
use crate::runtimes::Runtimes;
use crate::series::Series;
use crate::settings::HealthSettings;

pub(crate) use status::Watch;

/// How often it is looked, and said in the store that this node is there.
const OFTEN: Duration = Duration::from_secs(5);
/// How often the canary runs.
const CANARY: Duration = Duration::from_secs(10);
/// How often the canary may fail in a row, the store be late or a process that runs Workers be silent, before that means something.
const MOST_FAILURES: u32 = 2;
/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// A node of which nothing was heard for so long is down.
const SILENT: Duration = Duration::from_secs(15);
/// The part of the window that something must be gone before it is over.
const CALM: u32 = 5;
/// The file of the alerts that were told and are not over, in the data directory.
const FILE: &str = "alerts.json";

/// What is looked at.
pub(crate) struct Parts {
    pub(crate) settings: HealthSettings,
    pub(crate) data_dir: PathBuf,
    /// Where the platform answers.
    pub(crate) address: String,
    /// In bytes.
    pub(crate) memory_limit: u64,
    pub(crate) store: Store,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) series: Arc<Series>,
    pub(crate) metering: Arc<Metering>,
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) canary: Arc<Canary>,
    pub(crate) expiries: Expiries,
    pub(crate) tell: Tell,
}

/// Looks, and says how things are.
pub(crate) struct Health {
    parts: Parts,
    identity: Identity,
    state: Mutex<State>,
}

struct State {
    alerts: Alerts,
    /// As they were at the last look.
    checks: Vec<CheckStatus>,
    nodes: Vec<Node>,
    canary: Ran,
    /// How often in a row the store did not answer in time. Once is no more than a long transaction.
    late: u32,
    /// How often in a row processes that run Workers did not answer, by the kernel's numbers.
    silent: HashMap<u32, u32>,
    /// How many processes had died at each look, in the last window.
    deaths: VecDeque<(Instant, u64)>,
}

/// How the canary did.
#[derive(Clone, Debug, Default)]
struct Ran {
    failures: u32,
    /// The last failure. Nothing if it answered.
    reason: Option<String>,
    took: Duration,
}

/// What one check found.
struct Looked {
    check: Check,
    took: Duration,
    found: Vec<Finding>,
    /// What is said if nothing was found.
    well: String,
}

impl Health {
    /// Knows nothing yet: [`Self::run`] looks.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub(crate) fn new(parts: Parts) -> std::io::Result<Arc<Self>> {
        let identity = Identity::of(&parts.data_dir, parts.settings.node_name.clone())?;
        let remembered = remembered(&parts.data_dir.join(FILE));
        let state = State {
            alerts: Alerts::new(parts.settings.window / CALM, remembered, Instant::now()),
            checks: Vec::new(),
            nodes: Vec::new(),
            canary: Ran::default(),
            late: 0,
            silent: HashMap::new(),
            deaths: VecDeque::new(),
        };
        Ok(Arc::new(Self { parts, identity, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        tokio::spawn(Arc::clone(&self).run_canary());
        let mut ticks = tokio::time::interval(OFTEN);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    async fn run_canary(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(CANARY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let begun = Instant::now();
            let ran = self.parts.canary.run(&self.parts.runtimes).await;
            let canary = &mut self.state().canary;
            canary.took = begun.elapsed();
            canary.failures = if ran.is_ok() { 0 } else { canary.failures.saturating_add(1) };
            canary.reason = ran.err();
        }
    }

    /// Looks at everything once, and tells people what begins and what is over.
    async fn look(&self) {
        let told = self.parts.runtimes.usage().await;
        let looked = checks::all(self, &told).await;
        let now = OffsetDateTime::now_utc();
        let at = milliseconds(now);
        let shown = looked.iter().map(|looked| looked.shown(at)).collect();
        let found = looked.into_iter().flat_map(|looked| looked.found).collect();
        let (alerts, told) = {
            let mut state = self.state();
            state.checks = shown;
            let alerts = state.alerts.update(found, Instant::now(), now);
            (alerts, state.alerts.told())
        };
        if alerts.is_empty() {
            return;
        }
        // Before they are told: what is not remembered is told twice at worst.
        let path = self.parts.data_dir.join(FILE);
        if let Err(error) = remember(&path, &told) {
            (self.parts.tell)(&format!("{}: {error}. Alerts may be told again after a restart", path.display()));
        }
        for alert in alerts {
            (self.parts.tell)(&format!("{}: {}", alert.title, alert.text));
            self.parts.delivery.alert(alert).await;
        }
    }

    /// What the last look found.
    pub(crate) fn checks(&self) -> Vec<CheckStatus> {
        self.state().checks.clone()
    }

    /// Why no requests should come here. Nothing if they may.
    pub(crate) fn refusal(&self) -> Option<String> {
        let state = self.state();
        let grave = state.checks.iter().filter(|check| !check.ok && is_grave(&check.name));
        grave.map(|check| format!("{}: {}", check.name, check.message)).next()
    }
}

/// Whether requests cannot be answered without it.
fn is_grave(check: &str) -> bool {
    [Check::Canary, Check::Store].iter().any(|grave| grave.name() == check)
}

impl Looked {
    /// As the API shows it, with the time of the look.
    fn shown(&self, at: i64) -> CheckStatus {
        let message = match &self.found[..] {
            [] => self.well.clone(),
            [first] => first.message.clone(),
            [first, more @ ..] => format!("{}; and {} more", first.message, more.len()),
        };
        let took_ms = self.took.as_secs_f64() * 1000.0;
        CheckStatus { name: self.check.name().to_owned(), ok: self.found.is_empty(), message, at, took_ms }
    }
}

pub(crate) fn milliseconds(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

/// The alerts that were told before the start. A file that cannot be read is none: they are told again then.
fn remembered(path: &Path) -> Vec<Told> {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn remember(path: &Path, told: &[Told]) -> std::io::Result<()> {
    let begun = path.with_extension("new");
    fs::write(&begun, serde_json::to_vec(told)?)?;
    fs::rename(&begun, path)
}
