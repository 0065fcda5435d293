//! What a slot keeps for its policies: shared by instances and successors, untouched by traps and swaps.

mod buckets;
mod prefix_index;
mod store;

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

pub(crate) use buckets::{Bucket, Buckets, Full, Taking};
pub use prefix_index::{Holder, PrefixIndex};
pub(crate) use store::{Store, WriteRefusal};

use crate::Limits;

/// A slot's shared state. Each part has its own lock, held only for one bounded operation.
pub(crate) struct Slot {
    name: String,
    prefix_index: Mutex<PrefixIndex>,
    buckets: Mutex<Buckets>,
    store: Mutex<Store>,
    metrics: Mutex<HashSet<String>>,
    metrics_max: usize,
}

/// How full what a slot keeps is; the bounds are in [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotUse {
    /// Against `prefix_blocks_max`.
    pub prefix_blocks: usize,
    /// Blocks forgotten for want of room.
    pub prefix_blocks_evicted: u64,
    /// Token buckets and counters, against `buckets_max`.
    pub buckets: usize,
    /// Against `store_bytes_max`.
    pub store_bytes: usize,
    /// Names, against `metrics_max`.
    pub metrics: usize,
}

impl Slot {
    pub(crate) fn new(name: &str, limits: &Limits) -> Slot {
        Slot {
            name: name.to_owned(),
            prefix_index: Mutex::new(PrefixIndex::new(limits.prefix_blocks_max)),
            buckets: Mutex::new(Buckets::new(limits.buckets_max)),
            store: Mutex::new(Store::new(limits.store_bytes_max)),
            metrics: Mutex::default(),
            metrics_max: limits.metrics_max,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn now(&self) -> SlotUse {
        let (prefix_blocks, prefix_blocks_evicted) = {
            let index = self.prefix_index();
            (index.blocks_now(), index.evicted())
        };
        SlotUse {
            prefix_blocks,
            prefix_blocks_evicted,
            buckets: self.buckets().entries_now(),
            store_bytes: self.store().bytes_now(),
            metrics: lock(&self.metrics).len(),
        }
    }

    pub(crate) fn prefix_index(&self) -> MutexGuard<'_, PrefixIndex> {
        lock(&self.prefix_index)
    }

    pub(crate) fn buckets(&self) -> MutexGuard<'_, Buckets> {
        lock(&self.buckets)
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Whether a metric of this name may be shown: known, or well-formed and still within the bound.
    pub(crate) fn admits_metric(&self, name: &str) -> bool {
        let mut metrics = lock(&self.metrics);
        if metrics.contains(name) {
            return true;
        }
        if metrics.len() >= self.metrics_max || !is_metric_name(name) {
            return false;
        }
        metrics.insert(name.to_owned())
    }
}

/// Whether `name` may name a metric or a span's attribute.
pub(crate) fn is_metric_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Headers of the client's answer that are the proxy's own to set.
const PROXY_HEADERS: [&str; 3] = ["x-request-id", "x-headworks-hop", "x-session-id"];

/// Whether a policy may set this header, in lower case, of the client's answer.
pub(crate) fn is_policy_header(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() > 2 && name.starts_with("x-") && name.bytes().all(is_plain) && !PROXY_HEADERS.contains(&name)
}

/// Every operation leaves its part whole even where it panics half-way, so a poisoned lock is still good.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
