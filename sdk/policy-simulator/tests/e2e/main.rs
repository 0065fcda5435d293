//! Runs with the shipped policies, as built: they replay, and they do what they are for.

#![expect(clippy::unwrap_used, reason = "a test ends where its helper cannot go on")]

use std::path::Path;

use policy_simulator::{Contender, Report, Scenario, Source, simulate};

fn shipped(name: &str, config_json: &str) -> Contender {
    let folder = std::env::var_os("HEADWORKS_TEST_POLICIES")
        .expect("HEADWORKS_TEST_POLICIES names the folder with the built policies; `cargo xtask test` sets it");
    let path = Path::new(&folder).join(format!("{name}.wasm"));
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("read {}: {error}; `cargo xtask policies` builds it", path.display()));
    let config_json = config_json.to_owned();
    Contender { name: name.to_owned(), policies: vec![Source::Component { bytes: bytes.into(), config_json }] }
}

fn scenario(name: &str) -> Scenario {
    let path = format!("{}/../../benches/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    Scenario::load(Path::new(&path)).unwrap()
}

fn run(scenario: &Scenario, contender: &Contender) -> Report {
    simulate(scenario, contender).unwrap()
}

#[test]
fn a_run_with_components_replays_to_the_last_digit() {
    let mut scenario = scenario("mixed-tenants");
    scenario.traffic.requests = 150;
    // `least-load` draws two replicas by chance, `prefix-tree` keeps state with the host and observes.
    for (name, config) in [("least-load", ""), ("prefix-tree", ""), ("rate-limit", "{}")] {
        let report = || serde_json::to_string(&run(&scenario, &shipped(name, config))).unwrap();
        assert_eq!(report(), report(), "{name}");
    }
}

#[test]
fn prefix_tree_beats_round_robin_where_prefixes_are_shared() {
    let scenario = scenario("shared-prefix");
    let tree = run(&scenario, &shipped("prefix-tree", ""));
    let turns = run(&scenario, &shipped("round-robin", ""));
    assert_eq!((tree.finished, turns.finished, tree.faults, turns.faults), (512, 512, 0, 0));
    assert_eq!((tree.decisions_policies, turns.decisions_fallback), (512, 0));
    assert!(tree.prefix_hit_rate > turns.prefix_hit_rate + 0.1, "{tree:#?}\n{turns:#?}");
    assert!(tree.ttft_ms.p90 < turns.ttft_ms.p90, "{tree:#?}\n{turns:#?}");
}
