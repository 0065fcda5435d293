//! The policy slots: versions, uploads, rollbacks, and the one pointer that a swap moves.

mod host;
mod signature;
mod source;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use dispatch::{Author, Chain, Fallback, Link, OnError, Tally};
use policy_api::Policy;
use policy_runtime::{Component, LoadError, Runtime};
use thiserror::Error;
use tokio::sync::OwnedMutexGuard;

use crate::clock::Clock;
use crate::config::{Limits, PolicySlot, SLOT_NAME, is_slot_name};
use crate::metrics::Metrics;

pub(crate) use host::PolicyHost;
pub(crate) use signature::{SignatureError, Signing};
pub(crate) use source::{Fetched, Origin, Place, SourceError, Sources};

/// The chain, and what it was made of.
pub(crate) struct Policies {
    runtime: Arc<Runtime>,
    chain: ArcSwap<Chain>,
    fallback: Arc<Fallback>,
    slots: Mutex<Vec<Slot>>,
    /// One swap at a time.
    swapping: Arc<tokio::sync::Mutex<()>>,
    clock: Clock,
    slots_max: usize,
    versions_max: usize,
    component_bytes_max: usize,
}

/// A named place in the chain.
#[derive(Clone)]
pub(crate) struct Slot {
    pub name: String,
    /// The configuration names it: it is there after every start.
    is_configured: bool,
    config_json: String,
    on_error: Option<OnError>,
    /// Oldest first.
    pub versions: Vec<Version>,
    /// The active version's number.
    pub active: u32,
    /// What was active before that and was not rolled back from, oldest first; all are in `versions`.
    before: Vec<u32>,
    next_number: u32,
}

/// The right to change a slot: one swap at a time.
pub(crate) struct Turn(#[expect(dead_code, reason = "held, not read")] OwnedMutexGuard<()>);

/// One version of a slot.
#[derive(Clone)]
pub(crate) struct Version {
    pub number: u32,
    pub origin: Origin,
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
    #[error("{0:?} cannot name a slot: use {SLOT_NAME}")]
    BadName(String),
    #[error("there are already {slots_max} slots; replace one of them, or raise `limits.slots_max`")]
    TooManySlots { slots_max: usize },
    #[error("there is no slot {0:?}")]
    UnknownSlot(String),
    #[error("slot {0:?} has no earlier version to go back to")]
    NothingBefore(String),
    #[error("slot {0:?} is in the configuration and would be back after the next start; take it out there")]
    Configured(String),
    #[error("loading the component failed: {0}")]
    Broke(String),
}

/// Why a configured policy could not be loaded at the start.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("slot {slot}: {source}")]
    Source { slot: String, source: SourceError },
    #[error("{place}: {source}")]
    Load { place: Place, source: LoadError },
    #[error("{0}")]
    Runtime(LoadError),
}

