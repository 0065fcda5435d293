//! `cargo xtask ui`: builds the dashboard into web-ui/dist, and does nothing when nothing changed.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use guest_build::shell::{program, read, run, step};

/// The oldest Node that the bundler runs on.
const NODE_MIN: (u32, u32) = (20, 19);

/// What a build is made of, below web-ui.
const SOURCES: [&str; 7] =
    ["app", "public", "index.html", "package.json", "package-lock.json", "svelte.config.js", "vite.config.js"];

/// Notes of what was installed and built; they vanish with what they speak of.
const INSTALLED: &str = "node_modules/.headworks-installed";
const BUILT: &str = "node_modules/.headworks-built";

/// Installs the pinned packages when the lock file changed, and builds when a source did.
pub(crate) fn build(root: &Path) -> anyhow::Result<()> {
    let room = root.join("web-ui");
    install(&room)?;
    let sources = digest_of(&room, &SOURCES)?;
    if noted(&room, BUILT, &sources) && room.join("dist/index.html").exists() {
        return Ok(());
    }
    step("building the dashboard");
    run(npm(&room).args(["run", "--silent", "build"]))?;
    note(&room, BUILT, &sources)
}

/// Checks the types and runs the unit tests.
pub(crate) fn unit_test(root: &Path) -> anyhow::Result<()> {
    let room = root.join("web-ui");
    install(&room)?;
    step("checking the dashboard's types");
    run(npm(&room).args(["run", "--silent", "check"]))?;
    step("testing the dashboard's deciding code");
    run(npm(&room).args(["run", "--silent", "test"]))
}

fn install(room: &Path) -> anyhow::Result<()> {
    let lock = digest_of(room, &["package.json", "package-lock.json"])?;
    if noted(room, INSTALLED, &lock) {
        return Ok(());
    }
    check_node(room)?;
    step("installing the dashboard's packages");
    run(npm(room).args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]))
        .context("install the dashboard's packages from the npm registry")?;
    note(room, INSTALLED, &lock)
}

/// npm, whose chatter goes to stderr: stdout belongs to the caller's result.
fn npm(room: &Path) -> Command {
    let mut npm = program(room, "npm");
    npm.stdout(std::io::stderr());
    npm
}

fn check_node(room: &Path) -> anyhow::Result<()> {
    let (major, minor) = NODE_MIN;
    let wanted = format!("the dashboard is built with Node {major}.{minor} or newer and npm");
    let version = read(program(room, "node").arg("--version")).with_context(|| wanted.clone())?;
    if version_of(&version).is_none_or(|found| found < NODE_MIN) {
        bail!("{wanted}; `node --version` says {}", version.trim());
    }
    read(program(room, "npm").arg("--version")).map(drop).context(wanted)
}

/// Major and minor of what `node --version` prints, as in `v20.19.2`.
fn version_of(printed: &str) -> Option<(u32, u32)> {
    let mut numbers = printed.trim().strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// One number over the names and contents of files and of all files in folders.
fn digest_of(room: &Path, names: &[&str]) -> anyhow::Result<String> {
    let mut hasher = DefaultHasher::new();
    for name in names {
        for path in files_in(&room.join(name))? {
            path.strip_prefix(room).unwrap_or(&path).hash(&mut hasher);
            fs::read(&path).with_context(|| format!("read {}", path.display()))?.hash(&mut hasher);
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// The file itself, or every file below the folder, in one order everywhere.
fn files_in(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    let below = paths.iter().map(|path| files_in(path)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(below.concat())
}

fn noted(room: &Path, note: &str, digest: &str) -> bool {
    fs::read_to_string(room.join(note)).is_ok_and(|kept| kept == digest)
}

fn note(room: &Path, note: &str, digest: &str) -> anyhow::Result<()> {
    fs::write(room.join(note), digest).with_context(|| format!("write web-ui/{note}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(printed: &str, version: Option<(u32, u32)>) {
        assert_eq!(version_of(printed), version, "{printed:?}");
    }

    #[test]
    fn node_versions_are_read_and_compared_by_number() {
        check("v20.19.2\n", Some((20, 19)));
        check("v9.11.1", Some((9, 11)));
        check("v22.0.0-nightly", Some((22, 0)));
        check("20.19.2", None);
        check("", None);
        let enough = [(9, 11), (20, 18), (20, 19), (22, 0)].map(|version| version >= NODE_MIN);
        assert_eq!(enough, [false, false, true, true]);
    }
}
