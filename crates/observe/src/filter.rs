//! Which events somebody who watches wants to see. The names are those that wrangler sends.
//! <https://developers.cloudflare.com/api/resources/workers/subresources/scripts/subresources/tail/methods/create/>

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use http::HeaderMap;
use serde::Deserialize;
use skep_worker::Outcome;

use crate::{EventRecord, Source, Trigger};

/// Why a filter is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A share of events that is none.
    #[error("\"sampling_rate\" is {0}: use a number above 0, up to 1")]
    SamplingRate(String),
    /// An outcome that no event has.
    #[error(
        "\"{0}\" is no outcome: use ok, exception, canceled, exceededCpu, exceededMemory, responseStreamDisconnected, scriptNotFound or unknown"
    )]
    Outcome(String),
    /// A filter without a word that is known.
    #[error(
        "a filter is an object with one of sampling_rate, outcome, method, header, client_ip, query, scriptVersion"
    )]
    Unknown,
}

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Filter {
    sampling_rate: Option<f64>,
    outcome: Option<Vec<String>>,
    method: Option<Vec<String>>,
    header: Option<HeaderFilter>,
    client_ip: Option<Vec<String>>,
    query: Option<String>,
    #[serde(rename = "scriptVersion")]
    script_version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct HeaderFilter {
    key: String,
    query: Option<String>,
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters(Vec<Filter>);

impl Filters {
    /// Takes conditions, once they are checked. The address `self` stands for that of `viewer`.
    ///
    /// # Errors
    /// When one of them says nothing, or something that no event has.
    pub fn new(mut filters: Vec<Filter>, viewer: Option<&str>) -> Result<Self, FilterError> {
        for filter in &mut filters {
            if *filter == Filter::default() {
                return Err(FilterError::Unknown);
            }
            if let Some(rate) = filter.sampling_rate.filter(|rate| !(*rate > 0.0 && *rate <= 1.0)) {
                return Err(FilterError::SamplingRate(rate.to_string()));
            }
            for outcome in filter.outcome.iter().flatten() {
                let known: Result<Outcome, _> = serde_json::from_value(outcome.as_str().into());
                known.map_err(|_| FilterError::Outcome(outcome.clone()))?;
            }
            for address in filter.client_ip.iter_mut().flatten().filter(|address| *address == "self") {
                *address = viewer.unwrap_or_default().to_owned();
            }
        }
        Ok(Self(filters))
    }

    /// Whether only events that failed are to be seen.
    pub(crate) fn only_failures(&self) -> bool {
        let succeeded = |outcome: &String| ["ok", "canceled"].iter().any(|name| outcome.eq_ignore_ascii_case(name));
        self.0.iter().any(|filter| filter.outcome.as_ref().is_some_and(|outcomes| !outcomes.iter().any(succeeded)))
    }

    /// Whether an event is to be seen.
    pub(crate) fn admit(&self, source: &Source, record: &EventRecord) -> bool {
        self.0.iter().all(|filter| filter.admits(source, record))
    }
}

impl Filter {
    fn admits(&self, source: &Source, record: &EventRecord) -> bool {
        let details = record.details.as_deref();
        let method = match &record.trigger {
            Trigger::Fetch { method, .. } => Some(method.as_str()),
            _ => None,
        };
        let header = |name: &str| details.and_then(|details| text(&details.headers, name));
        let outcome = crate::trace::name(record.outcome);
        is_one(self.outcome.as_deref(), Some(outcome))
            && is_one(self.method.as_deref(), method)
            && is_one(self.client_ip.as_deref(), header("cf-connecting-ip"))
            && self.script_version.as_ref().is_none_or(|version| **version == *source.version)
            && self.header.as_ref().is_none_or(|wanted| {
                header(&wanted.key).is_some_and(|value| {
                    wanted.query.as_ref().is_none_or(|query| value.to_lowercase().contains(&query.to_lowercase()))
                })
            })
            && self.query.as_ref().is_none_or(|query| {
                details.is_some_and(|details| details.logs.iter().any(|line| line.message.contains(query)))
            })
            && self.sampling_rate.is_none_or(|rate| rate >= 1.0 || random() < rate)
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_one(wanted: Option<&[String]>, value: Option<&str>) -> bool {
    wanted
        .is_none_or(|wanted| value.is_some_and(|value| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))))
}

/// A number from 0 to 1.
fn random() -> f64 {
    static RANDOM: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let hash = RANDOM.hash_one(COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}
