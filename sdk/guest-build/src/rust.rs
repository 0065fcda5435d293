//! A policy in Rust: cargo, with the wasm target's standard library and the linker that makes components.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use crate::guest_toolchain::{GuestToolchain, TARGET};
use crate::project::Project;
use crate::shell::{cargo, run, step};

pub(crate) fn build(project: &Project, out: &Path) -> anyhow::Result<()> {
    let name = package(&project.folder)?;
    let toolchain = GuestToolchain::find(&project.folder)?;
    let target = toolchain.target(&project.folder)?;
    step(&format!("building {name} with {toolchain}{}", toolchain.first(&target)));
    let mut cargo = toolchain.cargo_anywhere(&project.folder);
    cargo.args(["build", "--release", "--lib", "--target", TARGET]).arg("--target-dir").arg(&target);
    run(&mut cargo).context("build the policy")?;
    let component = target.join(TARGET).join("release").join(format!("{}.wasm", name.replace('-', "_")));
    if !component.exists() {
        bail!("cargo made no {}; [lib] in Cargo.toml needs crate-type = [\"cdylib\", \"rlib\"]", component.display());
    }
    fs::copy(&component, out).map(drop).with_context(|| format!("write {}", out.display()))
}

/// Runs the crate's tests on this machine.
pub(crate) fn unit(project: &Project) -> anyhow::Result<()> {
    run(cargo(&project.folder).arg("test")).context("run the unit tests")
}

/// The crate's name.
fn package(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest: toml::Table = text.parse().with_context(|| format!("read {}", path.display()))?;
    let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
    Ok(name.with_context(|| format!("{} names no package", path.display()))?.to_owned())
}
