//! `cargo xtask check`: the quick loop. Format, clippy, arrows, unit tests; no browser, no network.

use std::path::Path;

use crate::arrows;
use crate::shell::{self, cargo, is_there, read, step};

/// Where guest crates live: a workspace of their own, unit-tested on the host.
const GUESTS: &str = "policies-wasm/builtin/Cargo.toml";

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    style(root)?;
    step("unit tests");
    let nextest = read(cargo(root).args(["nextest", "--version"])).is_ok();
    if nextest {
        shell::run(cargo(root).args(["nextest", "run", "--workspace", "-E", "not binary(e2e)"]))?;
    } else {
        shell::run(cargo(root).args(["test", "--workspace", "--lib", "--bins"]))?;
    }
    guests(root)
}

/// What needs no test to run: format, lints, arrows.
pub(crate) fn style(root: &Path) -> anyhow::Result<()> {
    step("format");
    shell::run(cargo(root).args(["fmt", "--all", "--check"]))?;
    shell::run(cargo(root).args(["fmt", "--all", "--check", "--manifest-path", GUESTS]))?;
    step("arrows");
    arrows::check(root)?;
    step("clippy");
    shell::run(cargo(root).args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    if is_there("cargo-deny", "--version") {
        step("cargo deny");
        shell::run(cargo(root).args(["deny", "check"]))?;
    }
    Ok(())
}

/// The policies' deciding code, on the host.
pub(crate) fn guests(root: &Path) -> anyhow::Result<()> {
    step("policies' unit tests");
    shell::run(cargo(root).args(["test", "--quiet", "--manifest-path", GUESTS, "--workspace"]))
}
