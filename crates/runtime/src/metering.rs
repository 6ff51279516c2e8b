//! Has the supervisor write down what was used here.

use std::sync::Arc;
use std::time::Duration;

use skep_meter::Meter;
use tokio::sync::Mutex;

use crate::supervisor::Supervisor;

/// How often what was counted is told. What is not told when the process is killed is not billed.
const OFTEN: Duration = Duration::from_millis(250);
/// How long what was counted last may take to be told when the process stops, at least.
const LEAST: Duration = Duration::from_secs(2);

/// Tells what is counted.
pub(crate) struct Metering {
    meter: Arc<Meter>,
    supervisor: Arc<Supervisor>,
    /// Held by who tells: one batch is under way at a time.
    telling: Mutex<()>,
}

impl Metering {
    /// Tells what is counted from now on, as long as the process lives.
    pub(crate) fn start(meter: Arc<Meter>, supervisor: Arc<Supervisor>) -> Arc<Self> {
        let metering = Arc::new(Self { meter, supervisor, telling: Mutex::default() });
        let own = Arc::clone(&metering);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(OFTEN);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                own.tell().await;
            }
        });
        metering
    }

    /// Tells everything that was counted. What is not taken is told again the next time: it has the same number then.
    async fn tell(&self) -> bool {
        let _telling = self.telling.lock().await;
        while let Some(batch) = self.meter.batch() {
            if self.supervisor.call::<()>("metered", &batch).await.is_err() {
                return false;
            }
            self.meter.arrived(batch.number);
        }
        true
    }

    /// Tells what was counted last, for as long as `most`.
    pub(crate) async fn flush(&self, most: Duration) {
        let all = async {
            while !self.tell().await {
                tokio::time::sleep(OFTEN).await;
            }
        };
        let _ = tokio::time::timeout(most.max(LEAST), all).await;
    }
}
