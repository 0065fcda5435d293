//! What the proxy lends its policies: its clock, its log and its metrics.

use policy_runtime::{Host, Level};
use prometheus::{GaugeVec, IntCounterVec};

use crate::clock::Clock;
use crate::metrics::Metrics;

/// The proxy, as policies know it.
pub(crate) struct PolicyHost {
    clock: Clock,
    counts: IntCounterVec,
    gauges: GaugeVec,
}

impl PolicyHost {
    pub fn new(clock: Clock, metrics: &Metrics) -> PolicyHost {
        PolicyHost { clock, counts: metrics.policy_counts.clone(), gauges: metrics.policy_gauges.clone() }
    }
}

impl Host for PolicyHost {
    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn log(&self, slot: &str, level: Level, line: &str) {
        match level {
            Level::Debug => tracing::debug!(slot, "policy says: {line}"),
            Level::Info => tracing::info!(slot, "policy says: {line}"),
            Level::Warn => tracing::warn!(slot, "policy says: {line}"),
            Level::Error => tracing::error!(slot, "policy says: {line}"),
        }
    }

    fn count(&self, slot: &str, name: &str, delta: u64) {
        self.counts.with_label_values(&[slot, name]).inc_by(delta);
    }

    fn gauge(&self, slot: &str, name: &str, value: f64) {
        self.gauges.with_label_values(&[slot, name]).set(value);
    }
}
