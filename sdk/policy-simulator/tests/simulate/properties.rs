//! What holds of every run, whatever the policy does and whatever befalls the fleet. That time never runs backwards, that
//! no more KV is used than there is and that no request ends twice is asserted in the simulator itself.

use policy_api::Policy;
use policy_simulator::{
    Change, Condition, Fleet, Prompts, ProxyShape, ReplicaShape, Scenario, Simulate, Traffic, simulate,
};
use proptest::prelude::*;
use std::sync::Arc;

use crate::natives::{contender, holding, moody, prefix_affine, round_robin, two_each};

const POLICIES: [fn() -> Arc<dyn Policy>; 5] = [moody, holding, two_each, prefix_affine, round_robin];

fn change(regions: usize, replicas: u32) -> impl Strategy<Value = Change> {
    let to = prop_oneof![Just(Condition::Up), Just(Condition::Draining), Just(Condition::Down)];
    (0..4000_u32, 0..regions, 0..replicas, to).prop_map(|(at_ms, region, replica, to)| Change {
        at_ms,
        region: region.to_string(),
        replica,
        to,
    })
}

prop_compose! {
    fn a_fleet()(regions in 1..3_usize, replicas in 1..4_u32)
        (changes in prop::collection::vec(change(regions, replicas), 0..5), regions in Just(regions), replicas in Just(replicas))
        -> (Fleet, Vec<Change>) {
        (Fleet { regions: (0..regions).map(|number| number.to_string()).collect(), replicas }, changes)
    }
}

prop_compose! {
    fn a_scenario()(
        (fleet, changes) in a_fleet(),
        seed in any::<u64>(),
        (requests, concurrency) in (1..60_u32, 1..20_u32),
        conversations_per_s in prop::option::of(1.0..80.0_f64),
        turns in 1..4_u32,
        kv_blocks in 20..400_u32,
        (running_max, waiting_max) in (1..8_u32, 1..8_u32),
        (queue_max, hold_ms_max, tries_max) in (0..6_u32, 1..3000_u32, 1..4_u32),
    ) -> Scenario {
        Scenario {
            name: "any".to_owned(),
            seed,
            traffic: Traffic { requests, concurrency, stream_share: 0.5 },
            prompts: Prompts { shared_prefixes: 3, prefix_words: 60, question_words: [1, 80], output_tokens: [1, 30] },
            fleet,
            simulate: Simulate {
                conversations_per_s,
                turns: [1, turns],
                think_ms: [0, 200],
                replica: ReplicaShape { kv_blocks, step_tokens_max: 64, running_max, waiting_max, ..ReplicaShape::default() },
                proxy: ProxyShape { queue_max, hold_ms_max, tries_max, ..ProxyShape::default() },
                changes,
                ..Simulate::default()
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_request_ends_once_and_no_bound_is_passed(scenario in a_scenario(), policy in 0..POLICIES.len()) {
        let report = simulate(&scenario, &contender("any", POLICIES[policy])).unwrap();
        prop_assert_eq!(report.requests, u64::from(scenario.traffic.requests));
        prop_assert_eq!(report.finished + report.failed + report.rejected, report.requests);
        prop_assert!(report.kv_blocks_used_max <= report.kv_blocks_total);
        prop_assert!(report.held_ms_max <= f64::from(scenario.simulate.proxy.hold_ms_max));
        prop_assert!(report.cached_tokens <= report.prompt_tokens);
        prop_assert!(report.retries <= report.requests * u64::from(scenario.simulate.proxy.tries_max - 1) * 2);
        let again = simulate(&scenario, &contender("any", POLICIES[policy])).unwrap();
        prop_assert_eq!(report, again);
    }
}
