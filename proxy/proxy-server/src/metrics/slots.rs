//! How full each slot of the policy chain is: its active version's instances, and what the slot keeps for its policies.

use policy_runtime::{Faults, Instances, SlotUse};
use prometheus::{GaugeVec, IntGauge, IntGaugeVec};

use crate::metrics::Maker;
use crate::policies::{Policies, Slot, Standing};

/// Kinds of a policy's failures.
const FAILURES: [&str; 6] = ["trapped", "deadline_passed", "out_of_fuel", "out_of_memory", "no_instance", "bad_answer"];

/// Read when asked for.
pub(super) struct SlotGauges {
    instances: IntGaugeVec,
    instances_max: IntGaugeVec,
    failures: IntGaugeVec,
    call_us: GaugeVec,
    canary_percent: IntGaugeVec,
    quarantined: IntGaugeVec,
    versions: IntGaugeVec,
    versions_max: IntGauge,
    history: IntGaugeVec,
    history_max: IntGauge,
    prefix_blocks: IntGaugeVec,
    prefix_blocks_max: IntGauge,
    prefix_blocks_evicted: IntGaugeVec,
    buckets: IntGaugeVec,
    buckets_max: IntGauge,
    store_bytes: IntGaugeVec,
    store_bytes_max: IntGauge,
    names: IntGaugeVec,
    names_max: IntGauge,
}

impl SlotGauges {
    pub fn new(make: &Maker) -> SlotGauges {
        let by_slot = |name, help| make.gauges(name, help, &["slot"]);
        SlotGauges {
            instances: by_slot("policy_instances", "Instances of a slot's active version that are in a call."),
            instances_max: by_slot("policy_instances_max", "Most instances of a slot's active version."),
            failures: make.gauges(
                "policy_failures",
                "Failures of a slot's active version since it was loaded, by kind.",
                &["slot", "kind"],
            ),
            call_us: make.keep(GaugeVec::new(
                Maker::opts("policy_call_us", "Microseconds of a slot's active version's calls, by quantile."),
                &["slot", "quantile"],
            )),
            canary_percent: by_slot("policy_canary_percent", "Share of the requests that a slot's canary has."),
            quarantined: by_slot("policy_quarantined_versions", "Versions of a slot that are quarantined."),
            versions: by_slot("policy_versions", "Versions kept of a slot."),
            versions_max: make.gauge("policy_versions_max", "Most versions kept of a slot; a canary may be one more."),
            history: by_slot("policy_history", "Acts kept of a slot's history."),
            history_max: make.gauge("policy_history_max", "Most acts kept of a slot's history."),
            prefix_blocks: by_slot("policy_prefix_blocks", "Blocks in a slot's prefix index."),
            prefix_blocks_max: make.gauge("policy_prefix_blocks_max", "Most blocks in a slot's prefix index."),
            prefix_blocks_evicted: by_slot(
                "policy_prefix_blocks_evicted",
                "Blocks that a slot's prefix index forgot for want of room.",
            ),
            buckets: by_slot("policy_buckets", "Token buckets and counters of a slot."),
            buckets_max: make.gauge("policy_buckets_max", "Most token buckets and counters of a slot."),
            store_bytes: by_slot("policy_store_bytes", "Bytes in a slot's store."),
            store_bytes_max: make.gauge("policy_store_bytes_max", "Most bytes in a slot's store."),
            names: by_slot("policy_metric_names", "Names of counters and gauges that a slot's policies keep."),
            names_max: make.gauge("policy_metric_names_max", "Most names of counters and gauges of a slot."),
        }
    }

    pub fn read(&self, policies: &Policies) {
        let runtime = policies.runtime();
        let limits = runtime.limits();
        self.prefix_blocks_max.set(limits.prefix_blocks_max as i64);
        self.buckets_max.set(limits.buckets_max as i64);
        self.store_bytes_max.set(limits.store_bytes_max as i64);
        self.names_max.set(limits.metrics_max as i64);
        self.versions_max.set(policies.bounds.versions_max as i64);
        self.history_max.set(policies.bounds.history_max as i64);
        for slot in policies.list() {
            self.read_lives(&slot);
            let Some(active) = slot.active_version() else { continue };
            self.read_version(&slot.name, active.component.instances(), active.component.faults());
            let times = active.tally.reading().times;
            for (share, quantile) in [(0.5, "0.5"), (0.99, "0.99")] {
                let us = times.quantile_us(share).unwrap_or(0.0);
                self.call_us.with_label_values(&[slot.name.as_str(), quantile]).set(us);
            }
            if let Some(slot_use) = runtime.slot_use(&slot.name) {
                self.read_slot(&slot.name, slot_use);
            }
        }
    }

    /// Shows no more of a slot that is gone.
    pub fn forget(&self, slot: &str) {
        let SlotGauges {
            instances,
            instances_max,
            failures,
            call_us,
            canary_percent,
            quarantined,
            versions,
            versions_max: _,
            history,
            history_max: _,
            prefix_blocks,
            prefix_blocks_max: _,
            prefix_blocks_evicted,
            buckets,
            buckets_max: _,
            store_bytes,
            store_bytes_max: _,
            names,
            names_max: _,
        } = self;
        let lives = [canary_percent, quarantined, versions, history];
        let uses = [instances, instances_max, prefix_blocks, prefix_blocks_evicted, buckets, store_bytes, names];
        for gauges in lives.into_iter().chain(uses) {
            // An error means that nobody has asked for the metrics while the slot was there.
            let _ = gauges.remove_label_values(&[slot]);
        }
        for quantile in ["0.5", "0.99"] {
            // The same.
            let _ = call_us.remove_label_values(&[slot, quantile]);
        }
        for kind in FAILURES {
            // The same.
            let _ = failures.remove_label_values(&[slot, kind]);
        }
    }

    fn read_lives(&self, slot: &Slot) {
        let quarantined = slot.versions.iter().filter(|version| version.standing == Standing::Quarantined).count();
        let percent = slot.trial.as_ref().map_or(0, |trial| trial.percent);
        for (gauges, value) in [
            (&self.canary_percent, percent.into()),
            (&self.quarantined, quarantined as i64),
            (&self.versions, slot.versions.len() as i64),
            (&self.history, slot.history.len() as i64),
        ] {
            gauges.with_label_values(&[&slot.name]).set(value);
        }
    }

    fn read_version(&self, slot: &str, instances: Instances, faults: Faults) {
        let Instances { busy, idle: _, max } = instances;
        self.instances.with_label_values(&[slot]).set(busy as i64);
        self.instances_max.with_label_values(&[slot]).set(max as i64);
        let Faults { trapped, deadline_passed, out_of_fuel, out_of_memory, no_instance, bad_answer } = faults;
        let counts = [trapped, deadline_passed, out_of_fuel, out_of_memory, no_instance, bad_answer];
        for (kind, count) in FAILURES.into_iter().zip(counts) {
            self.failures.with_label_values(&[slot, kind]).set(count as i64);
        }
    }

    fn read_slot(&self, slot: &str, slot_use: SlotUse) {
        let SlotUse { prefix_blocks, prefix_blocks_evicted, buckets, store_bytes, metrics } = slot_use;
        self.prefix_blocks.with_label_values(&[slot]).set(prefix_blocks as i64);
        self.prefix_blocks_evicted.with_label_values(&[slot]).set(prefix_blocks_evicted as i64);
        self.buckets.with_label_values(&[slot]).set(buckets as i64);
        self.store_bytes.with_label_values(&[slot]).set(store_bytes as i64);
        self.names.with_label_values(&[slot]).set(metrics as i64);
    }
}
