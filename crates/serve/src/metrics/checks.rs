//! What the platform's last look at itself found.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use skep_control::CheckStatus;

/// The checks.
#[derive(Debug)]
pub(super) struct Checks(pub(super) Vec<CheckStatus>);

impl Collector for Checks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut tell = |name: &str, help: &str, unit: Option<&Unit>, value: fn(&CheckStatus) -> f64| {
            let mut encoder = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            for check in &self.0 {
                ConstGauge::new(value(check)).encode(encoder.encode_family(&[("check", check.name.as_str())])?)?;
            }
            Ok(())
        };
        tell("check_ok", "Whether a check of the platform is as it should be", None, |check| {
            f64::from(u8::from(check.ok))
        })?;
        tell("check", "How long a check took", Some(&Unit::Seconds), |check| check.took_ms / 1000.0)
    }
}
