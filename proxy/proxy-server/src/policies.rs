//! The policy slots, and the one pointer that a swap moves.

mod error;
mod folder;
mod gently;
mod history;
mod host;
mod keep;
mod reload;
mod signature;
mod slot;
mod source;
mod state_folder;
mod swap;
mod watch;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use dispatch::{Chain, Fallback, Stage, Stopwatch};
use policy_api::Hook;
use policy_runtime::Runtime;
use prometheus::IntCounterVec;
use tokio::sync::{Notify, OwnedMutexGuard};

use crate::clock::Clock;
use crate::config::{Limits, PolicySlot, SlotRules};
use crate::metrics::Metrics;
use crate::recorder::Recorder;

pub(crate) use error::{StartError, SwapError};
pub(crate) use folder::{Folder, watch_folder};
pub(crate) use history::Entry;
pub(crate) use host::PolicyHost;
pub(crate) use signature::{SignatureError, Signing};
pub(crate) use slot::{Slot, SlotTrial, Standing, Version};
pub(crate) use source::{Fetched, Origin, Place, SourceError, Sources};
pub(crate) use swap::{Share, Upload};
pub(crate) use watch::watch;

use slot::Configured;
use state_folder::StateFolder;

/// The chain, and what it was made of.
pub(crate) struct Policies {
    runtime: Arc<Runtime>,
    chain: ArcSwap<Chain>,
    /// One of the chain's policies has the observe hook.
    observe: AtomicBool,
    fallback: Arc<Fallback>,
    stopwatch: Arc<dyn Stopwatch>,
    slots: Mutex<Vec<Slot>>,
    /// One swap at a time.
    swapping: Arc<tokio::sync::Mutex<()>>,
    /// Told when there is reason to look at the versions.
    reasons: Notify,
    /// Of slots that the configuration does not name.
    rules_of_uploads: Arc<SlotRules>,
    /// Where what was put outlasts a restart; none before it was read, and where none is configured.
    state: OnceLock<StateFolder>,
    swaps: IntCounterVec,
    clock: Clock,
    pub bounds: PolicyBounds,
}

/// How much is kept of the policies.
#[derive(Clone, Copy)]
pub(crate) struct PolicyBounds {
    pub slots_max: usize,
    /// Of one slot.
    pub versions_max: usize,
    /// Of one slot.
    pub history_max: usize,
    pub component_bytes_max: usize,
}

/// Where a start finds what a run before left.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Folders<'a> {
    /// Compiled components.
    pub cache: Option<&'a Path>,
    /// What was put into slots.
    pub state: Option<&'a Path>,
}

