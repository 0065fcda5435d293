//! Runs whose outcome is known: by the seed, by the policy, by what befalls the fleet.

use policy_simulator::{Change, Condition, Contender, Report, Scenario, simulate, table};

use crate::natives::{contender, holding, prefix_affine, round_robin, two_each};

pub fn scenario(name: &str) -> Scenario {
    let path = format!("{}/../../benches/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    Scenario::load(std::path::Path::new(&path)).unwrap()
}

fn run(scenario: &Scenario, contender: &Contender) -> Report {
    simulate(scenario, contender).unwrap()
}

/// A small run: one region, two replicas, short prompts.
pub fn small() -> Scenario {
    let mut small = scenario("demo");
    small.fleet.regions.truncate(1);
    small.traffic.requests = 40;
    small
}

#[test]
fn one_seed_makes_one_report_and_another_makes_another() {
    let mixed = scenario("mixed-tenants");
    let report = || serde_json::to_string(&run(&mixed, &contender("p", prefix_affine))).unwrap();
    assert_eq!(report(), report());
    let other = Scenario { seed: mixed.seed + 1, ..mixed.clone() };
    assert_ne!(report(), serde_json::to_string(&run(&other, &contender("p", prefix_affine))).unwrap());
}

#[test]
fn following_prefixes_beats_taking_turns_on_hits_and_first_tokens() {
    let scenario = scenario("shared-prefix");
    let affine = run(&scenario, &contender("prefix-affine", prefix_affine));
    for blind in [run(&scenario, &contender("round-robin", round_robin)), run(&scenario, &Contender::fallback())] {
        assert!(affine.prefix_hit_rate > blind.prefix_hit_rate + 0.1, "{affine:#?}\n{blind:#?}");
        assert!(affine.ttft_ms.p90 < blind.ttft_ms.p90, "{affine:#?}\n{blind:#?}");
        assert!(affine.duration_s < blind.duration_s);
    }
}

#[test]
fn later_turns_hit_the_prefix_of_earlier_ones() {
    let chats = scenario("multi-turn");
    let affine = run(&chats, &contender("prefix-affine", prefix_affine));
    assert_eq!(affine.finished, 600);
    assert!(affine.prefix_hit_rate > 0.6, "{affine:#?}");
}

#[test]
fn the_table_shows_contenders_side_by_side() {
    let scenario = small();
    let reports = [run(&scenario, &Contender::fallback()), run(&scenario, &contender("round-robin", round_robin))];
    insta::assert_snapshot!(table(&reports));
}

#[test]
fn what_a_replica_had_when_it_died_is_done_elsewhere_unless_its_client_saw_a_part() {
    let mut scenario = scenario("shared-prefix");
    let change = |at_ms, to| Change { at_ms, region: "us".to_owned(), replica: 1, to };
    scenario.simulate.changes = vec![change(1650, Condition::Down), change(6000, Condition::Up)];
    let report = run(&scenario, &contender("round-robin", round_robin));
    assert_eq!(report.requests, 512);
    assert!(report.retries > 0 && report.failed > 0, "{report:#?}");
    assert!(report.failed < 32, "no more than it had: {report:#?}");
}

#[test]
fn a_draining_replica_gets_nothing_new_and_nothing_fails() {
    let mut scenario = scenario("shared-prefix");
    scenario.simulate.changes =
        vec![Change { at_ms: 1500, region: "us".to_owned(), replica: 0, to: Condition::Draining }];
    let report = run(&scenario, &contender("round-robin", round_robin));
    assert_eq!((report.finished, report.failed), (512, 0));
    assert!(report.outstanding_min < report.outstanding_max / 2.0);
}

#[test]
fn held_requests_go_when_there_is_room_and_fail_when_there_never_is() {
    let mut scenario = small();
    let report = run(&scenario, &contender("two-each", two_each));
    assert_eq!((report.finished, report.failed), (40, 0));
    assert!(report.held > 0 && report.outstanding_max <= 2.0, "{report:#?}");
    scenario.simulate.proxy.hold_ms_max = 3000;
    let report = run(&scenario, &contender("holding", holding));
    assert_eq!((report.finished, report.failed, report.held_ms_max), (0, 40, 3000.0));
    scenario.simulate.proxy.queue_max = 0;
    assert_eq!(run(&scenario, &contender("holding", holding)).held_ms_max, 0.0);
}

#[test]
fn what_can_never_run_is_rejected_and_not_tried_elsewhere() {
    let mut scenario = small();
    scenario.simulate.replica.kv_blocks = 8;
    let report = run(&scenario, &Contender::fallback());
    assert_eq!((report.rejected, report.retries), (40, 0));
}
