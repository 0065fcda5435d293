//! The shipped policies, as built: who they are, whom they choose, what they say.

use std::{collections::HashMap, path::Path, sync::Arc};

use policy_api::{
    Answer, Call, FleetView, Health, Hook, Placement, Policy, RegionId, ReplicaId, ReplicaRole, ReplicaRow,
    RequestFacts,
};
use policy_runtime::{Component, Host, Level, Limits, Runtime};

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

/// Bounds that a busy machine does not reach by being busy.
pub fn patient() -> Limits {
    Limits { call_deadline_ms: 2000, instance_wait_ms: 2000, instance_deadline_ms: 2000, ..Limits::default() }
}

fn runtime(limits: Limits) -> Runtime {
    Runtime::new(limits, Arc::new(Quiet), 7).unwrap()
}

/// A component where the command that runs all tests has built it.
pub fn shipped(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("HEADWORKS_TEST_POLICIES")
        .expect("HEADWORKS_TEST_POLICIES names the folder with the built policies; `cargo xtask test` sets it");
    let path = Path::new(&folder).join(format!("{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("read {}: {error}; `cargo xtask policies` builds it", path.display()))
}

fn load(runtime: &Runtime, name: &str, config: &str) -> Component {
    runtime.load("placement", &shipped(name), config, None).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub fn row(id: u32, running: u32) -> ReplicaRow {
    ReplicaRow {
        id: ReplicaId(id),
        region: RegionId(0),
        running,
        waiting: 0,
        kv_blocks_used: 0,
        kv_blocks_total: 100,
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

fn fleet(version: u64, replicas: &[u32]) -> Arc<FleetView> {
    let rows: Vec<ReplicaRow> = replicas.iter().map(|id| row(*id, 0)).collect();
    Arc::new(FleetView::of(version, &rows, &[]))
}

fn place(policy: &Component, request: u64, fleet: &Arc<FleetView>) -> Answer<Placement> {
    let facts = Arc::new(RequestFacts { id: request, ..RequestFacts::default() });
    policy.place(&Call { now_ms: 5, facts: &facts, fleet }).unwrap()
}

fn target(policy: &Component, request: u64, fleet: &Arc<FleetView>) -> (u32, String) {
    let answer = place(policy, request, fleet);
    match answer.verdict {
        Placement::Replica(ReplicaId(id)) => (id, answer.words.reason.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn they_describe_themselves() {
    let runtime = runtime(patient());
    let (round_robin, least_load) = (load(&runtime, "round-robin", ""), load(&runtime, "least-load", ""));
    assert_eq!(
        (round_robin.describe().name.as_str(), &round_robin.describe().hooks),
        ("round-robin", &vec![Hook::Place])
    );
    assert_eq!(least_load.describe().name, "least-load");
    assert_eq!(least_load.describe().hooks, [Hook::Configure, Hook::Place]);
    assert!(least_load.describe().config_schema.contains("\"scan\""));
}

#[test]
fn round_robin_is_fair_across_instances_and_a_swap() {
    let runtime = runtime(patient());
    let policies = [load(&runtime, "round-robin", ""), load(&runtime, "round-robin", "")];
    let fleet = fleet(1, &[4, 7, 9]);
    let mut counts: HashMap<u32, u32> = HashMap::new();
    let targets: Vec<u32> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..6)
            .map(|worker| {
                let (policy, fleet) = (&policies[worker % 2], &fleet);
                scope.spawn(move || (0..100).map(|request| target(policy, request, fleet).0).collect::<Vec<u32>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    for target in targets {
        *counts.entry(target).or_default() += 1;
    }
    assert_eq!(counts, HashMap::from([(4, 200), (7, 200), (9, 200)]));
    let (_, reason) = target(&policies[0], 1, &fleet);
    assert_eq!(reason, "next in turn: 1 of 3 that take work");
}

#[test]
fn least_load_says_why_and_sees_each_new_fleet() {
    let runtime = runtime(Limits { instances_max: 1, ..patient() });
    let policy = load(&runtime, "least-load", r#"{"scan":"all"}"#);
    let view = |version, loads: [u32; 2]| Arc::new(FleetView::of(version, &[row(0, loads[0]), row(1, loads[1])], &[]));
    assert_eq!(target(&policy, 1, &view(1, [1, 4])), (0, "lowest load 1 of 0=1, 1=4".to_owned()));
    assert_eq!(target(&policy, 2, &view(2, [5, 4])), (1, "lowest load 4 of 0=5, 1=4".to_owned()));
}

#[test]
fn two_choices_keep_clear_of_the_busiest() {
    let policy = load(&runtime(patient()), "least-load", "");
    let fleet = Arc::new(FleetView::of(1, &[row(0, 0), row(1, 50), row(2, 0), row(3, 0)], &[]));
    let targets: Vec<u32> = (0..200).map(|request| target(&policy, request, &fleet).0).collect();
    assert!(!targets.contains(&1), "whoever it is compared with has less to do");
    for id in [0, 2, 3] {
        assert!(targets.iter().filter(|target| **target == id).count() > 30, "{id} is left out");
    }
}

#[test]
fn without_a_replica_both_pass() {
    let runtime = runtime(patient());
    for name in ["round-robin", "least-load"] {
        let policy = load(&runtime, name, "");
        assert_eq!(place(&policy, 1, &fleet(1, &[])).verdict, Placement::Pass, "{name}");
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_its_field() {
    let error = runtime(patient()).load("placement", &shipped("least-load"), r#"{"scna":"all"}"#, None).unwrap_err();
    insta::assert_snapshot!(error.to_string());
}

/// A large prompt costs a policy that does not look at it nothing.
#[test]
fn a_request_is_not_copied_into_the_guest() {
    let policy = load(&runtime(Limits { memory_bytes_max: 4 << 20, ..patient() }), "round-robin", "");
    let facts = Arc::new(RequestFacts { prompt: vec![b'x'; 64 << 20].into(), ..RequestFacts::default() });
    let fleet = fleet(1, &[1]);
    let call = Call { now_ms: 0, facts: &facts, fleet: &fleet };
    assert_eq!(policy.place(&call).unwrap().verdict, Placement::Replica(ReplicaId(1)));
    assert_eq!(Arc::strong_count(&facts), 1, "nothing holds on to the request after the call");
}