/// The right to change a slot: one swap at a time.
pub(crate) struct Turn(#[expect(dead_code, reason = "held, not read")] OwnedMutexGuard<()>);

impl Policies {
    /// Loads what the configuration names. Blocking.
    #[expect(clippy::too_many_arguments, reason = "each is another part of the process, of a type of its own")]
    pub fn start(
        slots: &[PolicySlot],
        sources: &Sources,
        limits: &Limits,
        folders: Folders<'_>,
        clock: Clock,
        metrics: &Metrics,
        recorder: Arc<Recorder>,
        seed: u64,
    ) -> Result<Policies, StartError> {
        let host = Arc::new(PolicyHost::new(clock, metrics, recorder));
        let runtime = match folders.cache {
            Some(folder) => Runtime::with_folder(runtime_limits(limits), host, seed, folder.to_owned()),
            None => Runtime::new(runtime_limits(limits), host, seed),
        };
        let runtime = runtime.map_err(StartError::Runtime)?;
        let fallback = Arc::new(Fallback::default());
        let policies = Policies {
            runtime: Arc::new(runtime),
            chain: ArcSwap::from_pointee(Chain::new(Vec::<Stage>::new(), fallback.clone())),
            observe: AtomicBool::new(false),
            fallback,
            stopwatch: Arc::new(clock),
            slots: Mutex::default(),
            swapping: Arc::default(),
            reasons: Notify::new(),
            rules_of_uploads: Arc::default(),
            state: OnceLock::new(),
            swaps: metrics.policy_swaps.clone(),
            clock,
            bounds: PolicyBounds {
                slots_max: limits.slots_max,
                versions_max: limits.policy_versions_max,
                history_max: limits.policy_history_max,
                component_bytes_max: limits.component_bytes_max,
            },
        };
        let turn = policies.try_turn().expect("nobody else has seen it yet");
        for PolicySlot { slot, component: place, config_json, rules } in slots {
            let fetched = sources.get(place);
            let fetched = fetched.map_err(|source| StartError::Source { slot: slot.clone(), source })?;
            policies.slots().push(Slot::configured(slot, Arc::new(rules.clone()), config_json));
            policies.say_configured(slot, Configured::of(&fetched.bytes, config_json));
            let upload = Upload { slot: slot.clone(), fetched, share: Share::All, by: "file".to_owned() };
            policies.put(&turn, upload).map_err(|refused| match refused {
                SwapError::Refused(source) => StartError::Load { place: place.clone(), source },
                source => StartError::Put { place: place.clone(), source },
            })?;
        }
        if let Some(path) = folders.state {
            let wrong = |source| StartError::State { path: path.to_owned(), source };
            policies.restore(&turn, StateFolder::open(path).map_err(wrong)?, sources);
        }
        drop(turn);
        Ok(policies)
    }

    /// The chain of this moment. A request takes it once.
    pub fn chain(&self) -> Arc<Chain> {
        self.chain.load_full()
    }

    /// Whether a policy is to hear of what happens.
    pub fn observe(&self) -> bool {
        self.observe.load(Ordering::Relaxed)
    }

    /// The slots as they are, in the chain's order.
    pub fn list(&self) -> Vec<Slot> {
        self.slots().clone()
    }

    /// One slot as it is.
    pub fn slot(&self, name: &str) -> Option<Slot> {
        self.slots().iter().find(|slot| slot.name == name).cloned()
    }

    /// What the policies run in.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Waits for the right to change a slot. Whoever leaves while waiting has changed nothing.
    pub async fn turn(&self) -> Turn {
        Turn(self.swapping.clone().lock_owned().await)
    }

    /// Whether a swap is under way.
    pub fn is_swapping(&self) -> bool {
        self.try_turn().is_none()
    }

    /// Does what blocks where that does no harm. Not to be dropped half-way: nobody would hear what came of it.
    pub async fn change_blocking<T: Send + 'static>(
        self: Arc<Policies>,
        change: impl FnOnce(&Policies) -> T + Send + 'static,
    ) -> Result<T, SwapError> {
        let changed = tokio::task::spawn_blocking(move || change(&self)).await;
        changed.map_err(|error| SwapError::Broke(error.to_string()))
    }

    fn try_turn(&self) -> Option<Turn> {
        self.swapping.clone().try_lock_owned().ok().map(Turn)
    }

    /// One store: before it every request sees the old chain, after it every request sees the new one.
    fn publish(&self, slots: &[Slot]) {
        let chain = Chain::new(slots.iter().filter_map(Slot::stage), self.fallback.clone());
        // Before it is asked: it hears of the first request that it places.
        let observe = chain.links().any(|link| link.has(Hook::Observe));
        self.observe.fetch_or(observe, Ordering::Relaxed);
        self.chain.store(Arc::new(chain.timed_by(self.stopwatch.clone())));
        self.observe.store(observe, Ordering::Relaxed);
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn runtime_limits(limits: &Limits) -> policy_runtime::Limits {
    let default = policy_runtime::Limits::default();
    policy_runtime::Limits {
        component_bytes_max: limits.component_bytes_max,
        call_deadline_ms: limits.policy_call_ms_max,
        fuel_max: limits.policy_fuel_max,
        deadlines_beside_fuel: true,
        // Longer than a batch of events may hold the one instance: a call may last twice its deadline.
        single_wait_ms: default.single_wait_ms.saturating_add(limits.policy_call_ms_max.saturating_mul(2)),
        slots_max: limits.slots_max,
        ..default
    }
}
