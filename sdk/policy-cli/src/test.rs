//! `headworks policy test`: plays table tests against a component and says which hold.

mod expect;
mod file;
mod play;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use guest_build::Project;
use policy_api::Policy;
use policy_runtime::Component;
use policy_simulator::{VirtualHost, cached_runtime, virtual_limits};

use crate::input::{self, ConfigArg};
use file::{Test, TestFile};

/// What to test.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Test files, or folders of them: every *.toml directly inside
    #[arg(value_name = "DIR|FILE.toml", default_value = "tests")]
    paths: Vec<PathBuf>,
    /// The component to test
    #[arg(long, value_name = "FILE.wasm", required_unless_present = "unit")]
    policy: Option<PathBuf>,
    /// Run the folder's own unit tests, which need no component: `cargo test` for Rust, tests/*.test.ts with Node's test
    /// runner for TypeScript, tests/test_*.py with unittest for Python. The policy and its SDK are found. With --policy
    /// the tables are played after them
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = ".")]
    unit: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
    /// What the policy's chance follows from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { paths, policy, unit, config, seed } = args;
    if let Some(folder) = unit {
        guest_build::unit(&Project::read(folder)?)?;
    }
    let Some(policy) = policy else { return Ok(()) };
    let files = paths.iter().map(|path| files_of(path)).collect::<anyhow::Result<Vec<_>>>()?.concat();
    let tests = files.iter().map(|path| TestFile::load(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let subject = Subject { component: input::component(policy)?, config: config.json()?, seed: *seed };
    let (mut passed, mut failed) = (0, 0);
    for (path, file) in files.iter().zip(&tests) {
        println!("{}", path.display());
        for test in &file.tests {
            let failure = subject.failure_of(test)?;
            println!("{}", line_of(test, failure.as_deref()));
            *(if failure.is_none() { &mut passed } else { &mut failed }) += 1;
        }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} of {} tests of {} failed", passed + failed, policy.display());
    }
    Ok(())
}

/// The files that a path names, by name.
fn files_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("read the folder {}", path.display()))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .filter(|path: &std::io::Result<PathBuf>| {
            path.as_ref().map_or(true, |path| path.extension().is_some_and(|end| end == "toml"))
        })
        .collect::<std::io::Result<Vec<PathBuf>>>()
        .with_context(|| format!("read the folder {}", path.display()))?;
    files.sort();
    if files.is_empty() {
        bail!("{} has no *.toml; docs/policy-test.md says how a test is written", path.display());
    }
    Ok(files)
}

fn line_of(test: &Test, failure: Option<&str>) -> String {
    let mut line = format!("  {} ... {}", test.name, if failure.is_none() { "ok" } else { "FAILED" });
    for detail in failure.iter().flat_map(|failure| failure.lines()) {
        write!(line, "\n      {detail}").expect("a String takes everything");
    }
    line
}

/// What is tested.
struct Subject {
    component: Vec<u8>,
    config: String,
    seed: u64,
}

impl Subject {
    /// Plays one test on a policy of its own, in a world of its own. An error means that the policy cannot be loaded at
    /// all; a configuration that a test brings and the policy refuses is that test's failure.
    fn failure_of(&self, test: &Test) -> anyhow::Result<Option<String>> {
        let host = Arc::new(VirtualHost::default());
        let loaded = match &test.config {
            None => self.load(&host, &self.config)?,
            Some(config) => {
                match self.load(&host, &serde_json::to_string(config).context("write the configuration")?) {
                    Ok(loaded) => loaded,
                    Err(refusal) => return Ok(Some(format!("{refusal:#}"))),
                }
            }
        };
        let policy: Arc<dyn Policy> = Arc::new(loaded);
        Ok(play::failure_of(test, policy, &host))
    }

    fn load(&self, host: &Arc<VirtualHost>, config: &str) -> anyhow::Result<Component> {
        let runtime = cached_runtime(virtual_limits(), Arc::clone(host) as Arc<_>, self.seed)?;
        Ok(runtime.load(play::SLOT, &self.component, config, None)?)
    }
}
