//! `cargo xtask demo`: builds everything, then runs `headworks demo`.

use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::Context;

use crate::{policies, ui};
use guest_build::shell::{self, cargo, program, step};

pub(crate) fn run(root: &Path, flags: &[String]) -> anyhow::Result<()> {
    step("dashboard (1 of 3)");
    ui::build(root)?;
    step("policies (2 of 3)");
    eprint!("{}", policies::build(root)?);
    step("headworks (3 of 3); the first build takes some minutes");
    shell::run(cargo(root).args(["build", "--release", "--package", "headworks"]))?;
    step("demo");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    // exec, so that Ctrl-C and the exit code are the demo's own.
    let error = program(root, target.join("release/headworks"))
        .arg("demo")
        .arg("--policies")
        .arg(root.join(policies::DIST))
        .args(flags)
        .exec();
    Err(error).context("start headworks demo")
}
