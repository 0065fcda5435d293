//! The shipped policies as built, loaded as the proxy loads them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use policy_runtime::{Component, Host, Level, Limits, Runtime};

/// Where they are, unless `HEADWORKS_TEST_POLICIES` names another folder.
const DIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies-wasm/dist");

/// A host that keeps nothing.
struct Quiet;

impl Host for Quiet {
    fn now_ms(&self) -> u64 {
        0
    }
    fn log(&self, _slot: &str, _level: Level, _line: &str) {}
    fn count(&self, _slot: &str, _name: &str, _delta: u64) {}
    fn gauge(&self, _slot: &str, _name: &str, _value: f64) {}
}

/// A shipped component's bytes.
pub fn shipped(name: &str) -> anyhow::Result<Vec<u8>> {
    let folder = env::var_os("HEADWORKS_TEST_POLICIES").map_or_else(|| PathBuf::from(DIST), PathBuf::from);
    let path = folder.join(format!("{name}.wasm"));
    fs::read(&path).with_context(|| format!("read {}; `cargo xtask policies` builds it", path.display()))
}

/// A runtime as a proxy's.
pub fn runtime(limits: Limits) -> anyhow::Result<Runtime> {
    Ok(Runtime::new(limits, Arc::new(Quiet), 7)?)
}

/// The same, with a folder of compiled components.
pub fn runtime_with_folder(folder: &Path) -> anyhow::Result<Runtime> {
    Ok(Runtime::with_folder(Limits::default(), Arc::new(Quiet), 7, folder.to_owned())?)
}

/// A loaded policy in a runtime of its own.
pub fn load(name: &str, config: &str, limits: Limits) -> anyhow::Result<Component> {
    runtime(limits)?.load("bench", &shipped(name)?, config, None).with_context(|| format!("load {name}"))
}

/// The same component with other bytes: a section that nothing reads makes its digest another.
pub fn variant(component: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let payload = [&[5][..], b"bench", &number.to_le_bytes()].concat();
    bytes.push(0);
    bytes.push(payload.len() as u8);
    bytes.extend(payload);
    bytes
}
