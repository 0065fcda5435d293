//! A policy in Python: its module and the interpreter, put together by componentize-py.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::project::Project;
use crate::shell::{ask, is_there, program, run, step};
use crate::tools::Tools;

/// What pip installs, pinned.
const PACKAGES: [(&str, &str); 1] = [("requirements.txt", include_str!("../tools/python/requirements.txt"))];

/// The program that uses it.
const PROGRAMS: [(&str, &str); 1] = [("build.py", include_str!("../tools/python/build.py"))];

pub(crate) fn build(project: &Project, out: &Path) -> anyhow::Result<()> {
    let tools = tools()?;
    project.sdk_file("headworks_policy/component.py")?;
    step("making the component (with a Python interpreter in it, 18 MB)");
    let mut python = program(&project.folder, interpreter(&tools.packages));
    python.arg(tools.program("build.py")).arg(&project.folder).arg(&project.entry);
    ask(python.arg(&project.sdk).arg(tools.wit()).arg(out)).map(drop)
}

/// Runs `tests/test_*.py` with Python's own unittest; the policy's module and the SDK are found.
pub(crate) fn unit(project: &Project) -> anyhow::Result<()> {
    project.sdk_file("headworks_policy/policy.py")?;
    let found = env::join_paths([&project.folder, &project.sdk]).context("a folder's name has a colon in it")?;
    let mut python = program(&project.folder, "python3");
    python.args(["-m", "unittest", "discover", "-s", "tests", "-p", "test_*.py"]);
    python.env("PYTHONPATH", found).env("PYTHONDONTWRITEBYTECODE", "1");
    run(&mut python).context("run the unit tests")
}

/// Finds the tools, or installs them.
pub(crate) fn tools() -> anyhow::Result<Tools> {
    Tools::kept("python-tools", &PACKAGES, &PROGRAMS, |folder| {
        if !is_there("python3", "--version") {
            bail!("python3 is not installed; policies in Python are built with Python 3.10 or newer");
        }
        step("installing what builds policies in Python, once (pip, 70 MB)");
        run(program(folder, "python3").args(["-m", "venv", "venv"]).stdout(std::io::stderr()))
            .context("make a venv; on Debian that needs the package python3-venv")?;
        let mut pip = program(folder, interpreter(folder));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]);
        run(pip.stdout(std::io::stderr())).context("install componentize-py from PyPI")
    })
}

fn interpreter(tools: &Path) -> PathBuf {
    tools.join("venv/bin/python")
}
