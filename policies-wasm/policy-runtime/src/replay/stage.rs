//! Where recorded calls are made again: a runtime that meters fuel, and one instance at a time.

use std::sync::Arc;

use policy_api::{Answer, Event, Holds, Hook, PolicyFault};

use super::Options;
use crate::{
    Component, Host, Level, Limits, LoadError, Runtime,
    component::recorded,
    instance::{Instance, Scene},
    recording::{self, CallLine, Policy, Recording, Said, StartLine},
    runtime::Core,
    stop::Stop,
    tape::Tape,
    verdict::Verdict,
    wit::Exports,
};

/// Fuel of each call made while loading: interpreters of other languages start slowly.
const LOAD_FUEL_MAX: u64 = 20_000_000_000;

/// The runtime of one replay.
pub(super) struct Theatre {
    runtime: Runtime,
}

/// One policy in it.
pub(super) struct Stage<'a> {
    core: &'a Arc<Core>,
    component: Component,
    are_prompts_withheld: bool,
}

/// A call that was made again.
pub(super) struct Run {
    pub answer: recording::Answer,
    pub tape: Tape,
    pub holds: Holds,
    /// The instance must not be called again.
    pub is_spent: bool,
}

/// Keeps nothing: a replay's log lines and numbers are in its tapes.
struct Silent;

impl Host for Silent {
    fn now_ms(&self) -> u64 {
        0
    }
    fn log(&self, _slot: &str, _level: Level, _line: &str) {}
    fn count(&self, _slot: &str, _name: &str, _delta: u64) {}
    fn gauge(&self, _slot: &str, _name: &str, _value: f64) {}
}

impl Theatre {
    /// The bounds are those of the recording, so that what is cut is cut again.
    pub fn open(recording: &Recording, options: &Options) -> Result<Theatre, LoadError> {
        let limits = Limits {
            fuel_max: Some(options.fuel_max),
            deadlines_beside_fuel: false,
            load_fuel_max: LOAD_FUEL_MAX,
            instances_ready: 1,
            slots_max: usize::MAX,
            ..recording.header.limits.clone()
        };
        Ok(Theatre { runtime: Runtime::new(limits, Arc::new(Silent), 0)? })
    }

    /// Loads a policy of the recording, whose component is there.
    pub fn stage(&self, recording: &Recording, policy: &Policy) -> Result<Stage<'_>, LoadError> {
        self.load(recording, &policy.line.slot, policy.component.as_deref().unwrap_or_default(), &policy.line.config)
    }

    pub fn load(
        &self,
        recording: &Recording,
        slot: &str,
        component: &[u8],
        config_json: &str,
    ) -> Result<Stage<'_>, LoadError> {
        let component = self.runtime.load(slot, component, config_json, None)?;
        Ok(Stage { core: self.runtime.core(), component, are_prompts_withheld: !recording.header.prompts })
    }
}

impl Run {
    /// Of a call that need not be made again.
    pub fn of_recorded(call: &CallLine) -> Run {
        Run { answer: call.answer.clone(), tape: Tape::Off, holds: Holds::default(), is_spent: false }
    }
}

