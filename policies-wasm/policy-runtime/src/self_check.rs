//! Tries a component out on made-up requests and fleets before it may decide anything.

use std::sync::Arc;

use policy_api::{
    Admission, Call, Denial, Description, Event, FailureKind, FleetView, Health, Hook, Outcome, Placement, RegionId,
    RegionRow, ReplicaId, ReplicaRole, ReplicaRow, RequestFacts, Subject, Usage,
};

use crate::{
    Host, Level, LoadError,
    blueprint::Blueprint,
    instance::{Instance, Scene},
    runtime::Core,
    wit::Exports,
};

/// A host whose time is real and whose log and metrics go nowhere.
pub(crate) struct QuietHost(pub(crate) Arc<dyn Host>);

impl Host for QuietHost {
    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }
    fn log(&self, _slot: &str, _level: Level, _line: &str) {}
    fn count(&self, _slot: &str, _name: &str, _delta: u64) {}
    fn gauge(&self, _slot: &str, _name: &str, _value: f64) {}
}

/// Configures an instance and calls each of its hooks. The instance and what it kept are thrown away after.
pub(crate) fn run(core: &Arc<Core>, blueprint: &Blueprint, description: &Description) -> Result<(), LoadError> {
    let budget = core.load_budget();
    let mut instance = Instance::configured(core, blueprint, budget).map_err(|error| error.into_load_error())?;
    let facts = Arc::new(sample_request());
    for (name, fleet) in sample_fleets() {
        let fleet = Arc::new(fleet);
        let call = Call { now_ms: core.host.now_ms(), facts: &facts, fleet: &fleet };
        if description.has(Hook::Admit) {
            let admission = ask(core, &mut instance, &call, &format!("admit, {name}"), Exports::admit)?;
            check_admission(admission.as_ref(), name)?;
        }
        if description.has(Hook::Place) {
            let placement = ask(core, &mut instance, &call, &format!("place, {name}"), Exports::place)?;
            check_placement(placement.as_ref(), name)?;
        }
        if description.has(Hook::Observe) {
            let events = sample_events(&facts);
            let observe = |exports: &Exports, store: &mut _| exports.observe(store, blueprint.slot.name(), &events);
            ask(core, &mut instance, &call, &format!("observe, {name}"), observe)?;
        }
    }
    if description.has(Hook::Snapshot) { check_round_trip(core, blueprint, instance) } else { Ok(()) }
}

fn ask<T>(
    core: &Core,
    instance: &mut Instance,
    call: &Call<'_>,
    during: &str,
    hook: impl FnOnce(&Exports, &mut wasmtime::Store<crate::state::State>) -> wasmtime::Result<T>,
) -> Result<T, LoadError> {
    let scene = Scene::of_call(call, core.seed);
    instance
        .call(core.load_budget(), scene, hook)
        .map_err(|stop| stop.into_load_error(&format!("its self-check ({during})")))
}

/// A policy must take back the state that it gave.
fn check_round_trip(core: &Arc<Core>, blueprint: &Blueprint, mut giver: Instance) -> Result<(), LoadError> {
    let budget = core.load_budget();
    let during = "its self-check (snapshot)";
    let bytes = giver
        .call(budget, Scene::of_host(core), Exports::snapshot)
        .map_err(|stop| stop.into_load_error(during))?
        .unwrap_or_default();
    let bytes_max = core.limits.snapshot_bytes_max;
    let bad = |message: String| Err(LoadError::BadAnswer { during: during.to_owned(), message });
    if bytes.len() > bytes_max {
        return bad(format!("it has {} bytes; at most {bytes_max} are allowed", bytes.len()));
    }
    let mut taker = Instance::configured(core, blueprint, budget).map_err(|error| error.into_load_error())?;
    let answer = taker
        .call(budget, Scene::of_host(core), |exports, store| exports.restore(store, &bytes))
        .map_err(|stop| stop.into_load_error("its self-check (restore)"))?;
    match answer {
        Some(Err(reason)) => bad(format!("it refuses its own snapshot: {reason}")),
        Some(Ok(())) | None => Ok(()),
    }
}

