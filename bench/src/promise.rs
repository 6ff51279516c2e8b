//! The numbers of `docs/SPECIFICATION.md` that this program enforces.

use crate::table::{Table, number};

/// A number that we promise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    /// How the specification and the tables call it.
    pub(crate) name: &'static str,
    bound: Bound,
    unit: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

/// What was measured for a promise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finding {
    pub(crate) promise: Promise,
    pub(crate) value: f64,
}

/// Hello JSON in requests per second on one core, over workerd's.
pub(crate) const HELLO_WORKERD: Promise = Promise { name: "hello-workerd", bound: Bound::AtLeast(4.0), unit: "×" };
/// Hello JSON in requests per second on one core, over Deno.serve's.
pub(crate) const HELLO_DENO: Promise = Promise { name: "hello-deno", bound: Bound::AtLeast(0.5), unit: "×" };
/// The median latency on one connection, less a raw hyper server's.
pub(crate) const LATENCY: Promise = Promise { name: "latency", bound: Bound::AtMost(100.0), unit: "µs" };
/// The median from the command to the first answer.
pub(crate) const START: Promise = Promise { name: "start", bound: Bound::AtMost(300.0), unit: "ms" };
/// The median from a saved file to its answer.
pub(crate) const RELOAD: Promise = Promise { name: "reload", bound: Bound::AtMost(80.0), unit: "ms" };
/// Requests that failed while a file was reloaded.
pub(crate) const RELOAD_FAILURES: Promise =
    Promise { name: "reload-failures", bound: Bound::AtMost(0.0), unit: "requests" };
/// What memory grows by while 1 GB streams through a Worker.
pub(crate) const STREAM_1GB: Promise = Promise { name: "stream-1gb", bound: Bound::Below(20.0), unit: "MB" };
/// The 99th percentile from the acknowledgement of a deploy to the new version's answer.
pub(crate) const DEPLOY: Promise = Promise { name: "deploy", bound: Bound::AtMost(100.0), unit: "ms" };
/// Requests that failed while versions were deployed and rolled back.
pub(crate) const DEPLOY_LOST: Promise = Promise { name: "deploy-lost", bound: Bound::AtMost(0.0), unit: "requests" };
/// Answers of a version that was not live while the request was under way.
pub(crate) const DEPLOY_WRONG: Promise = Promise { name: "deploy-wrong", bound: Bound::AtMost(0.0), unit: "answers" };
/// From the command to the answer of `/readyz`, with 100,000 Workers.
pub(crate) const WORKERS_START: Promise = Promise { name: "workers-start", bound: Bound::Below(5.0), unit: "s" };
/// Memory for each of 100,000 Workers that nobody visits.
pub(crate) const WORKERS_MEMORY: Promise =
    Promise { name: "workers-memory", bound: Bound::AtMost(1024.0), unit: "bytes" };
/// A small static file through `skep serve` in requests per second on one core, over a raw hyper server's.
pub(crate) const ASSETS_SERVE: Promise = Promise { name: "assets-serve", bound: Bound::AtLeast(0.7), unit: "×" };

/// The first request of a Worker, without spare isolates: median and 99th percentile.
pub(crate) const COLD_P50: Promise = Promise { name: "cold-p50", bound: Bound::AtMost(4.0), unit: "ms" };
pub(crate) const COLD_P99: Promise = Promise { name: "cold-p99", bound: Bound::AtMost(15.0), unit: "ms" };
/// The same with spare isolates.
pub(crate) const COLD_SPARE_P50: Promise = Promise { name: "cold-spare-p50", bound: Bound::AtMost(1.2), unit: "ms" };
pub(crate) const COLD_SPARE_P99: Promise = Promise { name: "cold-spare-p99", bound: Bound::AtMost(5.0), unit: "ms" };
/// The median first request of a Worker with a bundle of 1 MB.
pub(crate) const COLD_LARGE: Promise = Promise { name: "cold-large", bound: Bound::AtMost(15.0), unit: "ms" };
/// The 99th percentile of the first requests of 1,000 Workers, 16 in flight.
pub(crate) const COLD_CROWD: Promise = Promise { name: "cold-crowd", bound: Bound::AtMost(100.0), unit: "ms" };
/// Of all of these, how many failed.
pub(crate) const COLD_CROWD_LOST: Promise = Promise { name: "cold-lost", bound: Bound::AtMost(0.0), unit: "requests" };
/// The p99 half a second after a burst began, over the steady state's.
pub(crate) const BURST: Promise = Promise { name: "burst", bound: Bound::AtMost(2.0), unit: "×" };
/// Requests of bursts that failed.
pub(crate) const BURST_LOST: Promise = Promise { name: "burst-lost", bound: Bound::AtMost(0.0), unit: "requests" };
/// Memory for each of 1,000 loaded Workers, and what comes back when they have gone.
pub(crate) const DENSITY: Promise = Promise { name: "density", bound: Bound::AtMost(2.8), unit: "MB" };
pub(crate) const DENSITY_RETURNED: Promise =
    Promise { name: "density-returned", bound: Bound::AtLeast(90.0), unit: "%" };

