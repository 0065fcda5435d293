//! One loaded component, as a policy.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use policy_api::{
    Admission, Answer, Call, Denial, Description, Event, FleetView, Hook, Placement, Policy, PolicyFault, Words,
};
use wasmtime::Store;

use crate::{
    blueprint::Blueprint,
    handover::Lineage,
    instance::{Instance, Scene},
    pool::{Instances, Loan, Pool},
    runtime::Core,
    self_check::check_denial,
    state::{State, bounded},
    stop::{Budget, Stop},
    wit::Exports,
};

/// One loaded component. Calls may come from many threads at once.
pub struct Component {
    core: Arc<Core>,
    blueprint: Blueprint,
    pool: Pool,
    description: Description,
    digest: String,
    bytes: usize,
    faults: FaultCounters,
    observed: AtomicU64,
    lineage: Arc<Lineage>,
    /// A successor has what it knew, and answers for it.
    retired: AtomicBool,
}

/// What a component is made of.
pub(crate) struct Parts {
    pub(crate) core: Arc<Core>,
    pub(crate) blueprint: Blueprint,
    pub(crate) pool: Pool,
    pub(crate) description: Description,
    pub(crate) digest: String,
    pub(crate) bytes: usize,
    pub(crate) lineage: Arc<Lineage>,
}

/// How often a component failed, by kind, since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// It trapped.
    pub trapped: u64,
    /// It ran past its deadline.
    pub deadline_passed: u64,
    /// It ran out of fuel.
    pub out_of_fuel: u64,
    /// It wanted more memory than it may have.
    pub out_of_memory: u64,
    /// No instance came free in time.
    pub no_instance: u64,
    /// It answered what no policy may answer.
    pub bad_answer: u64,
}

#[derive(Default)]
struct FaultCounters {
    trapped: AtomicU64,
    deadline_passed: AtomicU64,
    out_of_fuel: AtomicU64,
    out_of_memory: AtomicU64,
    no_instance: AtomicU64,
    bad_answer: AtomicU64,
}

impl Component {
    pub(crate) fn new(parts: Parts) -> Component {
        let Parts { core, blueprint, pool, description, digest, bytes, lineage } = parts;
        Component {
            core,
            blueprint,
            pool,
            description,
            digest,
            bytes,
            faults: FaultCounters::default(),
            observed: AtomicU64::new(0),
            lineage,
            retired: AtomicBool::new(false),
        }
    }

    /// `sha256:` and the digest of the component's bytes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The component's size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How often it failed since it was loaded.
    pub fn faults(&self) -> Faults {
        let FaultCounters { trapped, deadline_passed, out_of_fuel, out_of_memory, no_instance, bad_answer } =
            &self.faults;
        Faults {
            trapped: trapped.load(Relaxed),
            deadline_passed: deadline_passed.load(Relaxed),
            out_of_fuel: out_of_fuel.load(Relaxed),
            out_of_memory: out_of_memory.load(Relaxed),
            no_instance: no_instance.load(Relaxed),
            bad_answer: bad_answer.load(Relaxed),
        }
    }

    /// How full its pool of instances is.
    pub fn instances(&self) -> Instances {
        self.pool.now()
    }

    /// The configuration that it was given, a JSON object.
    pub fn config_json(&self) -> &str {
        &self.blueprint.config_json
    }

    /// The policy's state, for a shutdown.
    pub fn snapshot(&self) -> Result<Vec<u8>, PolicyFault> {
        let scene = Scene::of_host(&self.core);
        let (bytes, _) = self.ask(Hook::Snapshot, self.core.snapshot_budget(), scene, Exports::snapshot)?;
        self.checked_snapshot(bytes)
    }

    /// The one instance, out of service from here on, and what it knows.
    pub(crate) fn withdraw(&self) -> Result<(Loan<'_>, Vec<u8>), PolicyFault> {
        let mut loan = self.pool.lend(&*self.core.host).ok_or_else(|| self.counted(PolicyFault::NoInstance))?;
        let make = || self.blueprint.rebuild(&self.core).map_err(|error| self.stopped(error.into_stop()));
        let instance: &mut Instance = loan.instance(make)?;
        let (budget, scene) = (self.core.snapshot_budget(), Scene::of_host(&self.core));
        let bytes = instance.call(budget, scene, Exports::snapshot).map_err(|stop| self.stopped(stop))?;
        match bytes.ok_or(PolicyFault::NoHook { hook: Hook::Snapshot }).and_then(|bytes| self.checked_snapshot(bytes)) {
            Ok(bytes) => Ok((loan, bytes)),
            Err(fault) => {
                loan.give_back();
                Err(fault)
            }
        }
    }

    fn checked_snapshot(&self, bytes: Vec<u8>) -> Result<Vec<u8>, PolicyFault> {
        let bytes_max = self.core.limits.snapshot_bytes_max;
        if bytes.len() > bytes_max {
            let message = format!("a snapshot of {} bytes; at most {bytes_max} are allowed", bytes.len());
            return Err(self.counted(PolicyFault::BadAnswer { message }));
        }
        Ok(bytes)
    }