fn check_admission(admission: Option<&Admission>, during: &str) -> Result<(), LoadError> {
    match admission {
        Some(Admission::Deny(denial)) => check_denial(denial).map_err(|message| bad_answer("admit", during, message)),
        _ => Ok(()),
    }
}

/// Which replica it names is not judged: whoever asks checks that of every answer.
fn check_placement(placement: Option<&Placement>, during: &str) -> Result<(), LoadError> {
    match placement {
        Some(Placement::Reject(denial)) => check_denial(denial).map_err(|message| bad_answer("place", during, message)),
        _ => Ok(()),
    }
}

fn bad_answer(hook: &str, during: &str, message: String) -> LoadError {
    LoadError::BadAnswer { during: format!("its self-check ({hook}, {during})"), message }
}

/// What every denial must keep to.
pub(crate) fn check_denial(denial: &Denial) -> Result<(), String> {
    match denial.status {
        400..=599 => Ok(()),
        status => Err(format!("a denial's status must be 400 to 599, not {status}")),
    }
}

fn sample_request() -> RequestFacts {
    RequestFacts {
        id: 1,
        endpoint: "/v1/chat/completions".to_owned(),
        model: "self-check".to_owned(),
        tenant: "anonymous".to_owned(),
        session: Some("self-check".to_owned()),
        prompt_tokens_estimate: 160,
        output_tokens_max: 16,
        stream: true,
        prompt: vec![b'x'; 640].into(),
        headers: vec![("user-agent".to_owned(), "self-check".to_owned())],
        ..RequestFacts::default()
    }
}

fn sample_fleets() -> [(&'static str, FleetView); 4] {
    let region = |id, local, available| RegionRow {
        id: RegionId(id),
        local,
        available,
        queue: 0,
        rtt_us: if local { 0 } else { 80_000 },
        age_ms: 10,
    };
    let sick = ReplicaRow { health: Health::Unhealthy, ..sample_replica(1) };
    let leaving = ReplicaRow { draining: true, ..sample_replica(2) };
    let busy = ReplicaRow { running: 8, waiting: 3, kv_blocks_used: 500, ..sample_replica(3) };
    [
        ("on an empty fleet", FleetView::of(1, &[], &[])),
        ("on one replica", FleetView::of(2, &[sample_replica(0)], &[region(0, true, 1)])),
        (
            "on a mixed fleet",
            FleetView::of(
                3,
                &[sample_replica(0), sick.clone(), leaving, busy],
                &[region(0, true, 2), region(1, false, 4)],
            ),
        ),
        ("on a fleet with no healthy replica", FleetView::of(4, &[sick], &[region(0, true, 0)])),
    ]
}

fn sample_replica(id: u32) -> ReplicaRow {
    ReplicaRow {
        id: ReplicaId(id),
        region: RegionId(0),
        running: 1,
        waiting: 0,
        kv_blocks_used: 10,
        kv_blocks_total: 512,
        prefix_hit_permille: 100,
        health: Health::Healthy,
        draining: false,
        role: ReplicaRole::Mixed,
        age_ms: 10,
        ttft_us: 20_000,
        tpot_us: 5_000,
        weight: 100,
        prefill_tokens: 0,
    }
}

fn sample_events(facts: &RequestFacts) -> [Event; 6] {
    let subject = Subject {
        request: facts.id,
        tenant: facts.tenant.as_str().into(),
        model: facts.model.as_str().into(),
        ..Subject::default()
    };
    let other = Subject { request: facts.id + 1, ..subject.clone() };
    let replica = ReplicaId(0);
    let usage = Usage { prompt_tokens: 160, cached_tokens: 32, output_tokens: 16 };
    [
        Event::ReplicaUp(replica),
        Event::Started { subject: subject.clone(), replica },
        Event::FirstToken { subject: subject.clone(), replica, ttft_us: 20_000 },
        Event::Ended { subject, replica: Some(replica), outcome: Outcome::Finished, usage },
        Event::Failed { subject: other, replica, kind: FailureKind::Replica },
        Event::ReplicaDown(replica),
    ]
}
