//! Installs what the tests need: a browser and a registry from Debian, Python packages in a venv, a test runner.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use guest_build::shell::{cargo, is_there, program, read, run, step};

/// Where the tests find what was installed.
pub(crate) struct Tools {
    /// A Python with the `openai` package and the `rotel` collector.
    pub(crate) python: PathBuf,
    /// Chromium.
    pub(crate) chromium: PathBuf,
    /// An OCI registry.
    pub(crate) registry: PathBuf,
    /// `cargo nextest` is there; otherwise plain `cargo test` runs the tests.
    pub(crate) nextest: bool,
}

/// The Python packages, pinned.
const REQUIREMENTS: &str = "deploy/headworks/tests/e2e/requirements.txt";
const CHROMIUM: &str = "/usr/bin/chromium";
const REGISTRY: &str = "/usr/bin/docker-registry";

/// Installs what is not there yet.
pub(crate) fn install(root: &Path) -> anyhow::Result<Tools> {
    let nextest = read(cargo(root).args(["nextest", "--version"])).is_ok();
    if !nextest {
        step("cargo-nextest is not installed: plain `cargo test` runs the tests");
    }
    Ok(Tools { python: python(root)?, chromium: chromium(root)?, registry: registry(root)?, nextest })
}

fn python(root: &Path) -> anyhow::Result<PathBuf> {
    let venv = root.join("target/test-venv");
    let python = venv.join("bin/python");
    let wanted = std::fs::read_to_string(root.join(REQUIREMENTS)).context("read the Python requirements")?;
    let installed = venv.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|had| had == wanted) {
        return Ok(python);
    }
    if !is_there("python3", "--version") {
        bail!("python3 is not installed; the client and collector tests need Python 3.9 or newer");
    }
    step("installing Python packages for the tests");
    std::fs::create_dir_all(&venv).context("make the venv's folder")?;
    let make = || run(program(root, "python3").args(["-m", "venv", "--clear"]).arg(&venv));
    // Debian keeps the module venv in a package of its own.
    make().or_else(|_| apt_install(root, "python3-venv").and_then(|()| make()))?;
    run(program(root, &python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        REQUIREMENTS,
    ]))?;
    std::fs::write(&installed, wanted).context("note what was installed")?;
    Ok(python)
}

fn chromium(root: &Path) -> anyhow::Result<PathBuf> {
    if !Path::new(CHROMIUM).exists() {
        step("installing Chromium for the dashboard's test");
        apt_install(root, "chromium")?;
    }
    Ok(CHROMIUM.into())
}

fn registry(root: &Path) -> anyhow::Result<PathBuf> {
    if !Path::new(REGISTRY).exists() {
        step("installing an OCI registry for the tests that push and pull");
        apt_install(root, "docker-registry")?;
    }
    Ok(REGISTRY.into())
}

/// The C++ compiler, which libFuzzer is built with.
pub(crate) fn cpp(root: &Path) -> anyhow::Result<()> {
    match program(root, "c++").arg("--version").output() {
        Ok(answer) if answer.status.success() => Ok(()),
        _ => {
            step("installing a C++ compiler for the fuzz targets");
            apt_install(root, "g++")
        }
    }
}

fn apt_install(root: &Path, package: &str) -> anyhow::Result<()> {
    let apt = |words: &[&str]| {
        let mut apt = program(root, "apt-get");
        run(apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq").args(words).stdout(std::io::stderr()))
    };
    apt(&["update"])
        .and_then(|()| apt(&["-y", "--no-install-recommends", "install", package]))
        .with_context(|| format!("install the Debian package {package}, as root or by hand; the tests need it"))
}
