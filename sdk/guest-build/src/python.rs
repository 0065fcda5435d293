//! A policy in Python: its module and the interpreter, put together by componentize-py.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::project::Project;
use crate::shell::{ask, is_there, program, run, step};
use crate::{cache, contract};

/// What pip installs, pinned, and the program that uses it.
const TOOLS: [(&str, &str); 2] = [
    ("requirements.txt", include_str!("../tools/python/requirements.txt")),
    ("build.py", include_str!("../tools/python/build.py")),
];

pub(crate) fn build(project: &Project, out: &Path) -> anyhow::Result<()> {
    let tools = tools()?;
    project.sdk_file("headworks_policy/component.py")?;
    step("making the component (with a Python interpreter in it, 18 MB)");
    let mut python = program(&project.folder, interpreter(&tools));
    python.arg(tools.join("build.py")).arg(&project.folder).arg(&project.entry);
    ask(python.arg(&project.sdk).arg(tools.join("wit")).arg(out)).map(drop)
}

/// The folder with the tools, filled when it is not there yet.
pub(crate) fn tools() -> anyhow::Result<PathBuf> {
    cache::kept("python-tools", &[&TOOLS[..], &contract::WIT[..]].concat(), |folder| {
        if !is_there("python3", "--version") {
            bail!("python3 is not installed; policies in Python are built with Python 3.10 or newer");
        }
        step("installing what builds policies in Python, once (pip, 70 MB)");
        contract::write(&folder.join("wit"))?;
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
