//! Policies: what a decision costs, what a load costs, what a loaded policy holds.

mod components;
mod decisions;
mod loads;
mod native;
mod scenes;
mod threads;

use std::{env, path::PathBuf};

use crate::{sampling::Sampler, table};

/// Where the rows go, unless `HEADWORKS_BENCH_JSON` names another file.
const JSON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench/policy.json");

/// Runs every case, prints the table and writes the rows. With a filter: only the decisions it names, for a closer look.
pub fn run() -> anyhow::Result<()> {
    let mut sampler = Sampler::of_arguments();
    let mut rows = decisions::rows(&mut sampler)?;
    if env::args().skip(1).any(|argument| !argument.starts_with('-')) {
        rows.retain(|row| row.ours > 0.0);
        println!("\n{}", table::text(&rows));
        return Ok(());
    }
    rows.extend(threads::rows()?);
    rows.extend(loads::rows()?);
    println!("\n{}", table::text(&rows));
    let path = env::var_os("HEADWORKS_BENCH_JSON").map_or_else(|| PathBuf::from(JSON), PathBuf::from);
    table::write_json(&rows, &path)
}