/// Hello JSON through `skep serve` in requests per second on one core, over workerd's, Deno.serve's and a raw hyper server's.
pub(crate) const PLATFORM_HELLO_WORKERD: Promise =
    Promise { name: "platform-hello-workerd", bound: Bound::AtLeast(6.0), unit: "×" };
pub(crate) const PLATFORM_HELLO_DENO: Promise =
    Promise { name: "platform-hello-deno", bound: Bound::AtLeast(0.6), unit: "×" };
pub(crate) const PLATFORM_HELLO_HYPER: Promise =
    Promise { name: "platform-hello-hyper", bound: Bound::AtLeast(0.5), unit: "×" };
/// The median latency of it on one connection, less a raw hyper server's.
pub(crate) const PLATFORM_LATENCY: Promise =
    Promise { name: "platform-latency", bound: Bound::AtMost(60.0), unit: "µs" };
/// Instructions in user space for a request of it: [`INSTRUCTIONS_MEASURED`] and 5 %.
pub(crate) const INSTRUCTIONS: Promise =
    Promise { name: "instructions", bound: Bound::AtMost(INSTRUCTIONS_MEASURED * 1.05), unit: "instructions" };
/// What was measured when this was last committed: change it, and the specification, when a request has become cheaper, or
/// dearer for a reason.
const INSTRUCTIONS_MEASURED: f64 = 43_600.0;

/// A Worker's p99 while another account's Worker attacks, over its p99 while nobody does: an attack each.
pub(crate) const NEIGHBOUR_LOOP: Promise = Promise { name: "neighbour-loop", bound: Bound::AtMost(1.2), unit: "×" };
pub(crate) const NEIGHBOUR_MEMORY: Promise =
    Promise { name: "neighbour-memory", bound: Bound::AtMost(1.2), unit: "×" };
pub(crate) const NEIGHBOUR_STREAMS: Promise =
    Promise { name: "neighbour-streams", bound: Bound::AtMost(1.2), unit: "×" };
pub(crate) const NEIGHBOUR_THROW: Promise = Promise { name: "neighbour-throw", bound: Bound::AtMost(1.2), unit: "×" };
pub(crate) const NEIGHBOUR_LOG: Promise = Promise { name: "neighbour-log", bound: Bound::AtMost(1.2), unit: "×" };
/// Requests of that Worker that failed.
pub(crate) const NEIGHBOUR_LOST: Promise =
    Promise { name: "neighbour-lost", bound: Bound::AtMost(0.0), unit: "requests" };
/// Of 100 attacks of each kind that is stopped, those that client or tail were not told the name of.
pub(crate) const NEIGHBOUR_UNNAMED: Promise =
    Promise { name: "neighbour-unnamed", bound: Bound::AtMost(0.0), unit: "attacks" };

/// The most time from the end of the runtime process to the next good answer.
pub(crate) const KILLS_ANSWER: Promise = Promise { name: "kills-answer", bound: Bound::AtMost(200.0), unit: "ms" };
/// Requests that failed though they were not under way when the runtime process ended.
pub(crate) const KILLS_LOST: Promise = Promise { name: "kills-lost", bound: Bound::AtMost(0.0), unit: "requests" };
/// Connections that were closed while nothing was under way on them.
pub(crate) const KILLS_CLOSED: Promise =
    Promise { name: "kills-closed", bound: Bound::AtMost(0.0), unit: "connections" };
/// What the supervisor's memory grows by.
pub(crate) const KILLS_MEMORY: Promise = Promise { name: "kills-memory", bound: Bound::AtMost(1.0), unit: "MiB" };
/// Requests that are billed and were not served, while processes are killed, and damages of the ledger.
pub(crate) const BILLED_TWICE: Promise = Promise { name: "billed-twice", bound: Bound::AtMost(0.0), unit: "requests" };
/// Requests that were served and are not billed, over those of the last second before each kill.
pub(crate) const BILLED_MISSING: Promise = Promise { name: "billed-missing", bound: Bound::AtMost(1.0), unit: "×" };
/// From the request that reaches a spend cap to the last one that is served, at 10,000 requests per second.
pub(crate) const CAP_HOLDS: Promise = Promise { name: "cap-holds", bound: Bound::AtMost(1.0), unit: "s" };
/// From the call that raises a spend cap to the next request that is served.
pub(crate) const CAP_LIFTED: Promise = Promise { name: "cap-lifted", bound: Bound::AtMost(100.0), unit: "ms" };

/// Processor time for a request, more than without, while somebody watches; while he is stopped; while events are kept.
pub(crate) const TAIL_COST: Promise = Promise { name: "tail-cost", bound: Bound::AtMost(5.0), unit: "%" };
pub(crate) const TAIL_STUCK: Promise = Promise { name: "tail-stuck", bound: Bound::AtMost(5.0), unit: "%" };
pub(crate) const LOGS_COST: Promise = Promise { name: "logs-cost", bound: Bound::AtMost(5.0), unit: "%" };

