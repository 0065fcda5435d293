//! The hooks that a component exports: found, called, and their answers translated.

use policy_api::{
    Admission, Denial, Event, FailureKind, Hook, Mode, Outcome, Placement, RegionId, ReplicaId, Subject, Usage,
};
use wasmtime::{
    Store,
    component::{Instance, InstancePre, Resource},
};

use super::{
    RequestHandle,
    bindings::{
        exports::headworks::policy::{admit, configure, describe, observe, place, snapshot},
        headworks::policy::types,
    },
};
use crate::{LoadError, contract, state::State};

/// Where a component's hooks are, found once per component.
pub(crate) struct Hooks {
    describe: describe::GuestIndices,
    configure: Option<configure::GuestIndices>,
    admit: Option<admit::GuestIndices>,
    place: Option<place::GuestIndices>,
    observe: Option<observe::GuestIndices>,
    snapshot: Option<snapshot::GuestIndices>,
}

/// The hooks of one instance, ready to be called.
pub(crate) struct Exports {
    describe: describe::Guest,
    configure: Option<configure::Guest>,
    admit: Option<admit::Guest>,
    place: Option<place::Guest>,
    observe: Option<observe::Guest>,
    snapshot: Option<snapshot::Guest>,
}

/// An export has the right name and the wrong type.
pub(crate) struct ProbeError {
    /// The interface.
    pub(crate) interface: &'static str,
    /// What differs.
    pub(crate) error: wasmtime::Error,
}

/// What a component says of itself.
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) contract: String,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) mode: Mode,
    pub(crate) config_schema: String,
}

/// Why a configuration is refused.
pub(crate) struct Refusal {
    pub(crate) field: String,
    pub(crate) message: String,
}

/// Finds one interface among a component's exports, where `exported` says it is there.
macro_rules! find {
    ($module:ident, $pre:expr, $exported:expr) => {
        match $exported.contains(&stringify!($module)) {
            true => Some($module::GuestIndices::new($pre).map_err(|error| probe(stringify!($module), error))?),
            false => None,
        }
    };
}

/// Loads one interface of an instance, where the component has it.
macro_rules! load {
    ($module:ident, $hooks:expr, $store:expr, $instance:expr) => {
        match &$hooks.$module {
            Some(indices) => {
                Some(indices.load(&mut *$store, $instance).map_err(|error| probe(stringify!($module), error))?)
            }
            None => None,
        }
    };
}

impl Hooks {
    /// Finds the hooks that are `exported` (interface names without package and version); `describe` must be there.
    pub(crate) fn find(pre: &InstancePre<State>, exported: &[&str]) -> Result<Hooks, ProbeError> {
        Ok(Hooks {
            describe: describe::GuestIndices::new(pre).map_err(|error| probe(contract::DESCRIBE, error))?,
            configure: find!(configure, pre, exported),
            admit: find!(admit, pre, exported),
            place: find!(place, pre, exported),
            observe: find!(observe, pre, exported),
            snapshot: find!(snapshot, pre, exported),
        })
    }

    /// The hooks there are, in the order of the contract.
    pub(crate) fn list(&self) -> Vec<Hook> {
        let there = [
            (Hook::Configure, self.configure.is_some()),
            (Hook::Admit, self.admit.is_some()),
            (Hook::Place, self.place.is_some()),
            (Hook::Observe, self.observe.is_some()),
            (Hook::Snapshot, self.snapshot.is_some()),
        ];
        there.into_iter().filter(|(_, is_there)| *is_there).map(|(hook, _)| hook).collect()
    }

    /// Makes one instance's hooks ready to be called; here their types are checked.
    pub(crate) fn load(&self, store: &mut Store<State>, instance: &Instance) -> Result<Exports, ProbeError> {
        Ok(Exports {
            describe: self.describe.load(&mut *store, instance).map_err(|error| probe(contract::DESCRIBE, error))?,
            configure: load!(configure, self, store, instance),
            admit: load!(admit, self, store, instance),
            place: load!(place, self, store, instance),
            observe: load!(observe, self, store, instance),
            snapshot: load!(snapshot, self, store, instance),
        })
    }
}

fn probe(interface: &'static str, error: wasmtime::Error) -> ProbeError {
    ProbeError { interface, error }
}

impl ProbeError {
    /// As what an uploader is told.
    pub(crate) fn into_load_error(self) -> LoadError {
        let message = format!("{:#}", self.error);
        LoadError::WrongSignature { export: contract::full_name(self.interface), message }
    }
}

/// Each call answers `None` when the component has no such hook.
impl Exports {
    pub(crate) fn describe(&self, store: &mut Store<State>) -> wasmtime::Result<Described> {
        let describe::Description { name, version, contract, hooks, mode, config_schema } =
            self.describe.call_describe(store)?;
        let hooks = hooks.into_iter().map(hook_of).collect();
        let mode = match mode {
            describe::Mode::Pooled => Mode::Pooled,
            describe::Mode::Single => Mode::Single,
        };
        Ok(Described { name, version, contract, hooks, mode, config_schema })
    }

    pub(crate) fn configure(
        &self,
        store: &mut Store<State>,
        json: &str,
    ) -> wasmtime::Result<Option<Result<(), Refusal>>> {
        let Some(configure) = &self.configure else { return Ok(None) };
        let answer = configure.call_configure(store, json)?;
        Ok(Some(answer.map_err(|configure::Refusal { field, message }| Refusal { field, message })))
    }

