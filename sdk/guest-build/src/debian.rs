//! Debian's Rust with the standard library's sources, unpacked in a cache; needs no root and changes no system.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

use anyhow::{Context, bail};

use crate::cache;
use crate::shell::{is_there, program, read, run, step};

/// A compiler, its cargo, the standard library's sources, and a linker for WebAssembly.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];

/// The oldest Rust that builds the policies: `rust-version` of their workspace.
const RUST_MINOR_MIN: u32 = 95;

/// The folder in the cache. Remove it to fetch anew.
const FOLDER: &str = "debian-rust";

/// Debian's Rust, unpacked.
pub(crate) struct DebianRust {
    unpacked: PathBuf,
}

/// What an earlier call left in the cache, or a fresh download.
pub(crate) fn find_or_get() -> anyhow::Result<DebianRust> {
    let rust = DebianRust { unpacked: cache::folder()?.join(FOLDER) };
    cache::whole(&rust.unpacked, get)?;
    rust.check_version()?;
    Ok(rust)
}

impl DebianRust {
    /// Its cargo, told to use its own compiler and to build the standard library.
    pub(crate) fn cargo(&self, root: &Path) -> Command {
        let mut cargo = program(root, self.bin("cargo"));
        cargo
            .env("LD_LIBRARY_PATH", self.libraries())
            .env("RUSTC", self.bin("rustc"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env_remove("CARGO");
        cargo
    }

    /// The linker for core modules.
    pub(crate) fn wasm_ld(&self) -> PathBuf {
        self.bin("wasm-ld-22")
    }

    /// The standard library's sources.
    pub(crate) fn sources(&self) -> PathBuf {
        self.unpacked.join("usr/lib/rustlib/src/rust")
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.unpacked.join("usr/bin").join(name)
    }

    /// Where the shared libraries are that this machine does not have itself.
    fn libraries(&self) -> PathBuf {
        let lib = self.unpacked.join("usr/lib");
        let folders = lib.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
        let multiarch = folders.into_iter().find(|path| path.to_string_lossy().ends_with("-linux-gnu"));
        multiarch.unwrap_or(lib)
    }

    fn check_version(&self) -> anyhow::Result<()> {
        let mut rustc = program(&self.unpacked, self.bin("rustc"));
        let version = read(rustc.arg("-V").env("LD_LIBRARY_PATH", self.libraries()))
            .with_context(|| format!("start Debian's rustc; remove {} to fetch it anew", self.unpacked.display()))?;
        match minor_of(&version) {
            Some(minor) if minor >= RUST_MINOR_MIN => Ok(()),
            _ => bail!(
                "Debian's rustc-web is {}, but the policies need 1.{RUST_MINOR_MIN}; enable Debian's security archive, \
                 run `apt-get update`, and remove {}",
                version.trim(),
                self.unpacked.display()
            ),
        }
    }
}

impl fmt::Display for DebianRust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Debian's Rust in {}", self.unpacked.display())
    }
}

fn check_tools() -> anyhow::Result<()> {
    for tool in ["apt-get", "dpkg"] {
        if !is_there(tool, "--version") {
            bail!("{tool} is not there, so this is no Debian machine");
        }
    }
    Ok(())
}

fn get(folder: &Path) -> anyhow::Result<()> {
    check_tools()?;
    let archives = folder.join("archives");
    fs::create_dir_all(&archives).with_context(|| format!("make {}", archives.display()))?;
    fetch(&archives)?;
    unpack(&archives, folder)
}

fn fetch(archives: &Path) -> anyhow::Result<()> {
    renew_lists(archives);
    let packages = needed(archives)?;
    step(&format!("downloading {} Debian packages into {}", packages.len(), archives.display()));
    // As root, apt would drop to a user who may not write here.
    let mut apt = program(archives, "apt-get");
    apt.args(["download", "--quiet", "-o", "APT::Sandbox::User=root"]).args(packages);
    run(apt.stdout(std::io::stderr())).context("download Debian's Rust; `apt-get update` renews stale lists")
}

/// A fresh machine has no package lists, or old ones that name an older Rust. Without root they must do as they are.
fn renew_lists(folder: &Path) {
    step("renewing Debian's package lists");
    let mut apt = program(folder, "apt-get");
    if let Err(error) = run(apt.args(["-qq", "update"]).stdout(std::io::stderr())) {
        eprintln!("the lists are taken as they are: {error:#}");
    }
}

/// The packages and those of their dependencies that this machine lacks, which a simulated installation lists.
fn needed(archives: &Path) -> anyhow::Result<Vec<String>> {
    let mut apt = program(archives, "apt-get");
    let plan = read(apt.env("LC_ALL", "C").args(["install", "--simulate", "--no-install-recommends"]).args(PACKAGES))
        .context("ask apt for Debian's Rust (rustc-web); `apt-get update` as root renews its lists")?;
    let mut packages = planned(&plan);
    // One that is installed on this machine is not in the plan, but must be unpacked beside the others all the same.
    for package in PACKAGES {
        if !packages.iter().any(|planned| planned == package) {
            packages.push(package.to_owned());
        }
    }
    Ok(packages)
}

/// The packages of the lines `Inst NAME [OLD] (NEW …)`.
fn planned(plan: &str) -> Vec<String> {
    let names = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    names.map(str::to_owned).collect()
}

fn unpack(archives: &Path, into: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(archives).context("list the downloaded packages")? {
        let archive = entry.context("list the downloaded packages")?.path();
        run(program(archives, "dpkg").arg("-x").arg(&archive).arg(into))?;
    }
    fs::remove_dir_all(archives).context("remove the downloaded packages")
}

/// The minor of `rustc 1.96.0 (…)`.
fn minor_of(version: &str) -> Option<u32> {
    version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_names_the_packages() {
        let plan = "Reading package lists...\nInst libllvm22 (1:22.1.8 Debian:12 [amd64])\n\
                    Inst rustc-web [1.85] (1.96.0 Debian:12 [amd64])\nConf libllvm22 (1:22.1.8)\n";
        assert_eq!(planned(plan), ["libllvm22", "rustc-web"]);
    }

    #[test]
    fn the_compilers_minor_version_is_read() {
        assert_eq!(minor_of("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n"), Some(96));
        assert_eq!(minor_of("cargo 1.96.0"), None);
    }
}
