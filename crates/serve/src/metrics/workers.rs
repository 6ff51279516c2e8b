//! What each Worker did, for those that have metrics of their own; all others together are the Worker `other` of no account.

use std::fmt;
use std::iter::once;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use skep_meter::Latency;
use skep_worker::Outcome;

use crate::series::{Named, SERVER_ERROR, Series, Totals};

/// The name under which those are told that have no metrics of their own.
const OTHER: &str = "other";

/// What is told of Workers.
#[derive(Debug)]
pub(super) struct Workers(Vec<(Named, Totals)>);

/// Labels of one series.
type Labels<'l> = [(&'static str, &'l str); 2];

impl Workers {
    /// As it is now.
    pub(super) fn of(series: &Series) -> Self {
        let (mut workers, other) = series.totals();
        // The same order each time.
        workers.sort_by(|(one, _), (other, _)| one.cmp(other));
        workers.push((("".into(), OTHER.into()), other));
        Self(workers)
    }

    fn each(&self) -> impl Iterator<Item = (Labels<'_>, &Totals)> {
        self.0.iter().map(|((account, worker), totals)| ([("account", &**account), ("worker", &**worker)], totals))
    }

    fn counter(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, unit): (&str, &str, Option<&Unit>),
        value: impl Fn(&Totals) -> f64,
    ) -> fmt::Result {
        let mut encoder = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, totals) in self.each() {
            ConstCounter::new(value(totals)).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn errors(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Events that failed, by how they ended; serverError is a status of 500 or more";
        let mut encoder = encoder.encode_descriptor("request_errors", help, None, MetricType::Counter)?;
        for ([account, worker], totals) in self.each() {
            let failed = Outcome::ALL.into_iter().zip(totals.failed).filter(|(_, failed)| *failed > 0);
            let failed = failed.map(|(outcome, failed)| (name(outcome), failed));
            // So that every Worker has a series from the beginning, and a rate with its first failure.
            let all = failed.chain(once((SERVER_ERROR.to_owned(), totals.latency.server_errors)));
            for (outcome, failed) in all {
                let labels = [account, worker, ("outcome", outcome.as_str())];
                ConstCounter::new(failed).encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (help, unit) = ("From the beginning of an event to its end", Unit::Seconds);
        let mut encoder = encoder.encode_descriptor("request_duration", help, Some(&unit), MetricType::Histogram)?;
        let bounds = Latency::BOUNDS.map(|bound| bound as f64 / 1e6);
        for (labels, totals) in self.each() {
            let counts = totals.latency.counts.into_iter();
            let buckets: Vec<(f64, u64)> = bounds.into_iter().chain(once(f64::INFINITY)).zip(counts).collect();
            let sum = totals.wall_us as f64 / 1e6;
            let mut encoder = encoder.encode_family(&labels)?;
            encoder.encode_histogram::<Labels<'_>>(sum, totals.latency.events(), &buckets, None)?;
        }
        Ok(())
    }
}

/// The name that `wrangler tail` has for it.
fn name(outcome: Outcome) -> String {
    serde_json::to_value(outcome).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Collector for Workers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (encoder, seconds, bytes) = (&mut encoder, Some(&Unit::Seconds), Some(&Unit::Bytes));
        self.counter(encoder, ("requests", "Events that ended", None), |totals| totals.requests as f64)?;
        self.errors(encoder)?;
        self.durations(encoder)?;
        let cpu = ("cpu", "CPU time of Workers", seconds);
        self.counter(encoder, cpu, |totals| totals.cpu_us as f64 / 1e6)?;
        let starts = ("worker_cold_starts", "Isolates that had to be started for a Worker", None);
        self.counter(encoder, starts, |totals| totals.cold_starts as f64)?;
        let received = ("received", "Bodies of requests that Workers read", bytes);
        self.counter(encoder, received, |totals| totals.bytes_in as f64)?;
        let sent = ("sent", "Bodies of responses", bytes);
        self.counter(encoder, sent, |totals| totals.bytes_out as f64)?;
        let made = ("subrequests", "Requests that Workers made", None);
        self.counter(encoder, made, |totals| totals.subrequests as f64)
    }
}
