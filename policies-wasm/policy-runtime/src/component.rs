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
    time::{Duration, Instant},
};

use policy_api::{
    Admission, Answer, Call, Description, Event, FleetView, Hook, Mode, Placement, Policy, PolicyFault, Words,
};
use wasmtime::Store;

use crate::{
    blueprint::Blueprint,
    handover::Lineage,
    instance::{Instance, Scene},
    pool::{Instances, Loan, Pool},
    recording::{self, Record, Said, Track, Who},
    runtime::Core,
    state::State,
    stop::{Budget, Stop},
    tape::Tape,
    verdict::Verdict,
    wit::Exports,
};

/// One loaded component. Calls may come from many threads at once.
pub struct Component {
    core: Arc<Core>,
    blueprint: Blueprint,
    pool: Pool,
    description: Description,
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
    pub(crate) bytes: usize,
    pub(crate) lineage: Arc<Lineage>,
}

/// Asks a hook that decides.
type Ask<V> = fn(&Exports, &mut Store<State>) -> wasmtime::Result<Option<V>>;

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
        let Parts { core, blueprint, pool, description, bytes, lineage } = parts;
        Component {
            core,
            blueprint,
            pool,
            description,
            bytes,
            faults: FaultCounters::default(),
            observed: AtomicU64::new(0),
            lineage,
            retired: AtomicBool::new(false),
        }
    }

    /// `sha256:` and the digest of the component's bytes.
    pub fn digest(&self) -> &str {
        &self.blueprint.who.digest
    }

    /// The component's bytes, as they were loaded.
    pub fn source(&self) -> &Arc<[u8]> {
        &self.blueprint.who.component
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

    /// Linear memory of its instances, all together.
    pub fn memory_bytes(&self) -> u64 {
        self.blueprint.memory_bytes.load(Relaxed)
    }

    /// The configuration that it was given, a JSON object.
    pub fn config_json(&self) -> &str {
        &self.blueprint.config_json
    }

    /// The policy's state, for a shutdown.
    pub fn snapshot(&self) -> Result<Vec<u8>, PolicyFault> {
        let scene = Scene::of_host(&self.core);
        let mut listening = self.listen();
        let answer = self.ask(Hook::Snapshot, self.core.snapshot_budget(), scene, Exports::snapshot, &mut listening);
        let bytes = answer.and_then(|answer| self.checked_snapshot(answer.verdict));
        self.record_snapshot(scene, listening, &bytes);
        bytes
    }

    /// The one instance, out of service from here on, and what it knows.
    pub(crate) fn withdraw(&self) -> Result<(Loan<'_>, Vec<u8>), PolicyFault> {
        let mut loan = self.pool.lend(&*self.core.host).ok_or_else(|| self.counted(PolicyFault::NoInstance))?;
        let make = || self.blueprint.rebuild(&self.core).map_err(|error| self.stopped(error.into_stop()));
        let instance: &mut Instance = loan.instance(make)?;
        let (budget, scene) = (self.core.snapshot_budget(), Scene::of_host(&self.core));
        let mut listening = self.listen();
        let told = heard(&mut listening, instance, |instance| instance.call(budget, scene, Exports::snapshot));
        let bytes = told.map_err(|stop| self.stopped(stop))?.ok_or(PolicyFault::NoHook { hook: Hook::Snapshot });
        let bytes = bytes.and_then(|bytes| self.checked_snapshot(bytes));
        self.record_snapshot(scene, listening, &bytes);
        match bytes {
            Ok(bytes) => Ok((loan, bytes)),
            Err(fault) => {
                loan.give_back();
                Err(fault)
            }
        }
    }

    fn record_snapshot(
        &self,
        scene: Scene<'_>,
        listening: Option<Box<Listening>>,
        bytes: &Result<Vec<u8>, PolicyFault>,
    ) {
        let said = || match bytes {
            Ok(bytes) => Said::Snapshot(bytes.clone()),
            Err(fault) => Said::Fault(fault.clone()),
        };
        self.record(Hook::Snapshot, scene, listening, || recording::Answer::bare(said()));
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

    /// Asks one hook on an instance of the pool.
    fn ask<T>(
        &self,
        hook: Hook,
        budget: Budget,
        scene: Scene<'_>,
        call: impl FnOnce(&Exports, &mut Store<State>) -> wasmtime::Result<Option<T>>,
        listening: &mut Option<Box<Listening>>,
    ) -> Result<Answer<T>, PolicyFault> {
        if !self.description.has(hook) {
            return Err(PolicyFault::NoHook { hook });
        }
        if let Some(heir) = self.heir() {
            return heir.ask(hook, budget, scene, call, listening);
        }
        let loan = self.pool.lend(&*self.core.host);
        // Its successor may have come while this call waited.
        if let Some(heir) = self.heir() {
            loan.into_iter().for_each(Loan::give_back);
            return heir.ask(hook, budget, scene, call, listening);
        }
        let mut loan = loan.ok_or_else(|| self.counted(PolicyFault::NoInstance))?;
        let make = || self.blueprint.rebuild(&self.core).map_err(|error| self.stopped(error.into_stop()));
        let instance: &mut Instance = loan.instance(make)?;
        if let Some(listening) = listening {
            self.tell_state(instance, listening.recording)?;
            listening.who = Some(Arc::clone(&self.blueprint.who));
        }
        let answer = heard(listening, instance, |instance| instance.call(budget, scene, call));
        let answer = answer.map_err(|stop| self.stopped(stop))?;
        let words = instance.take_words();
        loan.give_back();
        let verdict = answer.ok_or(PolicyFault::NoHook { hook })?;
        Ok(Answer { verdict, words })
    }

    /// Asks a hook that decides about a request.
    fn decide<V>(
        &self,
        hook: Hook,
        call: &Call<'_>,
        ask: Ask<V>,
        said: fn(&V) -> Said,
    ) -> Result<Answer<V>, PolicyFault>
    where
        V: Verdict,
    {
        let key = chance_key(self.core.seed, [call.facts.id, hook as u64, call.fleet.version]);
        let scene = Scene::of_call(call, key);
        let mut listening = self.listen();
        let answer = self.ask(hook, self.core.call_budget(), scene, ask, &mut listening);
        let answer = answer.and_then(|mut answer| {
            answer.verdict.check(&self.core.limits).map_err(|fault| self.counted(fault))?;
            Ok(answer)
        });
        self.record(hook, scene, listening, || recorded(&answer, said));
        answer
    }

    /// Ready to write down a call, where calls are recorded.
    fn listen(&self) -> Option<Box<Listening>> {
        match self.core.host.recording() {
            0 => None,
            recording => Some(Box::new(Listening { recording, ..Listening::default() })),
        }
    }

    /// Tells a recording once what state an instance is in that keeps one: without it, the calls that follow could not
    /// be made again.
    fn tell_state(&self, instance: &mut Instance, recording: u64) -> Result<(), PolicyFault> {
        let keeps_state = self.description.mode == Mode::Single && self.description.has(Hook::Snapshot);
        if !keeps_state || std::mem::replace(&mut instance.known_in, recording) == recording {
            return Ok(());
        }
        let (scene, budget) = (Scene::of_host(&self.core), self.core.snapshot_budget());
        let mut listening = Box::<Listening>::default();
        let answer = listening.to(instance, |instance| instance.call(budget, scene, Exports::snapshot));
        let bytes = answer.map_err(|stop| self.stopped(stop))?.unwrap_or_default();
        let said = recording::Answer::bare(Said::Snapshot(bytes));
        self.record(Hook::Snapshot, scene, Some(listening), || said);
        Ok(())
    }

    fn record(
        &self,
        hook: Hook,
        scene: Scene<'_>,
        listening: Option<Box<Listening>>,
        answer: impl FnOnce() -> recording::Answer,
    ) {
        let Some(listening) = listening else { return };
        let Listening { recording: _, who, instance, turn, track, took, events } = *listening;
        let Scene { now_ms, facts, fleet, chance_key } = scene;
        let call = recording::Call {
            who: who.unwrap_or_else(|| Arc::clone(&self.blueprint.who)),
            instance,
            turn,
            hook,
            now_ms,
            chance: chance_key,
            facts: facts.cloned(),
            fleet: fleet.cloned(),
            events,
            track,
            answer: answer(),
            took,
        };
        self.core.host.record(Record::Call(Box::new(call)));
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
        self.decide(Hook::Admit, call, Exports::admit, |admission| Said::Admit(admission.clone()))
    }

    fn place(&self, call: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        self.decide(Hook::Place, call, Exports::place, |placement| Said::Place(placement.clone()))
    }

    fn observe(&self, now_ms: u64, fleet: &Arc<FleetView>, events: &[Event]) -> Result<(), PolicyFault> {
        let turn = self.observed.fetch_add(1, Relaxed);
        let chance_key = chance_key(self.core.seed, [turn, Hook::Observe as u64, fleet.version]);
        let scene = Scene { now_ms, facts: None, fleet: Some(fleet), chance_key };
        let slot = self.blueprint.slot.name();
        let observe = |exports: &Exports, store: &mut Store<State>| exports.observe(store, slot, events);
        let mut listening = self.listen();
        let answer = self.ask(Hook::Observe, self.core.call_budget(), scene, observe, &mut listening);
        if let Some(listening) = &mut listening {
            listening.events = events.into();
        }
        self.record(Hook::Observe, scene, listening, || recorded(&answer, |()| Said::Observed));
        answer.map(|_| ())
    }
}

/// What one call is heard to do.
#[derive(Default)]
struct Listening {
    recording: u64,
    /// Whose instance was called; none where none was free.
    who: Option<Arc<Who>>,
    instance: Option<u64>,
    turn: u64,
    track: Track,
    took: Duration,
    events: Arc<[Event]>,
}

impl Listening {
    /// Makes the call and listens to it.
    fn to<T>(
        &mut self,
        instance: &mut Instance,
        call: impl FnOnce(&mut Instance) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        (self.instance, self.turn) = (Some(instance.number()), instance.next_turn());
        instance.tape(Tape::recording());
        let began = Instant::now();
        let answer = call(instance);
        self.took = began.elapsed();
        self.track = instance.take_tape().into_track();
        answer
    }
}

/// Makes a call, and listens to it where calls are recorded.
fn heard<T>(
    listening: &mut Option<Box<Listening>>,
    instance: &mut Instance,
    call: impl FnOnce(&mut Instance) -> Result<T, Stop>,
) -> Result<T, Stop> {
    match listening {
        Some(listening) => listening.to(instance, call),
        None => {
            instance.next_turn();
            call(instance)
        }
    }
}

/// A call's answer as it is recorded.
pub(crate) fn recorded<V>(answer: &Result<Answer<V>, PolicyFault>, said: impl FnOnce(&V) -> Said) -> recording::Answer {
    let (said, words) = match answer {
        Ok(Answer { verdict, words }) => (said(verdict), words.clone()),
        Err(fault) => (Said::Fault(fault.clone()), Words::default()),
    };
    let Words { reason, attributes, headers, note, holds: _, fuel } = words;
    recording::Answer { said, reason, attributes, headers, note: note.map(|note| note.to_vec()), fuel }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("description", &self.description)
            .field("digest", &self.digest())
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
