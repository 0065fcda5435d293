//! The policy slots: versions, uploads, rollbacks, and the one pointer that a swap moves.

mod host;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use dispatch::{Author, Chain, Fallback, Link, OnError, Tally};
use policy_api::Policy;
use policy_runtime::{Component, LoadError, Runtime};
use thiserror::Error;

use crate::clock::Clock;
use crate::config::{Limits, PolicySlot, is_slot_name};
use crate::metrics::Metrics;

pub(crate) use host::PolicyHost;

/// The chain, and what it was made of.
pub(crate) struct Policies {
    runtime: Arc<Runtime>,
    chain: ArcSwap<Chain>,
    fallback: Arc<Fallback>,
    slots: Mutex<Vec<Slot>>,
    /// One swap at a time.
    swapping: tokio::sync::Mutex<()>,
    clock: Clock,
    slots_max: usize,
    versions_max: usize,
    component_bytes_max: usize,
}

/// A named place in the chain.
#[derive(Clone)]
pub(crate) struct Slot {
    pub name: String,
    config_json: String,
    on_error: Option<OnError>,
    /// Oldest first.
    pub versions: Vec<Version>,
    /// The active version's number.
    pub active: u32,
    next_number: u32,
}

/// One version of a slot.
#[derive(Clone)]
pub(crate) struct Version {
    pub number: u32,
    pub source: &'static str,
    pub loaded_unix_ms: u64,
    pub activated_unix_ms: u64,
    pub component: Arc<Component>,
    pub tally: Arc<Tally>,
    link: Link,
}

/// Why a slot was not changed.
#[derive(Debug, Error)]
pub(crate) enum SwapError {
    #[error("the component was refused: {0}")]
    Refused(#[from] LoadError),
    #[error("{0:?} cannot name a slot: use 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`")]
    BadName(String),
    #[error("there are already {slots_max} slots; replace one of them, or raise `limits.slots_max`")]
    TooManySlots { slots_max: usize },
    #[error("there is no slot {0:?}")]
    UnknownSlot(String),
    #[error("slot {0:?} has no earlier version to go back to")]
    NothingBefore(String),
    #[error("loading the component failed: {0}")]
    Broke(String),
}

/// Why a configured policy could not be loaded at the start.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Load { path: PathBuf, source: LoadError },
    #[error("{0}")]
    Runtime(LoadError),
}

impl Policies {
    /// Loads what the configuration names. Blocking.
    pub fn start(
        slots: &[PolicySlot],
        limits: &Limits,
        clock: Clock,
        metrics: &Metrics,
        seed: u64,
    ) -> Result<Policies, StartError> {
        let host = Arc::new(PolicyHost::new(clock, metrics));
        let runtime = Runtime::new(runtime_limits(limits), host, seed).map_err(StartError::Runtime)?;
        let fallback = Arc::new(Fallback::default());
        let policies = Policies {
            runtime: Arc::new(runtime),
            chain: ArcSwap::from_pointee(Chain::new(Vec::new(), fallback.clone())),
            fallback,
            slots: Mutex::default(),
            swapping: tokio::sync::Mutex::default(),
            clock,
            slots_max: limits.slots_max,
            versions_max: limits.policy_versions_max,
            component_bytes_max: limits.component_bytes_max,
        };
        for file in slots {
            let path = &file.component;
            let bytes = std::fs::read(path).map_err(|source| StartError::Read { path: path.clone(), source })?;
            let component = policies
                .runtime
                .load(&file.slot, &bytes, &file.config_json, None)
                .map_err(|source| StartError::Load { path: path.clone(), source })?;
            let slot = Slot {
                config_json: file.config_json.clone(),
                on_error: file.on_error,
                ..Slot::empty(file.slot.clone())
            };
            policies.slots().push(slot);
            policies.activate(&file.slot, component, "file");
        }
        Ok(policies)
    }

    /// The chain of this moment. A request takes it once.
    pub fn chain(&self) -> Arc<Chain> {
        self.chain.load_full()
    }

    /// The slots as they are, in the chain's order.
    pub fn list(&self) -> Vec<Slot> {
        self.slots().clone()
    }

    pub fn component_bytes_max(&self) -> usize {
        self.component_bytes_max
    }