impl Policies {
    /// Loads what the configuration names. Blocking.
    pub fn start(
        slots: &[PolicySlot],
        sources: &Sources,
        limits: &Limits,
        cache_folder: Option<&Path>,
        clock: Clock,
        metrics: &Metrics,
        seed: u64,
    ) -> Result<Policies, StartError> {
        let host = Arc::new(PolicyHost::new(clock, metrics));
        let runtime = match cache_folder {
            Some(folder) => Runtime::with_folder(runtime_limits(limits), host, seed, folder.to_owned()),
            None => Runtime::new(runtime_limits(limits), host, seed),
        };
        let runtime = runtime.map_err(StartError::Runtime)?;
        let fallback = Arc::new(Fallback::default());
        let policies = Policies {
            runtime: Arc::new(runtime),
            chain: ArcSwap::from_pointee(Chain::new(Vec::<Link>::new(), fallback.clone())),
            fallback,
            slots: Mutex::default(),
            swapping: Arc::default(),
            clock,
            slots_max: limits.slots_max,
            versions_max: limits.policy_versions_max,
            component_bytes_max: limits.component_bytes_max,
        };
        for file in slots {
            let slot = file.slot.clone();
            let Fetched { bytes, origin } =
                sources.get(&file.component).map_err(|source| StartError::Source { slot, source })?;
            let component = policies
                .runtime
                .load(&file.slot, &bytes, &file.config_json, None)
                .map_err(|source| StartError::Load { place: file.component.clone(), source })?;
            let slot = Slot {
                is_configured: true,
                config_json: file.config_json.clone(),
                on_error: file.on_error,
                ..Slot::empty(file.slot.clone())
            };
            policies.slots().push(slot);
            policies.activate(&file.slot, component, origin);
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

    /// What the policies run in.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub fn component_bytes_max(&self) -> usize {
        self.component_bytes_max
    }

    /// Waits for the right to change a slot. Whoever leaves while waiting has changed nothing.
    pub async fn turn(&self) -> Turn {
        Turn(self.swapping.clone().lock_owned().await)
    }

    /// Whether a swap is under way.
    pub fn is_swapping(&self) -> bool {
        self.swapping.try_lock().is_err()
    }

    /// Loads a component and makes it a slot's active version. What was active stays until the new one is ready, and
    /// stays for good if it never is. Not to be dropped half-way: what is loaded would be lost.
    pub async fn put(&self, _turn: Turn, name: &str, fetched: Fetched) -> Result<Slot, SwapError> {
        if !is_slot_name(name) {
            return Err(SwapError::BadName(name.to_owned()));
        }
        let (config_json, predecessor) = match self.slot(name) {
            Some(slot) => (slot.config_json.clone(), slot.active_version().map(|version| version.component.clone())),
            None if self.slots().len() >= self.slots_max => {
                return Err(SwapError::TooManySlots { slots_max: self.slots_max });
            }
            None => (String::new(), None),
        };
        let Fetched { bytes, origin } = fetched;
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
        Ok(self.activate(name, component, origin))
    }

    /// Makes the version active again that was active before a slot's active one.
    pub fn roll_back(&self, _turn: Turn, name: &str) -> Result<Slot, SwapError> {
        let mut slots = self.slots();
        let slot =
            slots.iter_mut().find(|slot| slot.name == name).ok_or_else(|| SwapError::UnknownSlot(name.to_owned()))?;
        slot.active = slot.before.pop().ok_or_else(|| SwapError::NothingBefore(name.to_owned()))?;
        let (active, now) = (slot.active, self.clock.now_unix_ms());
        slot.versions.iter_mut().filter(|version| version.number == active).for_each(|again| {
            again.activated_unix_ms = now;
        });
        let slot = slot.clone();
        self.publish(&slots);
        Ok(slot)
    }

    /// Takes a slot out of the chain, and forgets what it kept.
    pub fn remove(&self, _turn: Turn, name: &str) -> Result<(), SwapError> {
        let mut slots = self.slots();
        let at = slots.iter().position(|slot| slot.name == name);
        let at = at.ok_or_else(|| SwapError::UnknownSlot(name.to_owned()))?;
        if slots[at].is_configured {
            return Err(SwapError::Configured(name.to_owned()));
        }
        slots.remove(at);
        self.publish(&slots);
        self.runtime.forget(name);
        Ok(())
    }

    fn activate(&self, name: &str, component: Component, origin: Origin) -> Slot {
        let mut slots = self.slots();
        let now = self.clock.now_unix_ms();
        let slot = slots.iter_mut().find(|slot| slot.name == name).expect("its caller made the slot");
        let version = Version::new(slot, component, origin, now);
        slot.before.extend(Some(slot.active).filter(|_| !slot.versions.is_empty()));
        slot.active = version.number;
        slot.next_number += 1;
        slot.versions.push(version);
        if slot.versions.len() > self.versions_max {
            slot.forget_one();
        }
        let slot = slot.clone();
        self.publish(&slots);
        slot
    }

    /// One store: before it every request sees the old chain, after it every request sees the new one.
    fn publish(&self, slots: &[Slot]) {
        let links = slots.iter().filter_map(Slot::active_version).map(|version| version.link.clone());
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
        Slot {
            name,
            is_configured: false,
            config_json: String::new(),
            on_error: None,
            versions: Vec::new(),
            active: 0,
            before: Vec::new(),
            next_number: 1,
        }
    }

    /// Forgets one version: the oldest that no rollback leads to, or else the last that one would.
    fn forget_one(&mut self) {
        let is_led_to = |number| number == self.active || self.before.contains(&number);
        let at = self.versions.iter().position(|version| !is_led_to(version.number)).or_else(|| {
            let last = *self.before.first()?;
            self.versions.iter().position(|version| version.number == last)
        });
        let Some(at) = at else { return };
        let gone = self.versions.remove(at).number;
        self.before.retain(|number| *number != gone);
    }

    /// None only while the slot is being made.
    pub fn active_version(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == self.active)
    }
}

impl Version {
    fn new(slot: &Slot, component: Component, origin: Origin, now_unix_ms: u64) -> Version {
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
            origin,
            loaded_unix_ms: now_unix_ms,
            activated_unix_ms: now_unix_ms,
            component,
            tally: link.tally.clone(),
            link,
        }
    }
}

fn runtime_limits(limits: &Limits) -> policy_runtime::Limits {
    let default = policy_runtime::Limits::default();
    policy_runtime::Limits {
        component_bytes_max: limits.component_bytes_max,
        call_deadline_ms: limits.policy_call_ms_max,
        // Longer than a batch of events may hold the one instance: a call may last twice its deadline.
        single_wait_ms: default.single_wait_ms.saturating_add(limits.policy_call_ms_max.saturating_mul(2)),
        slots_max: limits.slots_max,
        ..default
    }
}
