//! A policy in TypeScript or JavaScript: type-checked, bundled, and put into an engine by componentize-js.

use std::path::Path;

use anyhow::{Context, bail};

use crate::project::Project;
use crate::shell::{ask, program, read, run, step};
use crate::tools::Tools;

/// The oldest Node that the tools run on.
const NODE_MAJOR_MIN: u32 = 20;

/// What npm installs, pinned to the byte.
const PACKAGES: [(&str, &str); 3] = [
    (".npmrc", include_str!("../tools/js/.npmrc")),
    ("package.json", include_str!("../tools/js/package.json")),
    ("package-lock.json", include_str!("../tools/js/package-lock.json")),
];

/// The programs that use it.
const PROGRAMS: [(&str, &str); 3] = [
    ("build.mjs", include_str!("../tools/js/build.mjs")),
    ("lines.mjs", include_str!("../tools/js/lines.mjs")),
    ("unit.mjs", include_str!("../tools/js/unit.mjs")),
];

pub(crate) fn build(project: &Project, out: &Path) -> anyhow::Result<()> {
    let tools = tools()?;
    let interfaces = project.sdk_file("src/component.js")?;
    if project.folder.join("tsconfig.json").exists() {
        step("checking types");
        let tsc = tools.packages.join("node_modules/typescript/bin/tsc");
        let mut node = program(&project.folder, "node");
        ask(node.arg(tsc).args(["--noEmit", "--pretty", "false", "-p", "."]))?;
    }
    step("making the component (with a JavaScript engine in it, 12 MB)");
    let mut node = program(&project.folder, "node");
    node.arg(tools.program("build.mjs")).arg(&project.folder).arg(&project.entry);
    ask(node.arg(interfaces).arg(tools.wit()).arg(out)).map(drop)
}

/// Runs `tests/*.test.ts` (or `.js`, `.mjs`) with Node's own test runner, bundled with the SDK.
pub(crate) fn unit(project: &Project) -> anyhow::Result<()> {
    let tools = tools()?;
    let sdk = project.sdk_file("src/index.js")?;
    let mut node = program(&project.folder, "node");
    run(node.arg(tools.program("unit.mjs")).arg(&project.folder).arg(sdk)).context("run the unit tests")
}

/// Finds the tools, or installs them.
pub(crate) fn tools() -> anyhow::Result<Tools> {
    Tools::kept("js-tools", &PACKAGES, &PROGRAMS, |folder| {
        check_node(folder)?;
        step("installing what builds policies in TypeScript, once (npm, 400 MB)");
        let mut npm = program(folder, "npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).stdout(std::io::stderr());
        run(&mut npm).context("install componentize-js from the npm registry")
    })
}

fn check_node(folder: &Path) -> anyhow::Result<()> {
    let wanted = format!("policies in TypeScript are built with Node {NODE_MAJOR_MIN} or newer and npm");
    let version = read(program(folder, "node").arg("--version")).with_context(|| wanted.clone())?;
    if major_of(&version).is_none_or(|major| major < NODE_MAJOR_MIN) {
        bail!("{wanted}; `node --version` says {}", version.trim());
    }
    read(program(folder, "npm").arg("--version")).map(drop).context(wanted)
}

/// The 20 of `v20.19.2`.
fn major_of(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_major_version_is_read() {
        assert_eq!(["v20.19.2\n", "v9.1.0", "22.0", ""].map(major_of), [Some(20), Some(9), None, None]);
    }
}
