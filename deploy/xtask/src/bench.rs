//! `cargo xtask bench SUBJECT`: builds what is measured, optimised, and measures it.

mod engine;

use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::Context;
use clap::Subcommand;
use guest_build::shell::{self, cargo, program, step};

use crate::policies;

/// What can be measured.
#[derive(Subcommand)]
pub(crate) enum Subject {
    /// Decisions of the shipped policies beside native Rust, loads, memory
    Policy,
    /// Reading of a request what the proxy goes by, beside serde_json
    Reader,
    /// What requests take while policies are swapped under them
    Swap,
    /// The proxy beside nginx, haproxy, Envoy and the LLM routers; --help tells of its flags
    #[command(disable_help_flag = true)]
    Proxy {
        /// E.g. --only small,large --peers nginx,sglang-router --rounds 5 --seconds 4
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// The engine beside llama.cpp, on the same weights
    Engine(engine::Args),
}

/// What can be sampled.
#[derive(Subcommand)]
pub(crate) enum Profiled {
    /// The proxy, or one of its peers, in a case of `bench proxy`; --help tells of the flags
    #[command(disable_help_flag = true)]
    Proxy {
        /// E.g. --case large --seconds 10
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
}

/// Measures one subject.
pub(crate) fn run(root: &Path, subject: &Subject) -> anyhow::Result<()> {
    match subject {
        Subject::Policy => policy(root),
        Subject::Reader => reader(root),
        Subject::Swap => swap(root),
        Subject::Proxy { flags } => proxy(root, flags),
        Subject::Engine(args) => engine::run(root, args),
    }
}

fn policy(root: &Path) -> anyhow::Result<()> {
    eprint!("{}", policies::build(root)?);
    step("building the benchmark; the first time that takes minutes");
    let rows = root.join("target/bench/policy.json");
    let mut bench = cargo(root);
    bench.args(["bench", "--quiet", "--workspace", "--bench", "policy"]);
    bench.env("HEADWORKS_TEST_POLICIES", root.join(policies::DIST)).env("HEADWORKS_BENCH_JSON", &rows);
    shell::run(&mut bench)?;
    step(&format!("the rows are in {}", rows.display()));
    Ok(())
}

fn reader(root: &Path) -> anyhow::Result<()> {
    step("building the benchmark; the first time that takes minutes");
    shell::run(cargo(root).args(["bench", "--quiet", "--workspace", "--bench", "reader"]))
}

fn swap(root: &Path) -> anyhow::Result<()> {
    step("building the benchmark; the first time that takes minutes");
    let mut bench = cargo(root);
    bench.args(["bench", "--quiet", "--workspace", "--bench", "swap"]);
    shell::run(&mut bench)?;
    step(&format!("the report is in {}", root.join("target/bench/swap.json").display()));
    Ok(())
}

/// The Cargo profile of what is shipped.
const SHIPPED: &str = "dist";

/// Raises the bound of open files as far as it goes, for itself and all it starts.
const WITH_FILES: &str = r#"ulimit -n "$(ulimit -H -n)"; exec "$0" "$@""#;

fn proxy(root: &Path, flags: &[String]) -> anyhow::Result<()> {
    if !asks_for_help(flags) {
        eprint!("{}", policies::build(root)?);
        step("building headworks; the first time that takes minutes");
        shell::run(cargo(root).args(["build", "--profile", SHIPPED, "--package", "headworks"]))?;
    }
    bench_proxy(root, SHIPPED, &[], flags)
}

/// Samples one subject.
pub(crate) fn profile(root: &Path, subject: &Profiled) -> anyhow::Result<()> {
    let Profiled::Proxy { flags } = subject;
    if !asks_for_help(flags) {
        eprint!("{}", policies::build(root)?);
        step("building headworks with its names; the first time that takes minutes");
        let mut build = cargo(root);
        build.args(["build", "--profile", "profiling", "--package", "headworks"]);
        // Stacks are walked by frame pointers: everything else costs more than what it looks at.
        shell::run(build.env("RUSTFLAGS", "-C force-frame-pointers=yes"))?;
    }
    bench_proxy(root, "profiling", &["profile"], flags)
}

fn asks_for_help(flags: &[String]) -> bool {
    flags.iter().any(|flag| flag == "--help" || flag == "-h")
}

/// Builds and runs the benchmark over the executable of a profile.
fn bench_proxy(root: &Path, profile: &str, verb: &[&str], flags: &[String]) -> anyhow::Result<()> {
    shell::run(cargo(root).args(["build", "--profile", SHIPPED, "--package", "bench-proxy"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    // exec, so that Ctrl-C and the exit code are the benchmark's own.
    let error = program(root, "sh")
        .args(["-c", WITH_FILES])
        .arg(target.join(SHIPPED).join("bench-proxy"))
        .args(verb)
        .args(flags)
        .env("HEADWORKS_BENCH_PROGRAM", target.join(profile).join("headworks"))
        .exec();
    Err(error).context("start the benchmark")
}
