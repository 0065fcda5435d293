//! Owns the engine, the ticker and what slots share; loads components.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use wasmtime::{Config, Engine, component::Linker};

use crate::{
    Component, Host, Limits, LoadError, Prepared, Shape,
    compiled::CompiledComponents,
    inspect,
    limits::Meter,
    load::{self, Upload},
    slot::{Slot, SlotUse, lock},
    state::State,
    stop::Budget,
    ticker::Ticker,
    wit,
};

/// The runtime of a process. Components keep what they need of it alive.
pub struct Runtime {
    core: Arc<Core>,
}

/// What loading and calling need.
pub(crate) struct Core {
    pub(crate) limits: Arc<Limits>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) seed: u64,
    pub(crate) engine: Engine,
    pub(crate) compiled: CompiledComponents,
    pub(crate) linker: Linker<State>,
    /// None where fuel is the meter.
    pub(crate) ticker: Option<Ticker>,
    /// Instances made so far; each is named by how many there were before.
    pub(crate) instances: AtomicU64,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

impl Runtime {
    /// A runtime whose policies' chance follows from `seed`.
    pub fn new(limits: Limits, host: Arc<dyn Host>, seed: u64) -> Result<Runtime, LoadError> {
        Runtime::make(limits, host, seed, None)
    }

    /// The same, which keeps compiled components in a folder for the runs to come, at most
    /// [`Limits::compiled_bytes_max`] of them. The folder is made when there is none; others must not be able to write to
    /// it. Whatever is wrong with it, components load.
    pub fn with_folder(
        limits: Limits,
        host: Arc<dyn Host>,
        seed: u64,
        compiled_folder: PathBuf,
    ) -> Result<Runtime, LoadError> {
        Runtime::make(limits, host, seed, Some(compiled_folder))
    }

    fn make(limits: Limits, host: Arc<dyn Host>, seed: u64, folder: Option<PathBuf>) -> Result<Runtime, LoadError> {
        let engine = Engine::new(&config(&limits)).map_err(|error| internal("make an engine", &error))?;
        let mut linker = Linker::new(&engine);
        wit::add_to_linker(&mut linker).map_err(|error| internal("offer the contract's imports", &error))?;
        let ticker = match limits.meter() {
            Meter::Fuel => None,
            Meter::Deadlines | Meter::Both => {
                Some(Ticker::start(&engine).map_err(|error| internal("start the epochs' thread", &error))?)
            }
        };
        let compiled = CompiledComponents::new(&engine, folder, limits.compiled_bytes_max);
        let (limits, instances, slots) = (Arc::new(limits), AtomicU64::new(0), Mutex::default());
        Ok(Runtime { core: Arc::new(Core { limits, host, seed, engine, compiled, linker, ticker, instances, slots }) })
    }

    /// Compiles, checks, instantiates, configures and tries out a component, restores `predecessor`'s snapshot when
    /// both have that hook, and fills the pool. Blocking CPU work: call it off the async threads. The result is ready
    /// for its first call; publish it only then.
    ///
    /// `config_json` is a JSON object, or empty for none. What a slot keeps for its policies (prefix index, buckets,
    /// store) is found again under the same `slot`.
    pub fn load(
        &self,
        slot: &str,
        component: &[u8],
        config_json: &str,
        predecessor: Option<&Component>,
    ) -> Result<Component, LoadError> {
        let (component, handover) = self.prepare(slot, component, config_json)?.take_over(predecessor)?;
        // The predecessor goes on beside it; who replaces one under load prepares, takes over, publishes and finishes.
        drop(handover);
        Ok(component)
    }

    /// The first half of [`Runtime::load`], up to where a predecessor is needed: compiles, checks, instantiates,
    /// configures and tries out a component. Blocking CPU work.
    pub fn prepare(&self, slot: &str, component: &[u8], config_json: &str) -> Result<Prepared, LoadError> {
        load::prepare(&self.core, &Upload { slot, component, config_json })
    }

    /// Compiles a component and says what it imports and exports; runs nothing of it.
    pub fn inspect(&self, component: &[u8]) -> Result<Shape, LoadError> {
        inspect::inspect(&self.core, component)
    }

    /// Forgets what a slot kept, for a slot that is removed. Components that still run keep theirs.
    pub fn forget(&self, slot: &str) {
        lock(&self.core.slots).remove(slot);
    }

    /// How full what a slot keeps is; none where nothing was ever loaded.
    pub fn slot_use(&self, slot: &str) -> Option<SlotUse> {
        let slot = lock(&self.core.slots).get(slot).map(Arc::clone)?;
        Some(slot.now())
    }

    /// For a replay, which makes instances of its own.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The bounds it was made with.
    pub fn limits(&self) -> &Limits {
        &self.core.limits
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("limits", &self.core.limits).finish_non_exhaustive()
    }
}

impl Core {
    /// The shared state of a slot, made when it is first asked for.
    pub(crate) fn slot(&self, name: &str) -> Result<Arc<Slot>, LoadError> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(name) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= self.limits.slots_max {
            return Err(LoadError::TooManySlots { slots_max: self.limits.slots_max });
        }
        let slot = Arc::new(Slot::new(name, &self.limits));
        slots.insert(name.to_owned(), Arc::clone(&slot));
        Ok(slot)
    }

    /// For a hook, while requests run.
    pub(crate) fn call_budget(&self) -> Budget {
        Budget { deadline_ms: self.limits.call_deadline_ms, fuel_max: self.limits.fuel_max }
    }

    /// For the start of an instance, while requests run.
    pub(crate) fn instance_budget(&self) -> Budget {
        Budget { deadline_ms: self.limits.instance_deadline_ms, ..self.load_budget() }
    }

    /// For a running policy's state.
    pub(crate) fn snapshot_budget(&self) -> Budget {
        Budget { deadline_ms: self.limits.snapshot_deadline_ms, ..self.load_budget() }
    }

    /// For every call made while loading.
    pub(crate) fn load_budget(&self) -> Budget {
        let fuel_max = self.limits.fuel_max.map(|_| self.limits.load_fuel_max);
        Budget { deadline_ms: self.limits.load_deadline_ms, fuel_max }
    }
}

/// Reused instances and no concurrency: an exported call costs 111 ns instead of 345 (POLICY-CONTRACT's table).
fn config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config.concurrency_support(false);
    config.wasm_backtrace_max_frames(None);
    // For backtraces and debuggers, which nobody here reads; they are a third of a compiled component.
    config.generate_address_map(false);
    config.native_unwind_info(false);
    match limits.meter() {
        // Where fuel is the meter a run must replay on any machine; these two differ between machines.
        Meter::Fuel => config.consume_fuel(true).cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true),
        Meter::Deadlines => config.epoch_interruption(true),
        Meter::Both => config.consume_fuel(true).epoch_interruption(true),
    };
    config
}

fn internal(verb: &str, error: &dyn fmt::Display) -> LoadError {
    LoadError::Internal { message: format!("{verb}: {error}") }
}
