//! How many decisions many threads get out of one policy in a second of all cores, what else runs on them left out.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use policy_api::Policy;
use policy_runtime::Limits;

use super::{components, decisions::decide, native, scenes};
use crate::{
    cpu,
    sampling::median,
    table::{Better, Row},
};

const THREADS: usize = 8;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(600);
/// Decisions between two looks at whether it is over.
const BATCH: u64 = 256;

/// One row per policy.
pub fn rows() -> anyhow::Result<Vec<Row>> {
    let round_robin = components::load("round-robin", "", Limits::default())?;
    let least_load = components::load("least-load", "", Limits::default())?;
    Ok(vec![
        row("round-robin, 64 replicas", &round_robin, &native::round_robin()),
        row("least-load (scan two), 64 replicas", &least_load, &native::least_load_of_two()),
    ])
}

fn row(case: &str, component: &dyn Policy, native: &dyn Policy) -> Row {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(decisions_per_core_s(component) * cores as f64);
        peers.push(decisions_per_core_s(native) * cores as f64);
    }
    let case = format!("{THREADS} threads on {cores} cores, {case}");
    Row::rate(&case, "/s", median(ours), median(peers)).target(500_000.0, Better::More)
}

/// In a second of CPU time.
fn decisions_per_core_s(policy: &dyn Policy) -> f64 {
    let (requests, fleets) = (scenes::plain_requests(), [scenes::fleet(1, 64)]);
    let (start, over, decisions) = (Barrier::new(THREADS + 1), AtomicBool::new(false), AtomicU64::new(0));
    let before = thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                let mut own = 0;
                while !over.load(Relaxed) {
                    decide(policy, &requests, &fleets, BATCH);
                    own += BATCH;
                }
                decisions.fetch_add(own, Relaxed);
            });
        }
        let before = cpu::of_process();
        start.wait();
        thread::sleep(ROUND);
        over.store(true, Relaxed);
        before
    });
    let spent = cpu::of_process() - before;
    decisions.into_inner() as f64 / spent.as_secs_f64()
}
