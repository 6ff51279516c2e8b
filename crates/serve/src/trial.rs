//! Starting an upload once, and again before it is deployed, where its requests will go: in a process that runs Workers.

use std::sync::Arc;

use skep_control::{Preparation, Started, Trial, TrialFailure, Trials};
use skep_link::wire;
use skep_worker::Version;
use uuid::Uuid;

use crate::runtimes::Runtimes;

pub(crate) struct Elsewhere(pub(crate) Arc<Runtimes>);

impl Trials for Elsewhere {
    fn start(&self, version: Version) -> Trial<'_> {
        Box::pin(async move {
            let started = self.0.ask::<Result<wire::Started, String>>("trial", &wire::Version::from(&version)).await;
            let wire::Started { handlers, code, startup_time_ms } = started
                .map_err(|error| TrialFailure(format!("The script was not started: {error}. Upload it again")))?
                .map_err(TrialFailure)?;
            let code = code.into_iter().map(|(name, code)| (name, code.into_vec().into())).collect();
            Ok(Started { handlers, startup_time_ms, code })
        })
    }

    fn prepare(&self, worker: Uuid, version: Uuid) -> Preparation<'_> {
        // What goes wrong is told to the first request.
        Box::pin(async move { drop(self.0.ask::<()>("prepare", &(worker, version)).await) })
    }
}
