//! In place of those who run Workers: nothing is run.

use std::sync::Mutex;
use std::time::Duration;

use skep_control::{
    Analytics, Bills, Checking, Crons, Decided, Deciding, DecisionError, Deliveries, FailedDelivery, Insights,
    Invoiced, Owner, Preparation, Proofs, Reading, Rotated, Rotating, RotationError, Rotations, Running, Runtime,
    Stands, Started, Status, Trial, Trials, Undelivered, Unproved, WhichDeliveries,
};
use skep_meter::{
    Comparison, Month, Observed, Plan, Question, Report, Reporter, Standing, Terms, Totals, Verification, Vm, compare,
};
use skep_observe::Tails;
use skep_store::{Actor, MasterKeys, Store};
use skep_worker::Version;
use uuid::Uuid;

/// Starts nothing: no script gets so far in these tests.
struct NoTrials;

impl Trials for NoTrials {
    fn start(&self, _: Version) -> Trial<'_> {
        Box::pin(std::future::ready(Ok(Started::default())))
    }

    fn prepare(&self, _: Uuid, _: Uuid) -> Preparation<'_> {
        Box::pin(std::future::ready(()))
    }
}

/// Runs nothing.
struct Nobody;

impl Crons for Nobody {
    fn run<'t>(&'t self, _: &'t str, _: &'t str, _: &'t str, _: i64) -> Running<'t> {
        Box::pin(std::future::ready(None))
    }
}

/// Finds the proof of domains that end in `.proved`.
struct ProvedByName;

impl Proofs for ProvedByName {
    fn check<'c>(&'c self, domain: &'c str, challenge: &'c str) -> Checking<'c> {
        let tried = ["DNS has no name", "the file answers 404"].map(|tried| format!("{tried} ({challenge})"));
        let proved = domain.ends_with(".proved");
        Box::pin(std::future::ready(if proved { Ok("dns".to_owned()) } else { Err(Unproved { tried: tried.into() }) }))
    }
}

/// Keeps the master key nowhere but in the store. Refuses whoever is called `refused`.
struct InMemory(Store);

impl Rotations for InMemory {
    fn kept_in(&self) -> &'static str {
        "memory"
    }

    fn rotate(&self, actor: Actor) -> Rotating<'_> {
        Box::pin(async move {
            if actor.name == "refused" {
                return Err(RotationError::Refused("put the new key there".to_owned()));
            }
            let former = self.0.take_master_key(&actor, &MasterKeys::generate()).await;
            let former = former.map_err(|error| RotationError::Failed(error.to_string()))?;
            let resealed = self.0.reseal().await.map_err(|error| RotationError::Failed(error.to_string()))?;
            Ok(Rotated { key: self.0.master_key_name(), former, resealed })
        })
    }
}

/// Nothing was used.
struct Unused;

impl Bills for Unused {
    fn plans(&self) -> &[Plan] {
        Plan::shipped()
    }

    fn stands(&self, _: &str) -> Stands {
        Stands { plan: Plan::shipped()[0].clone(), terms: Terms::default(), standing: Standing::default() }
    }

    fn agreed<'b>(&'b self, _: &'b str) -> Reading<'b, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn invoice<'b>(&'b self, _: &'b Owner, _: Month) -> Reading<'b, Invoiced> {
        let nothing = Invoiced { document: serde_json::json!({}), csv: String::new(), html: String::new() };
        Box::pin(std::future::ready(Ok(nothing)))
    }

    fn compare<'b>(&'b self, _: &'b Owner, month: Month, vm: Vm) -> Reading<'b, Comparison> {
        let (usage, plans) = (Totals::default(), Plan::shipped());
        let observed = Observed { usage: &usage, month, covered: Duration::ZERO };
        Box::pin(std::future::ready(Ok(compare(&observed, plans, &vm, &plans[0]))))
    }

    fn report(&self, question: Question) -> Reading<'_, Report> {
        Box::pin(std::future::ready(Ok(Reporter::new(question).finish())))
    }

    fn verify(&self) -> Reading<'_, Verification> {
        Box::pin(std::future::ready(Ok(Verification::default())))
    }
}

/// Sees nothing.
struct Blind;

impl Insights for Blind {
    fn status(&self, _: &str, _: bool) -> Status {
        Status::default()
    }

    fn analytics(&self, _: &str, _: Option<&str>, _: Duration) -> Analytics {
        Analytics::default()
    }
}

/// One delivery failed, until somebody decides.
#[derive(Default)]
struct OneFailed(Mutex<bool>);

impl OneFailed {
    fn failed(&self) -> Vec<FailedDelivery> {
        let one = FailedDelivery {
            id: "msg_1".to_owned(),
            destination: "hook".to_owned(),
            kind: "alert".to_owned(),
            ..FailedDelivery::default()
        };
        if *self.0.lock().expect("nobody panics here") { Vec::new() } else { vec![one] }
    }

    fn decide(&self, which: &WhichDeliveries) -> Result<Decided, DecisionError> {
        if which.ids.as_ref().is_some_and(|ids| *ids != ["msg_1"]) {
            return Err(DecisionError::Unknown("there is no such delivery".to_owned()));
        }
        let failed = self.failed();
        *self.0.lock().expect("nobody panics here") = true;
        Ok(Decided { failed, waiting: 0 })
    }
}

impl Deliveries for OneFailed {
    fn undelivered(&self, _: Option<&str>, most: usize) -> Result<Undelivered, DecisionError> {
        Ok(Undelivered { destinations: Vec::new(), failed: self.failed().into_iter().take(most).collect() })
    }

    fn retry(&self, which: WhichDeliveries) -> Deciding<'_> {
        Box::pin(std::future::ready(self.decide(&which)))
    }

    fn forget(&self, which: WhichDeliveries) -> Deciding<'_> {
        Box::pin(std::future::ready(self.decide(&which)))
    }
}

/// All of them, for a store.
pub(crate) fn none(store: Store) -> Runtime {
    Runtime {
        trials: Box::new(NoTrials),
        crons: Box::new(Nobody),
        proofs: Box::new(ProvedByName),
        rotations: Box::new(InMemory(store)),
        tails: Tails::start().expect("a thread"),
        bills: Box::new(Unused),
        logs: None,
        insights: Box::new(Blind),
        deliveries: Box::new(OneFailed::default()),
    }
}
