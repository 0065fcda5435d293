//! What instances of one component are made from.

use std::sync::{Arc, atomic::AtomicU64};

use policy_api::Mode;
use wasmtime::component::InstancePre;

use crate::{
    Host, Level,
    compiled::Compiled,
    instance::{Instance, Scene, Stillborn},
    recording::{Record, Who},
    runtime::Core,
    self_check::QuietHost,
    slot::Slot,
    state::{State, bounded},
    stop::Budget,
    wit::Hooks,
};

/// Everything needed for one more instance.
pub(crate) struct Blueprint {
    /// Kept for whoever loads the same bytes.
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) pre: InstancePre<State>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) config_json: String,
    /// As recordings name it.
    pub(crate) who: Arc<Who>,
    pub(crate) mode: Mode,
    /// The state that a `single` policy took over from its predecessor, and takes up again after a trap.
    pub(crate) inherited: Option<Vec<u8>>,
    /// What its instances have, all together.
    pub(crate) memory_bytes: Arc<AtomicU64>,
}

impl Blueprint {
    /// Makes one more instance while requests run: better without its state than not at all.
    pub(crate) fn rebuild(&self, core: &Arc<Core>) -> Result<Instance, Stillborn> {
        let budget = core.instance_budget();
        let mut instance = Instance::configured(core, self, budget)?;
        let Some(state) = self.inherited.as_ref().filter(|_| self.mode == Mode::Single) else {
            return Ok(self.started(instance));
        };
        match self.restore(core, &mut instance, state, budget) {
            Ok(()) => Ok(self.started(instance)),
            Err(why) => {
                self.host.log(self.slot.name(), Level::Warn, &format!("the policy starts empty: {why}"));
                Instance::configured(core, self, budget).map(|instance| self.started(instance))
            }
        }
    }

    /// Hands an instance a predecessor's state; or says why it does not take it. It may have taken half then.
    pub(crate) fn restore(
        &self,
        core: &Arc<Core>,
        instance: &mut Instance,
        state: &[u8],
        budget: Budget,
    ) -> Result<(), String> {
        let answer = instance.call(budget, Scene::of_host(core), |exports, store| exports.restore(store, state));
        match answer {
            Ok(Some(Ok(())) | None) => {
                if let Some(start) = &mut instance.start {
                    start.inherited = Some(state.to_vec());
                }
                Ok(())
            }
            Ok(Some(Err(reason))) => {
                let reason = bounded(&reason, core.limits.message_bytes_max);
                Err(format!("it refuses its predecessor's state: {reason}"))
            }
            Err(stop) => Err(format!("its predecessor's state broke it: {}", stop.into_fault())),
        }
    }

    /// Tells a recording how a new instance began.
    pub(crate) fn started(&self, mut instance: Instance) -> Instance {
        if let Some(start) = instance.start.take() {
            self.host.record(Record::Start(start));
        }
        instance
    }

    /// The same for a component that has no state yet, and a slot that nobody sees.
    pub(crate) fn unborn(&self, core: &Core) -> Blueprint {
        let slot = Arc::new(Slot::new(self.slot.name(), &core.limits));
        Blueprint { slot, inherited: None, ..self.copy() }
    }

    /// The same with a host that nobody hears.
    pub(crate) fn quiet(&self) -> Blueprint {
        Blueprint { host: Arc::new(QuietHost(Arc::clone(&self.host))), ..self.copy() }
    }

    fn copy(&self) -> Blueprint {
        let Blueprint { compiled, pre, hooks, slot, host, config_json, who, mode, inherited, memory_bytes: _ } = self;
        Blueprint {
            compiled: Arc::clone(compiled),
            pre: pre.clone(),
            hooks: Arc::clone(hooks),
            slot: Arc::clone(slot),
            host: Arc::clone(host),
            config_json: config_json.clone(),
            who: Arc::clone(who),
            mode: *mode,
            inherited: inherited.clone(),
            memory_bytes: Arc::default(),
        }
    }
}