    pub(crate) fn admit(&self, store: &mut Store<State>) -> wasmtime::Result<Option<Admission>> {
        let Some(admit) = &self.admit else { return Ok(None) };
        Ok(Some(match admit.call_admit(store, lent())? {
            admit::Admission::Allow => Admission::Allow,
            admit::Admission::Deny(denial) => Admission::Deny(denial_of(denial)),
            admit::Admission::Pass => Admission::Pass,
        }))
    }

    pub(crate) fn place(&self, store: &mut Store<State>) -> wasmtime::Result<Option<Placement>> {
        let Some(place) = &self.place else { return Ok(None) };
        Ok(Some(match place.call_place(store, lent())? {
            place::Placement::Replica(id) => Placement::Replica(ReplicaId(id)),
            place::Placement::Region(id) => Placement::Region(RegionId(id)),
            place::Placement::Hold => Placement::Hold,
            place::Placement::Reject(denial) => Placement::Reject(denial_of(denial)),
            place::Placement::Pass => Placement::Pass,
        }))
    }

    /// `slot` chooses whose notes the policy is shown.
    pub(crate) fn observe(
        &self,
        store: &mut Store<State>,
        slot: &str,
        events: &[Event],
    ) -> wasmtime::Result<Option<()>> {
        let Some(observe) = &self.observe else { return Ok(None) };
        let events: Vec<observe::Event> = events.iter().map(|event| event_of(slot, event)).collect();
        observe.call_observe(store, &events).map(Some)
    }

    pub(crate) fn snapshot(&self, store: &mut Store<State>) -> wasmtime::Result<Option<Vec<u8>>> {
        let Some(snapshot) = &self.snapshot else { return Ok(None) };
        snapshot.call_snapshot(store).map(Some)
    }

    pub(crate) fn restore(
        &self,
        store: &mut Store<State>,
        bytes: &[u8],
    ) -> wasmtime::Result<Option<Result<(), String>>> {
        let Some(snapshot) = &self.snapshot else { return Ok(None) };
        snapshot.call_restore(store, bytes).map(Some)
    }
}

/// The request of the call that is going on; there is only one, so its number says nothing.
fn lent() -> Resource<RequestHandle> {
    Resource::new_borrow(0)
}

fn hook_of(hook: describe::Hook) -> Hook {
    match hook {
        describe::Hook::Configure => Hook::Configure,
        describe::Hook::Admit => Hook::Admit,
        describe::Hook::Place => Hook::Place,
        describe::Hook::Observe => Hook::Observe,
        describe::Hook::Snapshot => Hook::Snapshot,
    }
}

fn denial_of(denial: types::Denial) -> Denial {
    let types::Denial { status, retry_after_ms, message } = denial;
    Denial { status, retry_after_ms, message }
}

fn event_of(slot: &str, event: &Event) -> observe::Event {
    let subject_of = |subject: &Subject| {
        let Subject { request, tenant, model, endpoint: _, notes } = subject;
        let note = notes.of(slot).to_vec();
        observe::Subject { request: *request, tenant: tenant.to_string(), model: model.to_string(), note }
    };
    match event {
        Event::Started { subject, replica: ReplicaId(replica) } => {
            observe::Event::Started(observe::Started { subject: subject_of(subject), replica: *replica })
        }
        Event::FirstToken { subject, replica: ReplicaId(replica), ttft_us } => {
            let subject = subject_of(subject);
            observe::Event::FirstToken(observe::FirstToken { subject, replica: *replica, ttft_us: *ttft_us })
        }
        Event::Failed { subject, replica: ReplicaId(replica), kind } => {
            let (subject, why) = (subject_of(subject), failure_of(*kind));
            observe::Event::Failed(observe::Failed { subject, replica: *replica, why })
        }
        Event::Ended { subject, replica, outcome, usage } => observe::Event::Ended(observe::Ended {
            subject: subject_of(subject),
            replica: replica.map(|ReplicaId(replica)| replica),
            outcome: outcome_of(*outcome),
            usage: usage_of(*usage),
        }),
        Event::ReplicaUp(ReplicaId(replica)) => observe::Event::ReplicaUp(*replica),
        Event::ReplicaDown(ReplicaId(replica)) => observe::Event::ReplicaDown(*replica),
    }
}

fn outcome_of(outcome: Outcome) -> observe::Outcome {
    match outcome {
        Outcome::Finished => observe::Outcome::Finished,
        Outcome::Failed => observe::Outcome::Failed,
        Outcome::Cancelled => observe::Outcome::Cancelled,
        Outcome::Refused => observe::Outcome::Refused,
    }
}

fn usage_of(usage: Usage) -> types::Usage {
    let Usage { prompt_tokens, cached_tokens, output_tokens } = usage;
    types::Usage { prompt_tokens, cached_tokens, output_tokens }
}

fn failure_of(kind: FailureKind) -> observe::Failure {
    match kind {
        FailureKind::Replica => observe::Failure::Replica,
        FailureKind::Cancelled => observe::Failure::Cancelled,
        FailureKind::Refused => observe::Failure::Refused,
    }
}