    /// Loads a component and makes it a slot's active version. What was active stays until the new one is ready, and
    /// stays for good if it never is.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<Slot, SwapError> {
        if !is_slot_name(name) {
            return Err(SwapError::BadName(name.to_owned()));
        }
        let _turn = self.swapping.lock().await;
        let (config_json, predecessor) = match self.slot(name) {
            Some(slot) => (slot.config_json.clone(), Some(slot.active_version().component.clone())),
            None if self.slots().len() >= self.slots_max => {
                return Err(SwapError::TooManySlots { slots_max: self.slots_max });
            }
            None => (String::new(), None),
        };
        let (runtime, slot) = (self.runtime.clone(), name.to_owned());
        let load = move || runtime.load(&slot, &bytes, &config_json, predecessor.as_deref());
        let loaded = tokio::task::spawn_blocking(load).await.map_err(|error| SwapError::Broke(error.to_string()));
        let component = match loaded.and_then(|loaded| Ok(loaded?)) {
            Ok(component) => component,
            Err(refused) => {
                // A slot that never came to be keeps nothing in the runtime.
                if self.slot(name).is_none() {
                    self.runtime.forget(name);
                }
                return Err(refused);
            }
        };
        if self.slot(name).is_none() {
            self.slots().push(Slot::empty(name.to_owned()));
        }
        Ok(self.activate(name, component, "admin"))
    }

    /// Makes the version before a slot's active one active again.
    pub async fn roll_back(&self, name: &str) -> Result<Slot, SwapError> {
        let _turn = self.swapping.lock().await;
        let mut slots = self.slots();
        let slot =
            slots.iter_mut().find(|slot| slot.name == name).ok_or_else(|| SwapError::UnknownSlot(name.to_owned()))?;
        let active = slot.active;
        let before = slot
            .versions
            .iter_mut()
            .rev()
            .find(|version| version.number < active)
            .ok_or_else(|| SwapError::NothingBefore(name.to_owned()))?;
        before.activated_unix_ms = self.clock.now_unix_ms();
        slot.active = before.number;
        let slot = slot.clone();
        self.publish(&slots);
        Ok(slot)
    }

    fn activate(&self, name: &str, component: Component, source: &'static str) -> Slot {
        let mut slots = self.slots();
        let now = self.clock.now_unix_ms();
        let slot = slots.iter_mut().find(|slot| slot.name == name).expect("its caller made the slot");
        let version = Version::new(slot, component, source, now);
        slot.active = version.number;
        slot.next_number += 1;
        slot.versions.push(version);
        if slot.versions.len() > self.versions_max {
            slot.versions.remove(0);
        }
        let slot = slot.clone();
        self.publish(&slots);
        slot
    }

    /// One store: before it every request sees the old chain, after it every request sees the new one.
    fn publish(&self, slots: &[Slot]) {
        let links = slots.iter().map(|slot| slot.active_version().link.clone()).collect();
        self.chain.store(Arc::new(Chain::new(links, self.fallback.clone())));
    }

    fn slot(&self, name: &str) -> Option<Slot> {
        self.slots().iter().find(|slot| slot.name == name).cloned()
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn empty(name: String) -> Slot {
        Slot { name, config_json: String::new(), on_error: None, versions: Vec::new(), active: 0, next_number: 1 }
    }

    fn active_version(&self) -> &Version {
        let active = self.versions.iter().find(|version| version.number == self.active);
        active.expect("a slot is published only with an active version, and that one is never removed")
    }
}

impl Version {
    fn new(slot: &Slot, component: Component, source: &'static str, now_unix_ms: u64) -> Version {
        let component = Arc::new(component);
        let description = component.describe();
        let author = Author {
            slot: slot.name.clone(),
            number: slot.next_number,
            name: description.name.clone(),
            version: description.version.clone(),
            digest: component.digest().to_owned(),
        };
        let mut link = Link::new(author, component.clone());
        if let Some(on_error) = slot.on_error {
            (link.on_admit_error, link.on_place_error) = (on_error, on_error);
        }
        Version {
            number: slot.next_number,
            source,
            loaded_unix_ms: now_unix_ms,
            activated_unix_ms: now_unix_ms,
            component,
            tally: link.tally.clone(),
            link,
        }
    }
}

fn runtime_limits(limits: &Limits) -> policy_runtime::Limits {
    policy_runtime::Limits {
        component_bytes_max: limits.component_bytes_max,
        call_deadline_ms: limits.policy_call_ms_max,
        slots_max: limits.slots_max,
        ..policy_runtime::Limits::default()
    }
}
