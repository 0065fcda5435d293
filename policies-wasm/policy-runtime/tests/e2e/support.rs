//! A runtime with the shipped components, fleets and requests for them.

use std::{path::Path, sync::Arc};

use policy_api::{
    Admission, Answer, Call, Event, FleetView, Health, Notes, Outcome, Placement, Policy, RegionId, RegionRow,
    ReplicaId, ReplicaRole, ReplicaRow, RequestFacts, Subject, Usage,
};
use policy_runtime::{Component, Host, Level, Limits, Runtime};

/// The slot that tests load into.
pub const SLOT: &str = "slot";

/// Every shipped policy.
pub const SHIPPED: [&str; 10] = [
    "round-robin",
    "least-load",
    "session-affinity",
    "prefix-tree",
    "rate-limit",
    "cross-region-push",
    "kv-cost",
    "lmetric",
    "fair-share",
    "llumnix-dispatch",
];

/// A host that keeps nothing.
struct Quiet;

impl Host for Quiet {
    fn now_ms(&self) -> u64 {
        0
    }
    fn log(&self, _slot: &str, _level: Level, _line: &str) {}
    fn count(&self, _slot: &str, _name: &str, _delta: u64) {}
    fn gauge(&self, _slot: &str, _name: &str, _value: f64) {}
}

/// With bounds that a busy machine does not reach by being busy.
pub fn runtime() -> Runtime {
    let limits = Limits {
        call_deadline_ms: 5000,
        load_deadline_ms: 20_000,
        instance_wait_ms: 5000,
        instance_deadline_ms: 5000,
        snapshot_deadline_ms: 5000,
        ..Limits::default()
    };
    Runtime::new(limits, Arc::new(Quiet), 7).unwrap()
}

/// A component where the command that runs all tests has built it.
pub fn bytes_of(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("HEADWORKS_TEST_POLICIES")
        .expect("HEADWORKS_TEST_POLICIES names the folder with the built policies; `cargo xtask test` sets it");
    let path = Path::new(&folder).join(format!("{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("read {}: {error}; `cargo xtask policies` builds it", path.display()))
}

pub fn load(runtime: &Runtime, name: &str, config: &str) -> Component {
    load_after(runtime, name, config, None)
}

pub fn load_after(runtime: &Runtime, name: &str, config: &str, predecessor: Option<&Component>) -> Component {
    runtime.load(SLOT, &bytes_of(name), config, predecessor).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A healthy replica with so many running requests.
pub fn row(id: u32, running: u32) -> ReplicaRow {
    ReplicaRow {
        id: ReplicaId(id),
        region: RegionId(0),
        running,
        waiting: 0,
        kv_blocks_used: running * 10,
        kv_blocks_total: 1000,
        prefix_hit_permille: 0,
        health: Health::Healthy,
        draining: false,
        role: ReplicaRole::Mixed,
        age_ms: 0,
        ttft_us: 0,
        tpot_us: 0,
        weight: 100,
        prefill_tokens: 0,
    }
}

/// The own region is 0.
pub fn region(id: u32, available: u32, rtt_us: u32) -> RegionRow {
    RegionRow { id: RegionId(id), local: id == 0, available, queue: 0, rtt_us, age_ms: 0 }
}

pub fn fleet(version: u64, rows: &[ReplicaRow]) -> Arc<FleetView> {
    Arc::new(FleetView::of(version, rows, &[]))
}

/// One row for each load, ids from 0.
pub fn loaded(version: u64, loads: &[u32]) -> Arc<FleetView> {
    let rows: Vec<ReplicaRow> = (0..).zip(loads).map(|(id, running)| row(id, *running)).collect();
    fleet(version, &rows)
}

/// A request of `blocks` blocks of the letter, 64 tokens each.
pub fn prompt(id: u64, letter: u8, blocks: usize) -> RequestFacts {
    RequestFacts {
        id,
        model: "tiny".to_owned(),
        tenant: "acme".to_owned(),
        prompt: vec![letter; blocks * 256].into(),
        prompt_tokens_estimate: blocks as u32 * 64,
        ..RequestFacts::default()
    }
}

pub fn place(policy: &Component, facts: RequestFacts, fleet: &Arc<FleetView>) -> Answer<Placement> {
    policy.place(&Call { now_ms: 5, facts: &Arc::new(facts), fleet }).unwrap()
}

/// The replica that is chosen, and why.
#[track_caller]
pub fn target(policy: &Component, facts: RequestFacts, fleet: &Arc<FleetView>) -> (u32, String) {
    let answer = place(policy, facts, fleet);
    match answer.verdict {
        Placement::Replica(ReplicaId(id)) => (id, answer.words.reason.expect("a choice has a reason")),
        other => panic!("{other:?}"),
    }
}

pub fn admit(policy: &Component, now_ms: u64, facts: RequestFacts) -> Answer<Admission> {
    policy.admit(&Call { now_ms, facts: &Arc::new(facts), fleet: &Arc::default() }).unwrap()
}

/// The end of a request that ran on replica 0.
pub fn ended(facts: &RequestFacts, note: Option<&Arc<[u8]>>, prompt_tokens: u32, output_tokens: u32) -> Event {
    let mut notes = Notes::default();
    if let Some(note) = note {
        notes.set(SLOT, Arc::clone(note));
    }
    let subject = Subject {
        request: facts.id,
        tenant: facts.tenant.as_str().into(),
        model: facts.model.as_str().into(),
        notes: Arc::new(notes),
        ..Subject::default()
    };
    let usage = Usage { prompt_tokens, cached_tokens: 0, output_tokens };
    Event::Ended { subject, replica: Some(ReplicaId(0)), outcome: Outcome::Finished, usage }
}

pub fn tell(policy: &Component, event: Event) {
    policy.observe(5, &Arc::default(), &[event]).unwrap();
}