    /// From here on the heir answers.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Release);
    }

    /// Who answers in its place, once it is retired.
    fn heir(&self) -> Option<Arc<Component>> {
        if self.retired.load(Acquire) { self.lineage.heir() } else { None }
    }

    pub(crate) fn lineage(&self) -> &Arc<Lineage> {
        &self.lineage
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn blueprint(&self) -> &Blueprint {
        &self.blueprint
    }

    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    /// Asks one hook on an instance of the pool; what it answers and what else it said.
    fn ask<T>(
        &self,
        hook: Hook,
        budget: Budget,
        scene: Scene<'_>,
        call: impl FnOnce(&Exports, &mut Store<State>) -> wasmtime::Result<Option<T>>,
    ) -> Result<(T, Words), PolicyFault> {
        if !self.description.has(hook) {
            return Err(PolicyFault::NoHook { hook });
        }
        if let Some(heir) = self.heir() {
            return heir.ask(hook, budget, scene, call);
        }
        let loan = self.pool.lend(&*self.core.host);
        // Its successor may have come while this call waited.
        if let Some(heir) = self.heir() {
            loan.into_iter().for_each(Loan::give_back);
            return heir.ask(hook, budget, scene, call);
        }
        let mut loan = loan.ok_or_else(|| self.counted(PolicyFault::NoInstance))?;
        let make = || self.blueprint.rebuild(&self.core).map_err(|error| self.stopped(error.into_stop()));
        let instance: &mut Instance = loan.instance(make)?;
        let answer = instance.call(budget, scene, call).map_err(|stop| self.stopped(stop))?;
        let words = instance.take_words();
        loan.give_back();
        let answer = answer.ok_or(PolicyFault::NoHook { hook })?;
        Ok((answer, words))
    }

    /// Asks a hook that decides about a request.
    fn decide<V>(
        &self,
        hook: Hook,
        call: &Call<'_>,
        ask: fn(&Exports, &mut Store<State>) -> wasmtime::Result<Option<V>>,
        denial: fn(&mut V) -> Option<&mut Denial>,
    ) -> Result<Answer<V>, PolicyFault> {
        let key = chance_key(self.core.seed, [call.facts.id, hook as u64, call.fleet.version]);
        let scene = Scene::of_call(call, key);
        let (mut verdict, words) = self.ask(hook, self.core.call_budget(), scene, ask)?;
        if let Some(denial) = denial(&mut verdict) {
            check_denial(denial).map_err(|message| self.counted(PolicyFault::BadAnswer { message }))?;
            let bytes = bounded(&denial.message, self.core.limits.message_bytes_max).len();
            denial.message.truncate(bytes);
        }
        Ok(Answer { verdict, words })
    }

    fn stopped(&self, stop: Stop) -> PolicyFault {
        self.counted(stop.into_fault())
    }

    fn counted(&self, fault: PolicyFault) -> PolicyFault {
        let counter = match &fault {
            PolicyFault::Trapped { .. } => &self.faults.trapped,
            PolicyFault::DeadlinePassed { .. } => &self.faults.deadline_passed,
            PolicyFault::OutOfFuel { .. } => &self.faults.out_of_fuel,
            PolicyFault::OutOfMemory { .. } => &self.faults.out_of_memory,
            PolicyFault::NoInstance => &self.faults.no_instance,
            PolicyFault::BadAnswer { .. } => &self.faults.bad_answer,
            PolicyFault::NoHook { .. } => return fault,
        };
        counter.fetch_add(1, Relaxed);
        fault
    }
}

impl Policy for Component {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn admit(&self, call: &Call<'_>) -> Result<Answer<Admission>, PolicyFault> {
        self.decide(Hook::Admit, call, Exports::admit, |admission| match admission {
            Admission::Deny(denial) => Some(denial),
            Admission::Allow | Admission::Pass => None,
        })
    }

    fn place(&self, call: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        self.decide(Hook::Place, call, Exports::place, |placement| match placement {
            Placement::Reject(denial) => Some(denial),
            Placement::Replica(_) | Placement::Region(_) | Placement::Hold | Placement::Pass => None,
        })
    }

    fn observe(&self, now_ms: u64, fleet: &Arc<FleetView>, events: &[Event]) -> Result<(), PolicyFault> {
        let turn = self.observed.fetch_add(1, Relaxed);
        let chance_key = chance_key(self.core.seed, [turn, Hook::Observe as u64, fleet.version]);
        let scene = Scene { now_ms, facts: None, fleet: Some(fleet), chance_key };
        let slot = self.blueprint.slot.name();
        let observe = |exports: &Exports, store: &mut Store<State>| exports.observe(store, slot, events);
        self.ask(Hook::Observe, self.core.call_budget(), scene, observe).map(|_| ())
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("description", &self.description)
            .field("digest", &self.digest)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Faults {
    /// All kinds together.
    pub fn total(&self) -> u64 {
        let Faults { trapped, deadline_passed, out_of_fuel, out_of_memory, no_instance, bad_answer } = self;
        trapped + deadline_passed + out_of_fuel + out_of_memory + no_instance + bad_answer
    }
}

/// What a call's chance follows from, so that the same call at the same fleet decides the same again. SplitMix64's
/// finaliser: neighbouring requests get unrelated chance.
fn chance_key(seed: u64, parts: [u64; 3]) -> u64 {
    parts.into_iter().fold(seed, |key, part| {
        let mut mixed = (key ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}