/// All of them.
pub(crate) const PROMISES: [Promise; 47] = [
    HELLO_WORKERD,
    HELLO_DENO,
    LATENCY,
    START,
    RELOAD,
    RELOAD_FAILURES,
    STREAM_1GB,
    DEPLOY,
    DEPLOY_LOST,
    DEPLOY_WRONG,
    WORKERS_START,
    WORKERS_MEMORY,
    ASSETS_SERVE,
    COLD_P50,
    COLD_P99,
    COLD_SPARE_P50,
    COLD_SPARE_P99,
    COLD_LARGE,
    COLD_CROWD,
    COLD_CROWD_LOST,
    BURST,
    BURST_LOST,
    DENSITY,
    DENSITY_RETURNED,
    PLATFORM_HELLO_WORKERD,
    PLATFORM_HELLO_DENO,
    PLATFORM_HELLO_HYPER,
    PLATFORM_LATENCY,
    INSTRUCTIONS,
    NEIGHBOUR_LOOP,
    NEIGHBOUR_MEMORY,
    NEIGHBOUR_STREAMS,
    NEIGHBOUR_THROW,
    NEIGHBOUR_LOG,
    NEIGHBOUR_LOST,
    NEIGHBOUR_UNNAMED,
    KILLS_ANSWER,
    KILLS_LOST,
    KILLS_CLOSED,
    KILLS_MEMORY,
    BILLED_TWICE,
    BILLED_MISSING,
    CAP_HOLDS,
    CAP_LIFTED,
    TAIL_COST,
    TAIL_STUCK,
    LOGS_COST,
];

// === impl Promise ===

impl Promise {
    /// What was measured for this.
    pub(crate) fn measured(self, value: f64) -> Finding {
        Finding { promise: self, value }
    }

    /// The promise as a text, such as `≥ 4 ×`.
    fn text(self) -> String {
        let (sign, value) = match self.bound {
            Bound::AtLeast(value) => ('≥', value),
            Bound::AtMost(value) => ('≤', value),
            Bound::Below(value) => ('<', value),
        };
        format!("{sign} {value} {}", self.unit)
    }
}

// === impl Finding ===

impl Finding {
    /// Whether the promise was kept.
    pub(crate) fn is_kept(self) -> bool {
        match self.promise.bound {
            Bound::AtLeast(least) => self.value >= least,
            Bound::AtMost(most) => self.value <= most,
            Bound::Below(most) => self.value < most,
        }
    }

    /// A sentence about a promise that was not kept.
    pub(crate) fn complaint(self) -> String {
        let Promise { name, unit, .. } = self.promise;
        format!("{name}: {} {unit} were measured, {} are promised", number(self.value), self.promise.text())
    }
}

/// All promises, and what was found of them.
pub(crate) fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["promise", "promised", "measured", "kept"]);
    for promise in PROMISES {
        let finding = findings.iter().find(|finding| finding.promise.name == promise.name);
        let measured =
            finding.map_or("–".to_owned(), |finding| format!("{} {}", number(finding.value), promise.unit));
        let kept = match finding {
            None => "not measured",
            Some(finding) if finding.is_kept() => "yes",
            Some(_) => "NO",
        };
        table.row([promise.name.to_owned(), promise.text(), measured, kept.to_owned()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{HELLO_WORKERD, LATENCY, PROMISES, STREAM_1GB, table};

    #[test]
    fn kept_or_not() {
        for (finding, kept) in [
            (HELLO_WORKERD.measured(4.0), true),
            (HELLO_WORKERD.measured(3.99), false),
            (LATENCY.measured(100.0), true),
            (LATENCY.measured(-3.0), true),
            (LATENCY.measured(100.1), false),
            (STREAM_1GB.measured(19.9), true),
            (STREAM_1GB.measured(20.0), false),
        ] {
            assert_eq!(finding.is_kept(), kept, "{finding:?}");
        }
        assert_eq!(HELLO_WORKERD.measured(3.5).complaint(), "hello-workerd: 3.50 × were measured, ≥ 4 × are promised");
    }

    #[test]
    fn what_was_not_measured_is_told() {
        let table = table(&[LATENCY.measured(120.0)]).to_string();
        assert!(table.contains("120 µs"), "{table}");
        assert_eq!(table.matches("not measured").count(), PROMISES.len() - 1);
        assert_eq!(table.matches("NO |").count(), 1);
    }

    /// The specification and this program promise the same.
    #[test]
    fn the_specification_has_each_promise() {
        let specification = include_str!("../../docs/SPECIFICATION.md");
        for promise in PROMISES {
            let key = format!("`{}`", promise.name);
            let row = specification.lines().find(|line| line.starts_with('|') && line.contains(&key));
            let row = row.unwrap_or_else(|| panic!("docs/SPECIFICATION.md has no row for {key}"));
            assert!(row.contains(&promise.text()), "docs/SPECIFICATION.md promises another number: {row}");
        }
    }
}
