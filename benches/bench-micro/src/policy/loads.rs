//! What it costs to load a component, compiled anew and from the cache, and what a loaded one holds.

use std::{
    fs,
    sync::{Arc, RwLock},
};

use anyhow::Context;
use policy_runtime::{Component, Limits, Runtime};

use super::components::{runtime, runtime_with_folder, shipped, variant};
use crate::{
    cpu,
    sampling::median,
    table::{Better, Row},
};

/// The shipped component that is nearest to 100 KB.
const COMPONENT: &str = "least-load";
const LOADS: u32 = 15;
/// Loaded before memory is looked at: what the first loads set up is there once.
const SETTLED: u32 = 16;
/// Loaded at once, each in a slot of its own.
const LOADED: u32 = 32;

/// All cases.
pub fn rows() -> anyhow::Result<Vec<Row>> {
    let component = shipped(COMPONENT)?;
    let kb = component.len() as f64 / 1000.0;
    let case = |what: &str| format!("load {COMPONENT} ({kb:.0} KB): {what}");
    Ok(vec![
        Row::of(&case("compile, check, swap"), "ms", compiled(&component)?, None).target(250.0, Better::Less),
        Row::of(&case("from the compiled cache"), "ms", cached(&component)?, None).target(5.0, Better::Less),
        Row::of(&case("while the same is in use"), "ms", in_use(&component)?, None),
        Row::of("memory of a loaded policy, its own heap included", "KiB", held(&component)?, None)
            .target(1024.0, Better::Less),
    ])
}

/// The first of many loads, each of other bytes.
fn compiled(component: &[u8]) -> anyhow::Result<f64> {
    let runtime = runtime(Limits::default())?;
    let slot = RwLock::new(Arc::new(runtime.load("bench", component, "", None)?));
    let times = (0..LOADS).map(|number| swap_ms(&runtime, &slot, &variant(component, number)));
    Ok(median(times.collect::<anyhow::Result<_>>()?))
}

/// Each in a runtime of its own, as after a restart.
fn cached(component: &[u8]) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    runtime_with_folder(folder.path())?.load("bench", component, "", None)?;
    let other = variant(component, 0);
    let times = (0..LOADS).map(|_| {
        let runtime = runtime_with_folder(folder.path())?;
        let slot = RwLock::new(Arc::new(runtime.load("bench", &other, "", None)?));
        swap_ms(&runtime, &slot, component)
    });
    Ok(median(times.collect::<anyhow::Result<_>>()?))
}

/// The bytes that another slot has loaded.
fn in_use(component: &[u8]) -> anyhow::Result<f64> {
    let runtime = runtime(Limits::default())?;
    let slot = RwLock::new(Arc::new(runtime.load("bench", component, "", None)?));
    let times = (0..LOADS).map(|_| swap_ms(&runtime, &slot, component));
    Ok(median(times.collect::<anyhow::Result<_>>()?))
}

/// From the bytes in hand to the policy that decides; CPU time of all threads, so no less than what passes on an idle
/// machine.
fn swap_ms(runtime: &Runtime, slot: &RwLock<Arc<Component>>, component: &[u8]) -> anyhow::Result<f64> {
    let old = slot.read().map_err(|_| anyhow::anyhow!("a load panicked"))?.clone();
    let started = cpu::of_process();
    let new = Arc::new(runtime.load("bench", component, "", Some(&old))?);
    *slot.write().map_err(|_| anyhow::anyhow!("a load panicked"))? = new;
    Ok((cpu::of_process() - started).as_secs_f64() * 1000.0)
}

/// What the process grows by with each policy, in KiB.
fn held(component: &[u8]) -> anyhow::Result<f64> {
    let limits = Limits { slots_max: (SETTLED + LOADED) as usize, ..Limits::default() };
    let runtime = runtime(limits)?;
    let load = |number: u32| runtime.load(&format!("slot-{number}"), &variant(component, 1000 + number), "", None);
    let settled: Vec<Component> = (0..SETTLED).map(load).collect::<Result<_, _>>()?;
    let before = resident_kib()?;
    let loaded: Vec<Component> = (SETTLED..SETTLED + LOADED).map(load).collect::<Result<_, _>>()?;
    let grown = resident_kib()? - before;
    drop((settled, loaded));
    Ok(grown / f64::from(LOADED))
}

fn resident_kib() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("find VmRSS")?;
    let kib = line.trim().trim_end_matches("kB").trim();
    kib.parse().with_context(|| format!("read {kib}"))
}
