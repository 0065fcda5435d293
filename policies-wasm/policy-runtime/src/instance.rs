//! One instance of a component: made, configured, called under a budget.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use policy_api::{Call, FleetView, RequestFacts, Words};
use wasmtime::Store;

use crate::{
    LoadError,
    blueprint::Blueprint,
    deadline,
    recording::Start,
    runtime::Core,
    state::State,
    stop::{Budget, Stop},
    tape::Tape,
    wit::{Exports, ProbeError, Refusal},
};

/// One instance. After a [`Stop`] it must not be called again.
pub(crate) struct Instance {
    core: Arc<Core>,
    store: Store<State>,
    exports: Exports,
    /// Names it for as long as the process lives.
    number: u64,
    /// Calls since it was ready.
    turns: u64,
    /// How it began, where that is recorded and was not yet told.
    pub(crate) start: Option<Start>,
    /// The last recording that says what state it was in.
    pub(crate) known_in: u64,
}

/// What a call may look at.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) now_ms: u64,
    pub(crate) facts: Option<&'a Arc<RequestFacts>>,
    pub(crate) fleet: Option<&'a Arc<FleetView>>,
    /// What this call's chance follows from.
    pub(crate) chance_key: u64,
}

/// Why there is no new instance.
pub(crate) enum Stillborn {
    Stopped { during: &'static str, stop: Stop },
    WrongSignature(ProbeError),
    Refused(Refusal),
}

impl<'a> Scene<'a> {
    /// A call about nothing in particular, with the host's time.
    pub(crate) fn of_host(core: &Core) -> Scene<'a> {
        Scene { now_ms: core.host.now_ms(), facts: None, fleet: None, chance_key: core.seed }
    }

    /// A call about a request.
    pub(crate) fn of_call(call: &Call<'a>, chance_key: u64) -> Scene<'a> {
        Scene { now_ms: call.now_ms, facts: Some(call.facts), fleet: Some(call.fleet), chance_key }
    }
}

impl Instance {
    /// Makes an instance that is not configured yet.
    pub(crate) fn bare(core: &Arc<Core>, blueprint: &Blueprint, budget: Budget) -> Result<Instance, Stillborn> {
        let (slot, host) = (Arc::clone(&blueprint.slot), Arc::clone(&blueprint.host));
        let state = State::new(slot, host, Arc::clone(&core.limits), Arc::clone(&blueprint.memory_bytes));
        let mut store = Store::new(&core.engine, state);
        store.limiter(|state| state);
        if core.ticker.is_some() {
            let core = Arc::clone(core);
            store.epoch_deadline_callback(move |context| {
                core.ticker.as_ref().inspect(|ticker| ticker.keep_on());
                deadline::passed(context.data().deadline())
            });
        }
        let running = core.ticker.as_ref().map(|ticker| ticker.watch(budget.deadline_ms));
        arm(core, &mut store, budget);
        let instance = blueprint.pre.instantiate(&mut store).map_err(|error| {
            let stop = Stop::of(&error, store.data(), budget);
            Stillborn::Stopped { during: "its start", stop }
        })?;
        drop(running);
        let exports = blueprint.hooks.load(&mut store, &instance).map_err(Stillborn::WrongSignature)?;
        let number = core.instances.fetch_add(1, Relaxed);
        Ok(Instance { core: Arc::clone(core), store, exports, number, turns: 0, start: None, known_in: 0 })
    }

    /// Makes an instance and gives it its configuration, if it takes one.
    pub(crate) fn configured(core: &Arc<Core>, blueprint: &Blueprint, budget: Budget) -> Result<Instance, Stillborn> {
        let scene = Scene::of_host(core);
        let recording = blueprint.host.recording();
        let tape = if recording > 0 { Tape::recording() } else { Tape::Off };
        let (mut instance, tape) = Instance::configured_at(core, blueprint, budget, scene, tape)?;
        instance.known_in = recording;
        instance.start = (recording > 0).then(|| Start {
            who: Arc::clone(&blueprint.who),
            instance: instance.number,
            now_ms: scene.now_ms,
            configure: tape.into_track(),
            inherited: None,
        });
        Ok(instance)
    }

