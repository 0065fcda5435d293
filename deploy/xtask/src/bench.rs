//! `cargo xtask bench SUBJECT`: builds what is measured, optimised, and measures it.

use std::path::Path;

use clap::ValueEnum;
use guest_build::shell::{self, cargo, step};

use crate::policies;

/// What can be measured.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Subject {
    /// Decisions of the shipped policies beside native Rust, loads, memory
    Policy,
    /// What requests take while policies are swapped under them
    Swap,
}

/// Measures one subject.
pub(crate) fn run(root: &Path, subject: Subject) -> anyhow::Result<()> {
    match subject {
        Subject::Policy => policy(root),
        Subject::Swap => swap(root),
    }
}

fn policy(root: &Path) -> anyhow::Result<()> {
    eprint!("{}", policies::build(root)?);
    step("building the benchmark; the first time that takes minutes");
    let rows = root.join("target/bench/policy.json");
    let mut bench = cargo(root);
    bench.args(["bench", "--quiet", "--workspace", "--bench", "policy"]);
    bench.env("HEADWORKS_TEST_POLICIES", root.join(policies::DIST)).env("HEADWORKS_BENCH_JSON", &rows);
    shell::run(&mut bench)?;
    step(&format!("the rows are in {}", rows.display()));
    Ok(())
}

fn swap(root: &Path) -> anyhow::Result<()> {
    step("building the benchmark; the first time that takes minutes");
    let mut bench = cargo(root);
    bench.args(["bench", "--quiet", "--workspace", "--bench", "swap"]);
    shell::run(&mut bench)?;
    step(&format!("the report is in {}", root.join("target/bench/swap.json").display()));
    Ok(())
}