impl Stage<'_> {
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// An instance that begins as one did, or as any would.
    pub fn instance(&self, start: Option<&StartLine>) -> Result<Instance, LoadError> {
        let (now_ms, tape) = match start {
            Some(start) => (start.now_ms, Tape::playing(&start.configure.heard, false)),
            None => (0, Tape::Off),
        };
        let scene = Scene { now_ms, facts: None, fleet: None, chance_key: 0 };
        let budget = self.core.load_budget();
        let made = Instance::configured_at(self.core, self.component.blueprint(), budget, scene, tape);
        let (instance, _tape) = made.map_err(|error| error.into_load_error())?;
        match start.and_then(|start| start.inherited.as_ref()) {
            Some(bytes) => self.restore(instance, now_ms, bytes),
            None => Ok(instance),
        }
    }

    /// Gives an instance a state that was recorded.
    pub fn restore(&self, mut instance: Instance, now_ms: u64, bytes: &[u8]) -> Result<Instance, LoadError> {
        let scene = Scene { now_ms, facts: None, fleet: None, chance_key: 0 };
        let answer = instance.call(self.core.load_budget(), scene, |exports, store| exports.restore(store, bytes));
        match answer.map_err(|stop| stop.into_load_error("restore"))? {
            Some(Err(message)) => {
                Err(LoadError::BadAnswer { during: "restore".to_owned(), message: format!("it refuses: {message}") })
            }
            Some(Ok(())) | None => Ok(instance),
        }
    }

    /// Makes a call again with the answers that it was given.
    pub fn play(&self, instance: &mut Instance, recording: &Recording, call: &CallLine) -> Run {
        let tape = Tape::playing(&call.track.heard, self.are_prompts_withheld);
        self.run(instance, recording, call, &call.events, tape)
    }

    /// Makes a call, perhaps of another policy, with the answers that this stage has.
    pub fn ask(&self, instance: &mut Instance, recording: &Recording, call: &CallLine, events: &[Event]) -> Run {
        self.run(instance, recording, call, events, Tape::recording_without_prompts(self.are_prompts_withheld))
    }

    fn run(
        &self,
        instance: &mut Instance,
        recording: &Recording,
        call: &CallLine,
        events: &[Event],
        tape: Tape,
    ) -> Run {
        let scene = Scene {
            now_ms: call.now_ms,
            facts: recording.facts(call),
            fleet: recording.fleet(call),
            chance_key: call.chance,
        };
        let budget = self.core.call_budget();
        instance.tape(tape);
        match call.hook {
            Hook::Admit => {
                let answer = instance.call(budget, scene, Exports::admit);
                self.decided(instance, call.hook, answer, |verdict| Said::Admit(verdict.clone()))
            }
            Hook::Place => {
                let answer = instance.call(budget, scene, Exports::place);
                self.decided(instance, call.hook, answer, |verdict| Said::Place(verdict.clone()))
            }
            Hook::Snapshot => {
                let answer = instance.call(self.core.load_budget(), scene, Exports::snapshot);
                self.heard(instance, call.hook, answer, |bytes| Said::Snapshot(bytes.clone()))
            }
            Hook::Observe | Hook::Configure => {
                let slot = self.component.blueprint().slot.name();
                let answer = instance.call(budget, scene, |exports, store| exports.observe(store, slot, events));
                self.heard(instance, call.hook, answer, |()| Said::Observed)
            }
        }
    }

    fn decided<V: Verdict>(
        &self,
        instance: &mut Instance,
        hook: Hook,
        answer: Result<Option<V>, Stop>,
        said: fn(&V) -> Said,
    ) -> Run {
        let checked = |mut verdict: V| verdict.check(&self.core.limits).map(|()| verdict);
        let is_spent = answer.is_err();
        let answer = answer
            .map_err(Stop::into_fault)
            .and_then(|verdict| verdict.ok_or(PolicyFault::NoHook { hook }).and_then(checked));
        self.run_of(instance, answer, said, is_spent)
    }

    fn heard<V>(
        &self,
        instance: &mut Instance,
        hook: Hook,
        answer: Result<Option<V>, Stop>,
        said: fn(&V) -> Said,
    ) -> Run {
        let is_spent = answer.is_err();
        let answer = answer.map_err(Stop::into_fault).and_then(|given| given.ok_or(PolicyFault::NoHook { hook }));
        self.run_of(instance, answer, said, is_spent)
    }

    fn run_of<V>(
        &self,
        instance: &mut Instance,
        answer: Result<V, PolicyFault>,
        said: fn(&V) -> Said,
        is_spent: bool,
    ) -> Run {
        let mut words = instance.take_words();
        let holds = std::mem::take(&mut words.holds);
        let answer = recorded(&answer.map(|verdict| Answer { verdict, words }), said);
        Run { answer, tape: instance.take_tape(), holds, is_spent }
    }
}
