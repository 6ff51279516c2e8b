//! Versions that do not run where all others do.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use skep_exchange::Failure;
use uuid::Uuid;

/// Where a version runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here, as all do.
    Here,
    /// In a process of its own.
    Own,
    /// Nowhere, and why: for who asks for it.
    Nowhere(Arc<str>),
}

/// The versions that are not here. There are few, and mostly none.
#[derive(Debug, Default)]
pub struct Places(ArcSwapOption<HashMap<Uuid, Place>>);

impl Places {
    /// Where a version runs.
    pub fn of(&self, version: Uuid) -> Place {
        match &*self.0.load() {
            None => Place::Here,
            Some(places) => places.get(&version).cloned().unwrap_or(Place::Here),
        }
    }

    pub(crate) fn set(&self, version: Uuid, place: Place) {
        self.0.rcu(|places| {
            let mut places = places.as_deref().cloned().unwrap_or_default();
            match &place {
                Place::Here => places.remove(&version),
                place => places.insert(version, place.clone()),
            };
            Some(places).filter(|places| !places.is_empty()).map(Arc::new)
        });
    }

    /// What who wants to load the version here gets instead.
    pub(crate) fn refusal(&self, version: Uuid, worker: &str) -> Option<Failure> {
        match self.of(version) {
            Place::Here => None,
            Place::Own => Some(Failure::unusable(format!(
                "The Worker {worker} runs in a process of its own for now, as processes died while its code ran: only requests reach it there, no calls of other Workers"
            ))),
            Place::Nowhere(reason) => Some(Failure::unusable(&*reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Places};
    use uuid::Uuid;

    #[test]
    fn a_version_goes_and_comes_back() {
        let (places, version) = (Places::default(), Uuid::from_u128(1));
        assert!(places.of(version) == Place::Here && places.refusal(version, "w").is_none());
        places.set(version, Place::Own);
        assert!(places.refusal(version, "w").is_some_and(|failure| failure.message.contains("process of its own")));
        places.set(version, Place::Nowhere("because".into()));
        assert!(places.refusal(version, "w").is_some_and(|failure| failure.message == "because"));
        assert_eq!(places.of(Uuid::from_u128(2)), Place::Here);
        places.set(version, Place::Here);
        assert!(places.of(version) == Place::Here && places.0.load().is_none());
    }
}
