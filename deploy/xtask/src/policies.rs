//! `cargo xtask policies`: builds the shipped policies to WebAssembly components in policies-wasm/dist.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, bail};

use guest_build::shell::{run, step};
use guest_build::{GuestToolchain, TARGET};

/// Where the components are put.
pub(crate) const DIST: &str = "policies-wasm/dist";

/// The workspace of the shipped policies.
const GUESTS: &str = "policies-wasm/builtin";

/// What was built.
pub(crate) struct Built {
    components: Vec<Component>,
}

/// One policy as a file.
struct Component {
    name: String,
    path: PathBuf,
    bytes: u64,
}

/// Builds what changed and copies the components to [`DIST`].
pub(crate) fn build(root: &Path) -> anyhow::Result<Built> {
    let guests = root.join(GUESTS);
    let names = members(&guests)?;
    let toolchain = GuestToolchain::find(root)?;
    let target = guests.join("target");
    step(&format!("building {} with {toolchain}{}", names.join(", "), toolchain.first(&target)));
    let mut cargo = toolchain.cargo(root);
    cargo.current_dir(&guests).args(["build", "--release", "--locked", "--lib", "--target", TARGET]);
    run(cargo.arg("--target-dir").arg(&target)).context("build the policies")?;
    let dist = root.join(DIST);
    fs::create_dir_all(&dist).with_context(|| format!("make {}", dist.display()))?;
    let place = |name: &String| place(&target, &dist, name);
    Ok(Built { components: names.iter().map(place).collect::<anyhow::Result<_>>()? })
}

/// The policies' names, which are their folders' names.
fn members(guests: &Path) -> anyhow::Result<Vec<String>> {
    let path = guests.join("Cargo.toml");
    let manifest = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest: toml::Table = manifest.parse().with_context(|| format!("read {}", path.display()))?;
    let members = manifest.get("workspace").and_then(|workspace| workspace.get("members")?.as_array());
    let names: Vec<String> =
        members.into_iter().flatten().filter_map(|member| Some(member.as_str()?.to_owned())).collect();
    if names.is_empty() {
        bail!("{} names no members", path.display());
    }
    Ok(names)
}

/// Copies one component to the dist folder, unless the same bytes are there: a new date would only wake watchers.
fn place(target: &Path, dist: &Path, name: &str) -> anyhow::Result<Component> {
    let from = target.join(TARGET).join("release").join(format!("{}.wasm", name.replace('-', "_")));
    let component = fs::read(&from).with_context(|| format!("read {}", from.display()))?;
    let path = dist.join(format!("{name}.wasm"));
    if fs::read(&path).ok().as_ref() != Some(&component) {
        fs::write(&path, &component).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(Component { name: name.to_owned(), path, bytes: component.len() as u64 })
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Component { name, path, bytes } in &self.components {
            writeln!(f, "{name:<16} {bytes:>9} bytes  {}", path.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_policy_has_a_crate_and_a_page() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let guests = root.join(GUESTS);
        for name in members(&guests).unwrap() {
            assert!(guests.join(&name).join("Cargo.toml").exists(), "{name} has no crate");
            assert!(guests.join(&name).join("README.md").exists(), "{name} has no README.md");
        }
    }
}
