//! What one decision costs, from the call that dispatch makes to its answer.

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use policy_api::{Call, FleetView, Placement, Policy, RequestFacts};
use policy_runtime::Limits;

use super::{components, native, scenes};
use crate::{
    cpu,
    sampling::Sampler,
    table::{Better, Row},
};

/// Blocks that the prefix index holds, all of them in use: each new one pushes an old one out.
const INDEXED_BLOCKS: usize = 100_000;
/// Prompts that take turns: too many for the index to hold the ends of all, so that a prompt's own half is always new.
const PROMPTS: u64 = 2048;
/// Prompts of the cases whose hashing is measured too.
const TEXTS: u64 = 256;
const PREFIX_REPLICAS: u32 = 16;

/// All cases.
pub fn rows(sampler: &mut Sampler) -> anyhow::Result<Vec<Row>> {
    Ok(vec![
        round_robin(sampler)?,
        least_load(sampler, "two", native::least_load_of_two())?.target(2.0, Better::Less),
        least_load(sampler, "all", native::least_load_of_all())?.target(2.0, Better::Less),
        prefix_tree(sampler)?,
        prefix_tree_known(sampler)?,
        prefix_tree_with_hashing(sampler)?,
    ])
}

fn round_robin(sampler: &mut Sampler) -> anyhow::Result<Row> {
    let (requests, fleets) = (scenes::plain_requests(), [scenes::fleet(1, 64)]);
    let component = components::load("round-robin", "", Limits::default())?;
    let row = compare(sampler, "round-robin, 64 replicas", [&component, &native::round_robin()], &requests, &fleets);
    Ok(row.target(0.5, Better::Less))
}

fn least_load(sampler: &mut Sampler, scan: &str, native: impl Policy) -> anyhow::Result<Row> {
    let (requests, fleets) = (scenes::plain_requests(), scenes::changing_fleets(256));
    let component = components::load("least-load", &format!(r#"{{"scan":"{scan}"}}"#), Limits::default())?;
    let case = format!("least-load (scan {scan}), 256 replicas, fleet always changed");
    Ok(compare(sampler, &case, [&component, &native], &requests, &fleets))
}

/// Each prompt's first half is known, its second half new; an index that is full.
fn prefix_tree(sampler: &mut Sampler) -> anyhow::Result<Row> {
    let (requests, fleets) = (scenes::hashed_requests(PROMPTS), [scenes::fleet(1, PREFIX_REPLICAS)]);
    let case = "prefix-tree, 128 hashes, half of them new, 100k blocks";
    let row = prefix_tree_on(sampler, case, &requests, &fleets)?;
    Ok(row.target(5.0, Better::Less).ratio_target(1.5))
}

/// All blocks of each prompt are known.
fn prefix_tree_known(sampler: &mut Sampler) -> anyhow::Result<Row> {
    let (requests, fleets) = (scenes::hashed_requests(PROMPTS / 2), [scenes::fleet(1, PREFIX_REPLICAS)]);
    prefix_tree_on(sampler, "prefix-tree, 128 hashes, all known", &requests, &fleets)
}

fn prefix_tree_on(
    sampler: &mut Sampler,
    case: &str,
    requests: &[Arc<RequestFacts>],
    fleets: &[Arc<FleetView>],
) -> anyhow::Result<Row> {
    let limits = Limits { prefix_blocks_max: INDEXED_BLOCKS, ..Limits::default() };
    let (component, native) = (components::load("prefix-tree", "", limits)?, native::prefix_tree(INDEXED_BLOCKS));
    for policy in [&component as &dyn Policy, &native] {
        decide(policy, requests, fleets, 2 * requests.len() as u64);
    }
    Ok(compare(sampler, case, [&component, &native], requests, fleets))
}

/// A request as the proxy hands it over: nobody has hashed its 32 KiB yet.
fn prefix_tree_with_hashing(sampler: &mut Sampler) -> anyhow::Result<Row> {
    let (prompts, fleet) = (scenes::prompts(TEXTS), scenes::fleet(1, PREFIX_REPLICAS));
    let limits = Limits { prefix_blocks_max: INDEXED_BLOCKS, ..Limits::default() };
    let (component, native) = (components::load("prefix-tree", "", limits)?, native::prefix_tree(INDEXED_BLOCKS));
    let [ours, peer] = sampler.medians(
        "prefix-tree with hashing",
        [
            ("component", &mut |times| decide_fresh(&component, &prompts, &fleet, times)),
            ("native", &mut |times| decide_fresh(&native, &prompts, &fleet, times)),
        ],
    );
    let case = "prefix-tree, the same with hashing 32 KiB of prompt";
    Ok(Row::of(case, "µs", ours / 1000.0, Some(peer / 1000.0)).target(5.0, Better::Less).ratio_target(1.5))
}

/// The component and the native policy on the same requests and fleets.
fn compare(
    sampler: &mut Sampler,
    case: &str,
    [component, native]: [&dyn Policy; 2],
    requests: &[Arc<RequestFacts>],
    fleets: &[Arc<FleetView>],
) -> Row {
    let [ours, peer] = sampler.medians(
        case,
        [
            ("component", &mut |times| decide(component, requests, fleets, times)),
            ("native", &mut |times| decide(native, requests, fleets, times)),
        ],
    );
    Row::of(case, "µs", ours / 1000.0, Some(peer / 1000.0))
}

/// Decides so many times, on each request and each fleet in turn.
pub fn decide(policy: &dyn Policy, requests: &[Arc<RequestFacts>], fleets: &[Arc<FleetView>], times: u64) -> Duration {
    let started = cpu::of_thread();
    let (mut requests, mut fleets) = (requests.iter().cycle(), fleets.iter().cycle());
    for _ in 0..times {
        let facts = requests.next().expect("there are requests");
        let fleet = fleets.next().expect("there are fleets");
        place(policy, facts, fleet);
    }
    cpu::of_thread() - started
}

/// The same on requests that nobody has looked at; making them is not measured.
fn decide_fresh(policy: &dyn Policy, prompts: &[Bytes], fleet: &Arc<FleetView>, times: u64) -> Duration {
    let mut took = Duration::ZERO;
    let mut left = times;
    while left > 0 {
        let count = left.min(prompts.len() as u64);
        let requests: Vec<_> = (0..count).zip(prompts).map(|(id, prompt)| scenes::fresh_request(id, prompt)).collect();
        let started = cpu::of_thread();
        for facts in &requests {
            place(policy, facts, fleet);
        }
        took += cpu::of_thread() - started;
        left -= count;
    }
    took
}

fn place(policy: &dyn Policy, facts: &Arc<RequestFacts>, fleet: &Arc<FleetView>) {
    let answer = policy.place(&Call { now_ms: 1, facts, fleet }).expect("the policy decides");
    debug_assert!(matches!(answer.verdict, Placement::Replica(_)));
    black_box(answer);
}
