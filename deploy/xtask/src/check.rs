//! `cargo xtask check`: the quick loop. Format, clippy, arrows, unit tests; no browser, no network.

use std::path::Path;

use crate::arrows;
use guest_build::shell::{self, cargo, is_there, program, read, step};

/// Workspaces of their own: guest code, which is linted and tested on the host too.
const GUESTS: [&str; 2] = ["sdk/rust/Cargo.toml", "policies-wasm/builtin/Cargo.toml"];

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
    for guests in GUESTS {
        shell::run(cargo(root).args(["fmt", "--all", "--check", "--manifest-path", guests]))?;
    }
    step("arrows");
    arrows::check(root)?;
    step("clippy");
    let lint = ["clippy", "--workspace", "--all-targets", "--quiet"];
    let deny = ["--", "-D", "warnings"];
    shell::run(cargo(root).args(lint).args(deny))?;
    for guests in GUESTS {
        shell::run(cargo(root).args(lint).args(["--manifest-path", guests]).args(deny))?;
    }
    if is_there("cargo-deny", "--version") {
        step("cargo deny");
        shell::run(cargo(root).args(["deny", "check"]))?;
    }
    Ok(())
}

/// The SDKs and the policies' deciding code, on the host.
pub(crate) fn guests(root: &Path) -> anyhow::Result<()> {
    step("tests of the SDKs and the policies");
    for guests in GUESTS {
        shell::run(cargo(root).args(["test", "--quiet", "--workspace", "--manifest-path", guests]))?;
    }
    shell::run(program(&root.join("sdk/js"), "node").args(["--test", "--test-reporter=dot"]))?;
    shell::run(
        program(&root.join("sdk/python"), "python3").args(["-m", "unittest", "discover", "--quiet", "-s", "tests"]),
    )
}
