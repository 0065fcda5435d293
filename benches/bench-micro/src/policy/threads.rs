//! How many decisions a second many threads get out of one policy.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use policy_api::Policy;
use policy_runtime::Limits;

use super::{components, decisions::decide, native, scenes};
use crate::{
    sampling::median,
    table::{Better, Row},
};

const THREADS: u64 = 8;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(600);
/// Decisions between two looks at the clock.
const BATCH: u64 = 64;

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
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(decisions_per_s(component));
        peers.push(decisions_per_s(native));
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let case = format!("{THREADS} threads on {cores} cores: {case}");
    Row::rate(&case, "/s", median(ours), median(peers)).target(500_000.0, Better::More)
}

fn decisions_per_s(policy: &dyn Policy) -> f64 {
    let (requests, fleets) = (scenes::plain_requests(), [scenes::fleet(1, 64)]);
    let (start, over, decisions) = (Barrier::new(THREADS as usize + 1), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
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
        start.wait();
        let started = Instant::now();
        thread::sleep(ROUND);
        over.store(true, Relaxed);
        started
    });
    decisions.into_inner() as f64 / ROUND.as_secs_f64()
}
