//! Has the supervisor write down what was used here.

use std::sync::Arc;
use std::time::Duration;

use skep_meter::Meter;
use tokio::sync::Mutex;

use crate::supervisor::Supervisor;

/// How often what was counted is told. What is not told when the process is killed is not billed.
const OFTEN: Duration = Duration::from_millis(500);
/// How soon it is told again when the process stops.
const SOON: Duration = Duration::from_millis(10);
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

    /// Tells what was counted since this was done last. Gives whether there is nothing left that was not taken: it is told again the next
    /// time, and has the same number then.
    async fn tell(&self) -> bool {
        let _telling = self.telling.lock().await;
        let Some(counted) = self.meter.batch() else { return true };
        if self.supervisor.call::<()>("metered", &counted).await.is_ok() {
            self.meter.arrived(counted.batch.number);
        } else if let Some(more) = self.meter.meanwhile() {
            // How Workers do is seen all the same. What gets lost of that is billed.
            drop(self.supervisor.call::<()>("doing", &more).await);
        }
        false
    }

    /// Tells what was counted last, for as long as `most`. Nothing may be counted any more.
    pub(crate) async fn flush(&self, most: Duration) {
        let all = async {
            while !self.tell().await {
                tokio::time::sleep(SOON).await;
            }
        };
        let _ = tokio::time::timeout(most.max(LEAST), all).await;
    }
}
