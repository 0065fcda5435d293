//! One loaded component, as a policy.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use policy_api::{
    Admission, Answer, Call, Denial, Description, Event, FleetView, Hook, Mode, Placement, Policy, PolicyFault, Words,
};
use wasmtime::Store;

use crate::{
    blueprint::Blueprint,
    instance::{Instance, Scene},
    pool::{Instances, Pool},
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
    pub(crate) fn new(
        core: Arc<Core>,
        blueprint: Blueprint,
        pool: Pool,
        description: Description,
        digest: String,
        bytes: usize,
    ) -> Component {
        let (faults, observed) = (FaultCounters::default(), AtomicU64::new(0));
        Component { core, blueprint, pool, description, digest, bytes, faults, observed }
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

    /// The policy's state, for a successor or a shutdown.
    pub fn snapshot(&self) -> Result<Vec<u8>, PolicyFault> {
        let scene = Scene::of_host(&self.core);
        let (bytes, _) = self.ask(Hook::Snapshot, self.core.snapshot_budget(), scene, Exports::snapshot)?;
        let bytes_max = self.core.limits.snapshot_bytes_max;
        if bytes.len() > bytes_max {
            let message = format!("a snapshot of {} bytes; at most {bytes_max} are allowed", bytes.len());
            return Err(self.counted(PolicyFault::BadAnswer { message }));
        }
        Ok(bytes)
    }

    /// A predecessor that cannot say what it knows must not keep its successor from starting.
    pub(crate) fn snapshot_for_successor(&self) -> Option<Vec<u8>> {
        let keeps_state = self.description.mode == Mode::Single && self.description.has(Hook::Snapshot);
        if keeps_state { self.snapshot().ok() } else { None }
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
        let mut loan = self.pool.lend(&*self.core.host).ok_or_else(|| self.counted(PolicyFault::NoInstance))?;
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
