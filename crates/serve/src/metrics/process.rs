//! What this process uses, by the names that every program has:
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>. It is the supervisor; what the processes that run Workers
//! use is told as `skep_memory_bytes` and `skep_isolates_busy_seconds`.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::metrics::Metric as _;

/// What the kernel tells CPU time to programs in, on every machine that this runs on: parts of a second.
const TICKS: f64 = 100.0;

/// What was read of `/proc`. What cannot be read is not told.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// In bytes.
    resident: Option<f64>,
    /// In seconds.
    cpu: Option<f64>,
    /// In seconds since 1970.
    started: Option<f64>,
    descriptors: Option<f64>,
}

impl Process {
    /// As it is now. `proc_pid_stat(5)`, `proc_pid_status(5)`, `proc_stat(5)`.
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name, in parentheses, may have spaces and parentheses in it.
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect())
            .unwrap_or_default();
        // The first one here is the third of the page.
        let field = |number: usize| fields.get(number - 3).copied();
        let number = |path: &str, name: &str| -> Option<f64> {
            let text = fs::read_to_string(path).ok()?;
            text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        };
        let booted = number("/proc/stat", "btime ");
        let resident = number("/proc/self/status", "VmRSS:");
        Self {
            resident: resident.map(|kibibytes| kibibytes * 1024.0),
            cpu: field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS),
            started: field(22).zip(booted).map(|(since, booted)| booted + since / TICKS),
            descriptors: fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as f64),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (encoder, bytes, seconds) = (&mut encoder, Some(Unit::Bytes), Some(Unit::Seconds));
        if let Some(value) = self.resident {
            let gauge = ConstGauge::new(value);
            gauge.encode_into(encoder, "process_resident_memory", "Memory of the supervisor", bytes)?;
        }
        if let Some(value) = self.cpu {
            let counter = ConstCounter::new(value);
            counter.encode_into(encoder, "process_cpu", "CPU time of the supervisor", seconds.clone())?;
        }
        if let Some(value) = self.started {
            let gauge = ConstGauge::new(value);
            gauge.encode_into(encoder, "process_start_time", "When it started, since 1970", seconds)?;
        }
        if let Some(value) = self.descriptors {
            ConstGauge::new(value).encode_into(encoder, "process_open_fds", "Descriptors that it has open", None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::Process;

    #[test]
    fn a_process_knows_itself() {
        let process = Process::read();
        assert!(process.resident.unwrap() > 1e6 && process.descriptors.unwrap() >= 3.0, "{process:?}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        // It was started a moment ago, and has not used more time than that.
        let since = now - process.started.unwrap();
        assert!((-2.0..600.0).contains(&since) && process.cpu.unwrap() < 600.0 * 64.0, "{process:?}");
    }
}
