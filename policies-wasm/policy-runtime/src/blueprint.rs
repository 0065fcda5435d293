//! What instances of one component are made from.

use std::sync::Arc;

use policy_api::Mode;
use wasmtime::component::InstancePre;

use crate::{
    Host, Level,
    compiled::Compiled,
    instance::{Instance, Scene, Stillborn},
    runtime::Core,
    slot::Slot,
    state::{State, bounded},
    stop::{Budget, Stop},
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
    pub(crate) mode: Mode,
    /// The state that a `single` policy took over from its predecessor, and takes up again after a trap.
    pub(crate) inherited: Option<Vec<u8>>,
}

impl Blueprint {
    /// Makes the first instances, at load: what goes wrong with inherited state is the uploader's to know.
    pub(crate) fn build(&self, core: &Arc<Core>) -> Result<Instance, Stillborn> {
        let mut instance = Instance::configured(core, self, core.load_budget())?;
        match self.restore(core, &mut instance, core.load_budget()) {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(_refused)) => Instance::configured(core, self, core.load_budget()),
            Err(stop) => Err(Stillborn::Stopped { during: "restore", stop }),
        }
    }

    /// Makes one more while requests run: better without its state than not at all.
    pub(crate) fn rebuild(&self, core: &Arc<Core>) -> Result<Instance, Stillborn> {
        let budget = core.instance_budget();
        let mut instance = Instance::configured(core, self, budget)?;
        match self.restore(core, &mut instance, budget) {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(_)) | Err(_) => Instance::configured(core, self, budget),
        }
    }

    /// Hands a `single` policy its predecessor's state, if there is any. A refusal is told to the operator here.
    fn restore(&self, core: &Arc<Core>, instance: &mut Instance, budget: Budget) -> Result<Result<(), Refused>, Stop> {
        let Some(bytes) = self.inherited.as_ref().filter(|_| self.mode == Mode::Single) else { return Ok(Ok(())) };
        let answer = instance.call(budget, Scene::of_host(core), |exports, store| exports.restore(store, bytes))?;
        let Some(Err(reason)) = answer else { return Ok(Ok(())) };
        let reason = bounded(&reason, core.limits.message_bytes_max);
        let line = format!("the policy starts empty: it refuses its predecessor's state: {reason}");
        self.host.log(self.slot.name(), Level::Warn, &line);
        Ok(Err(Refused))
    }
}

/// The policy did not take the state it was handed.
struct Refused;