    /// The same at a moment of the caller's, with a tape for its questions.
    pub(crate) fn configured_at(
        core: &Arc<Core>,
        blueprint: &Blueprint,
        budget: Budget,
        scene: Scene<'_>,
        tape: Tape,
    ) -> Result<(Instance, Tape), Stillborn> {
        let mut instance = Instance::bare(core, blueprint, budget)?;
        instance.tape(tape);
        let answer = instance
            .call(budget, scene, |exports, store| exports.configure(store, &blueprint.config_json))
            .map_err(|stop| Stillborn::Stopped { during: "configure", stop })?;
        let tape = instance.take_tape();
        match answer {
            Some(Err(refusal)) => Err(Stillborn::Refused(refusal)),
            Some(Ok(())) | None => Ok((instance, tape)),
        }
    }

    /// Calls one hook under a budget.
    pub(crate) fn call<T>(
        &mut self,
        budget: Budget,
        scene: Scene<'_>,
        hook: impl FnOnce(&Exports, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Stop> {
        let Instance { core, store, exports, .. } = self;
        let _running = core.ticker.as_ref().map(|ticker| ticker.watch(budget.deadline_ms));
        store.data_mut().enter(scene.now_ms, scene.facts, scene.fleet, scene.chance_key);
        arm(core, store, budget);
        let answer = hook(exports, store);
        store.data_mut().leave();
        if let Some(fuel_max) = budget.fuel_max {
            let left = store.get_fuel().expect("the engine meters fuel whenever a budget has some");
            store.data_mut().call.words.fuel = Some(fuel_max - left);
        }
        answer.map_err(|error| Stop::of(&error, store.data(), budget))
    }

    /// Sets what becomes of the next call's questions.
    pub(crate) fn tape(&mut self, tape: Tape) {
        self.store.data_mut().tape = tape;
    }

    /// The last call's tape.
    pub(crate) fn take_tape(&mut self) -> Tape {
        std::mem::take(&mut self.store.data_mut().tape)
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// How many calls it had, counting one more.
    pub(crate) fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns - 1
    }

    /// What the last call said besides its verdict.
    pub(crate) fn take_words(&mut self) -> Words {
        std::mem::take(&mut self.store.data_mut().call.words)
    }
}

/// Before every call: an epoch's deadline counts from now, and so does a tank.
fn arm(core: &Core, store: &mut Store<State>, budget: Budget) {
    if core.ticker.is_some() {
        store.data().deadline().begin(budget.deadline_ms);
        store.set_epoch_deadline(u64::from(budget.deadline_ms.max(1)));
    }
    if let Some(fuel_max) = budget.fuel_max {
        store.set_fuel(fuel_max).expect("the engine meters fuel whenever a budget has some");
    }
}

impl Stillborn {
    /// As what an uploader is told.
    pub(crate) fn into_load_error(self) -> LoadError {
        match self {
            Stillborn::Stopped { during, stop } => stop.into_load_error(during),
            Stillborn::WrongSignature(error) => error.into_load_error(),
            Stillborn::Refused(Refusal { field, message }) => LoadError::ConfigRefused { field, message },
        }
    }

    /// As a running policy's stop; the last two cannot happen to a component that was loaded, unless it is moody.
    pub(crate) fn into_stop(self) -> Stop {
        match self {
            Stillborn::Stopped { stop, .. } => stop,
            Stillborn::WrongSignature(error) => Stop::Trapped { message: error.into_load_error().to_string() },
            Stillborn::Refused(Refusal { message, .. }) => {
                Stop::Trapped { message: format!("a new instance refuses the configuration: {message}") }
            }
        }
    }
}
