//! Which compiler and which standard library build the policies: what is there first, then rustup, then Debian.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt};

use anyhow::{Context, bail};

use crate::cache;
use crate::debian::{self, DebianRust};
use crate::shell::{self, program, read, run, step};

/// What policies are built for: nothing of the outside world, hence no WASI imports.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Separates flags in CARGO_ENCODED_RUSTFLAGS, so that paths may have spaces.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// A compiler with a standard library for [`TARGET`], and the linker that makes components.
pub struct GuestToolchain {
    /// `wasm-component-ld`, which the host's Rust ships.
    linker: PathBuf,
    source: Source,
}

enum Source {
    /// The host's Rust has the target's standard library.
    Host { wasm_ld: PathBuf, how: &'static str },
    /// Debian's Rust builds it from Debian's sources.
    Debian(DebianRust),
}

impl GuestToolchain {
    /// Finds one, or gets one.
    pub fn find(root: &Path) -> anyhow::Result<GuestToolchain> {
        let host = HostRust::of(root)?;
        let linker = host.bin.join("wasm-component-ld");
        if !linker.exists() {
            bail!(
                "the linker wasm-component-ld is not in {}; install Rust with rustup, which ships it",
                host.bin.display()
            );
        }
        let wasm_ld = host.bin.join("gcc-ld/wasm-ld");
        let source = if host.has_target() {
            Source::Host { wasm_ld, how: "this machine's Rust (its wasm target was already installed)" }
        } else if may_install() {
            add_target(root)?;
            Source::Host { wasm_ld, how: "this machine's Rust (rustup has just installed its wasm target)" }
        } else {
            Source::Debian(debian::find_or_get().context(
                "the wasm target is not installed and rustup may not install it (RUSTUP_AUTO_INSTALL=0); \
                 run `rustup target add wasm32-unknown-unknown`, or use a Debian machine",
            )?)
        };
        Ok(GuestToolchain { linker, source })
    }

    /// Its cargo, in an environment where our own cargo left no trace. Of paths below `root` the component names only
    /// what follows.
    pub fn cargo(&self, root: &Path) -> Command {
        // Paths reach the bytes through panic messages; without them a build is the same on every machine.
        self.cargo_with(root, &[format!("--remap-path-prefix={}=/headworks", root.display())])
    }

    /// The same for a crate of its own, whose own paths cargo gives as relative ones. With flags that are the same for
    /// every folder, the standard library is built once for all of them.
    pub fn cargo_anywhere(&self, folder: &Path) -> Command {
        self.cargo_with(folder, &[])
    }

    /// Where such a crate is built.
    pub fn target(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        match &self.source {
            Source::Host { .. } => Ok(folder.join("target")),
            Source::Debian(_) => Ok(cache::folder()?.join("debian-rust-target")),
        }
    }

    /// What a build below `target` does first, where that takes long: Debian's Rust builds the standard library, once for
    /// each set of flags.
    pub fn first(&self, target: &Path) -> &'static str {
        let libraries = target.join(TARGET).join("release/deps");
        match &self.source {
            Source::Debian(_) if !has_std(&libraries) => {
                "; it builds the standard library first, which takes two minutes"
            }
            Source::Debian(_) | Source::Host { .. } => "",
        }
    }

    fn cargo_with(&self, root: &Path, own_flags: &[String]) -> Command {
        let (mut cargo, wasm_ld) = match &self.source {
            Source::Host { wasm_ld, .. } => (shell::cargo(root), wasm_ld.clone()),
            Source::Debian(rust) => (rust.cargo(root), rust.wasm_ld()),
        };
        let flags = [
            "-Clinker-flavor=wasm-ld".to_owned(),
            "-Clink-arg=--wasm-ld-path".to_owned(),
            format!("-Clink-arg={}", wasm_ld.display()),
            format!("--remap-path-prefix={}=/cargo", cargo_home().display()),
        ];
        let library = match &self.source {
            Source::Host { .. } => None,
            Source::Debian(rust) => Some(format!("--remap-path-prefix={}=/rust", rust.sources().display())),
        };
        let flags = own_flags.iter().cloned().chain(flags).chain(library);
        let flags = flags.collect::<Vec<_>>().join(FLAG_SEPARATOR);
        cargo
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &self.linker)
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO_BUILD_TARGET")
            .stdout(std::io::stderr());
        if let Source::Debian(_) = self.source {
            cargo.args(["-Zbuild-std=std,panic_abort"]);
        }
        cargo
    }
}

impl fmt::Display for GuestToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Host { how, .. } => f.write_str(how),
            Source::Debian(rust) => write!(f, "{rust}"),
        }
    }
}

/// The Rust that runs us.
struct HostRust {
    /// Its own tools, `lib/rustlib/HOST/bin`.
    bin: PathBuf,
    /// Where its standard library for [`TARGET`] is, if it has one.
    target_lib: PathBuf,
}

impl HostRust {
    fn of(root: &Path) -> anyhow::Result<HostRust> {
        let asked =
            |arguments: &[&str]| read(program(root, "rustc").args(arguments)).context("ask rustc where it lives");
        let sysroot = PathBuf::from(asked(&["--print", "sysroot"])?.trim());
        let verbose = asked(&["-vV"])?;
        let host = verbose.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` names no host")?;
        let target_lib = asked(&["--print", "target-libdir", "--target", TARGET])?;
        Ok(HostRust {
            bin: sysroot.join("lib/rustlib").join(host).join("bin"),
            target_lib: PathBuf::from(target_lib.trim()),
        })
    }

    fn has_target(&self) -> bool {
        has_std(&self.target_lib)
    }
}

/// Whether a folder has a standard library in it.
fn has_std(folder: &Path) -> bool {
    let mut files = folder.read_dir().into_iter().flatten().flatten();
    files.any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn may_install() -> bool {
    env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0")
}

fn add_target(root: &Path) -> anyhow::Result<()> {
    step(&format!("installing Rust's standard library for {TARGET}"));
    run(program(root, "rustup").args(["target", "add", TARGET]))
        .with_context(|| format!("the policies need Rust's {TARGET} target; `rustup target add {TARGET}` installs it"))
}

fn cargo_home() -> PathBuf {
    let default = || env::home_dir().unwrap_or_default().join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(default, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_library_is_known_by_its_file() {
        let room = tempfile::tempdir().unwrap();
        let deps = room.path().join("deps");
        assert!(!has_std(&deps), "there is no such folder");
        std::fs::create_dir(&deps).unwrap();
        std::fs::write(deps.join("libcore-12.rlib"), "").unwrap();
        assert!(!has_std(&deps));
        std::fs::write(deps.join("libstd-34.rlib"), "").unwrap();
        assert!(has_std(&deps));
    }
}
