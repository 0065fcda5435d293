//! `cargo xtask …`: every chore of this repository as one command each.

mod arrows;
mod bench;
mod check;
mod demo;
mod faults;
mod fuzz;
mod policies;
mod test;
mod tools;
mod ui;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build everything, start two regions on this machine, send them a sample workload
    Demo {
        /// Flags of `headworks demo`, e.g. --once, --port 9000
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Install what the tests need and run all of them
    Test,
    /// The quick loop: format, clippy with warnings denied, arrows, unit tests
    Check,
    /// Build the shipped policies to WebAssembly components in policies-wasm/dist
    Policies,
    /// Fuzz the loader, the host calls and the configurations, each for a bounded time
    Fuzz {
        /// For each target
        #[arg(long, default_value_t = 30)]
        seconds: u32,
    },
    /// Kill, stop and spoil replicas under load, and see that nothing is lost
    Faults {
        /// Requests in all; the tests' own storm is a short one
        #[arg(long, default_value_t = 10_000)]
        requests: u64,
        /// What happens follows from it
        #[arg(long, default_value_t = 7)]
        seed: u64,
    },
    /// Build the dashboard into web-ui/dist
    Ui,
    /// Measure, print a table and write target/bench/SUBJECT.json
    Bench {
        #[command(subcommand)]
        subject: bench::Subject,
    },
    /// Sample with perf where the time goes, and draw it
    Profile {
        #[command(subcommand)]
        subject: bench::Profiled,
    },
}

fn main() -> ExitCode {
    let root = root();
    let outcome = match Cli::parse().verb {
        Verb::Demo { flags } => demo::run(&root, &flags),
        Verb::Test => test::run(&root),
        Verb::Check => check::run(&root),
        Verb::Policies => policies::build(&root).map(|built| print!("{built}")),
        Verb::Fuzz { seconds } => fuzz::fuzz(&root, seconds),
        Verb::Faults { requests, seed } => faults::run(&root, requests, seed),
        Verb::Ui => ui::build(&root),
        Verb::Bench { subject } => bench::run(&root, &subject),
        Verb::Profile { subject } => bench::profile(&root, &subject),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root, wherever the command is called.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate stands two folders below the root")
        .to_owned()
}
