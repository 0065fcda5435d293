//! What the proxy lends its policies: its clock, its log and its metrics. What they do goes to the recorder.

use std::sync::Arc;

use policy_runtime::recording::Record;
use policy_runtime::{Host, Level};
use prometheus::{GaugeVec, IntCounterVec};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::recorder::Recorder;

/// The proxy, as policies know it.
pub(crate) struct PolicyHost {
    clock: Clock,
    counts: IntCounterVec,
    gauges: GaugeVec,
    recorder: Arc<Recorder>,
}

impl PolicyHost {
    pub fn new(clock: Clock, metrics: &Metrics, recorder: Arc<Recorder>) -> PolicyHost {
        PolicyHost { clock, counts: metrics.policy_counts.clone(), gauges: metrics.policy_gauges.clone(), recorder }
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

    fn recording(&self) -> u64 {
        self.recorder.recording()
    }

    fn record(&self, record: Record) {
        self.recorder.record(record);
    }

    /// The worker's other tasks go on on another thread meanwhile. A runtime of one thread has none to hand them to.
    fn wait(&self, wait: &mut dyn FnMut()) {
        let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        match flavor {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
            _ => wait(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn host() -> PolicyHost {
        PolicyHost::new(Clock::start(), &Metrics::new(), Arc::new(Recorder::new(1)))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_go_on_while_a_call_waits() {
        let host = Arc::new(host());
        let (free, freed) = mpsc::channel();
        let waits = tokio::spawn(async move {
            // Queued on this worker, the only one.
            tokio::spawn(async move { free.send(()) });
            let mut found = false;
            host.wait(&mut || found = freed.recv_timeout(Duration::from_secs(10)).is_ok());
            found
        });
        assert!(waits.await.unwrap(), "the other task ran");
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_just_waits() {
        let mut waited = false;
        host().wait(&mut || waited = true);
        assert!(waited);
    }
}
