//! `cargo xtask test`: installs what the tests need, builds what they run, and runs all of them.

use std::path::Path;

use crate::{check, fuzz, policies, tools, ui};
use guest_build::shell::{self, cargo, step};

/// For each fuzz target.
const FUZZ_SECONDS: u32 = 10;

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let tools = tools::install(root)?;
    step("dashboard");
    ui::build(root)?;
    ui::unit_test(root)?;
    step("tools for policies in TypeScript and Python");
    guest_build::install()?;
    step("policies");
    print!("{}", policies::build(root)?);
    check::style(root)?;
    check::guests(root)?;
    step("all tests");
    let mut tests = cargo(root);
    if tools.nextest {
        tests.args(["nextest", "run", "--workspace"]);
    } else {
        tests.args(["test", "--workspace"]);
    }
    tests
        .env("HEADWORKS_TEST_PYTHON", &tools.python)
        .env("HEADWORKS_TEST_CHROMIUM", &tools.chromium)
        .env("HEADWORKS_TEST_REGISTRY", &tools.registry)
        .env("HEADWORKS_TEST_POLICIES", root.join(policies::DIST));
    shell::run(&mut tests)?;
    fuzz::fuzz(root, FUZZ_SECONDS)
}
