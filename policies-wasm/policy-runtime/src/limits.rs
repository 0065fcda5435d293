//! How much a component may take: every bound of the runtime by name.

use serde::{Deserialize, Serialize};

/// Every bound of the runtime. What a slot shares between instances and versions is bounded per slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of one component.
    pub component_bytes_max: usize,
    /// Bytes of compiled components that are kept in a folder, where there is one.
    pub compiled_bytes_max: u64,
    /// Linear memory of one instance, all its memories together.
    pub memory_bytes_max: usize,
    /// Elements of one instance's tables, all together.
    pub table_elements_max: usize,
    /// How long one call of a hook may run. Past it, only time on a core counts: see the module `deadline`.
    pub call_deadline_ms: u32,
    /// How long each call made while loading may take (describe, configure, self-check, restore).
    pub load_deadline_ms: u32,
    /// How long the start and the configuration of an instance may take that is made while requests run: one more for
    /// a busy pool, or one after a trap.
    pub instance_deadline_ms: u32,
    /// How long a running policy's snapshot may take, for a successor or a shutdown. A `single` policy's calls wait for
    /// it, up to twice as long where it loops.
    pub snapshot_deadline_ms: u32,
    /// `None`: deadlines guard the calls (a proxy). `Some`: this much fuel guards each call instead of the deadlines,
    /// so that a run replays exactly (a simulator).
    pub fuel_max: Option<u64>,
    /// With `fuel_max`, the deadlines guard each call as well: a proxy that wants to know what calls cost.
    pub deadlines_beside_fuel: bool,
    /// Fuel of each call made while loading, where `fuel_max` is set.
    pub load_fuel_max: u64,
    /// Instances of one pooled component.
    pub instances_max: usize,
    /// Instances made when a pooled component is loaded.
    pub instances_ready: usize,
    /// How long a call waits for an instance before it is a [`policy_api::PolicyFault::NoInstance`].
    pub instance_wait_ms: u32,
    /// The same for the one instance of a `single` policy: longer than anything that may hold it (a snapshot, a batch
    /// of events, its start after a trap).
    pub single_wait_ms: u32,
    /// Calls of one component that wait for an instance; one more is a fault at once.
    pub instance_waiters_max: usize,
    /// Slots that have shared state.
    pub slots_max: usize,
    /// Bytes of a reason given through `explain`.
    pub reason_bytes_max: usize,
    /// Bytes of a message: a trap's, a refusal's, a denial's.
    pub message_bytes_max: usize,
    /// Bytes of one log line.
    pub log_line_bytes_max: usize,
    /// Log lines of one call.
    pub log_lines_per_call_max: u32,
    /// Span attributes of one call.
    pub attributes_max: usize,
    /// Bytes of one span attribute's value.
    pub attribute_bytes_max: usize,
    /// Headers of the client's answer that one call may set.
    pub headers_max: usize,
    /// Bytes of the value of one of them.
    pub header_bytes_max: usize,
    /// Bytes of a note kept with a request.
    pub note_bytes_max: usize,
    /// Places that one call may hold.
    pub holds_per_call_max: usize,
    /// Bytes of a name: a bucket's, a metric's, an attribute's, a store key.
    pub name_bytes_max: usize,
    /// Names of counters and gauges of one slot.
    pub metrics_max: usize,
    /// Counter and gauge updates of one call.
    pub metric_updates_per_call_max: u32,
    /// Bytes of one slot's store, keys and values.
    pub store_bytes_max: usize,
    /// Bytes of one value in the store.
    pub store_value_bytes_max: usize,
    /// Token buckets and counters of one slot.
    pub buckets_max: usize,
    /// Blocks that one slot's prefix index remembers, counted once per holder.
    pub prefix_blocks_max: usize,
    /// Blocks that one call of the prefix index looks at.
    pub prefix_blocks_per_call_max: usize,
    /// Bytes of a snapshot.
    pub snapshot_bytes_max: usize,
    /// Questions of one call that a recording keeps.
    pub heard_max: usize,
    /// Bytes of them and their answers.
    pub heard_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            component_bytes_max: 32 << 20,
            compiled_bytes_max: 512 << 20,
            memory_bytes_max: 64 << 20,
            table_elements_max: 100_000,
            call_deadline_ms: 5,
            load_deadline_ms: 1000,
            instance_deadline_ms: 100,
            snapshot_deadline_ms: 200,
            fuel_max: None,
            deadlines_beside_fuel: false,
            load_fuel_max: 1_000_000_000,
            instances_max: 64,
            instances_ready: 4,
            instance_wait_ms: 5,
            single_wait_ms: 1000,
            instance_waiters_max: 256,
            slots_max: 64,
            reason_bytes_max: 256,
            message_bytes_max: 512,
            log_line_bytes_max: 512,
            log_lines_per_call_max: 16,
            attributes_max: 16,
            attribute_bytes_max: 256,
            headers_max: 16,
            header_bytes_max: 256,
            note_bytes_max: 256,
            holds_per_call_max: 8,
            name_bytes_max: 256,
            metrics_max: 64,
            metric_updates_per_call_max: 64,
            store_bytes_max: 4 << 20,
            store_value_bytes_max: 256 << 10,
            buckets_max: 16_384,
            prefix_blocks_max: 1 << 18,
            prefix_blocks_per_call_max: 4096,
            snapshot_bytes_max: 16 << 20,
            heard_max: 4096,
            heard_bytes_max: 1 << 20,
        }
    }
}

/// What guards a call.
pub(crate) enum Meter {
    Deadlines,
    Fuel,
    Both,
}

impl Limits {
    pub(crate) fn meter(&self) -> Meter {
        match (self.fuel_max, self.deadlines_beside_fuel) {
            (None, _) => Meter::Deadlines,
            (Some(_), false) => Meter::Fuel,
            (Some(_), true) => Meter::Both,
        }
    }
}
