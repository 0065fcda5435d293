//! `cargo xtask faults`: a long storm of faults over real processes, from a seed.

use std::path::Path;

use crate::policies;
use guest_build::shell::{self, cargo, step};

pub(crate) fn run(root: &Path, requests: u64, seed: u64) -> anyhow::Result<()> {
    eprint!("{}", policies::build(root)?);
    step(&format!("{requests} requests in a storm of faults, seed {seed}"));
    let mut storm = cargo(root);
    storm.args(["test", "--quiet", "--workspace", "--test", "e2e", "--", "--nocapture", "storm::"]);
    storm
        .env("HEADWORKS_TEST_POLICIES", root.join(policies::DIST))
        .env("HEADWORKS_FAULTS_REQUESTS", requests.to_string())
        .env("HEADWORKS_FAULTS_SEED", seed.to_string());
    shell::run(&mut storm)
}
