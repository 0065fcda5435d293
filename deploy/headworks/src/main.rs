//! The executable: verbs over the libraries.

mod bench;
mod demo;
mod engine;
mod handover;
mod inherited;
mod key;
mod logs;
mod model;
mod notify;
mod proxy;
mod ready;
mod stop;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Requests allocate and free small things all the time, on threads that hardly share them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A programmable gateway and native engine for LLM inference.
#[derive(Parser)]
#[command(name = "headworks", version, about, long_about = None, disable_help_subcommand = true)]
struct Cli {
    /// How log lines look on stderr. RUST_LOG chooses which ones there are.
    #[arg(long, global = true, value_enum, default_value_t = logs::Format::Text)]
    log_format: logs::Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start two regions on this machine, send them a sample workload, and show how it went
    Demo(demo::Args),
    /// Run the gateway
    Proxy(proxy::Args),
    /// Run an inference replica
    Engine(engine::Args),
    /// Make keys for tenants and for the admin port
    #[command(subcommand)]
    Key(key::Verb),
    /// Make models
    #[command(subcommand)]
    Model(model::Verb),
    /// Measure a live endpoint, or a model on this machine
    #[command(subcommand)]
    Bench(bench::Verb),
    /// Check, test, measure and simulate routing policies
    #[command(subcommand)]
    Policy(policy_cli::Verb),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    logs::start(cli.log_format);
    let outcome = match cli.verb {
        Verb::Demo(args) => demo::run(args),
        Verb::Proxy(args) => proxy::run(args),
        Verb::Engine(args) => engine::run(args),
        Verb::Key(verb) => key::run(verb),
        Verb::Model(verb) => model::run(verb),
        Verb::Bench(verb) => bench::run(verb),
        Verb::Policy(verb) => policy_cli::run(verb),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headworks: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes on one line; a cause that the error's own text already has is not said twice.
fn sentence(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// The one async runtime of a verb that serves or drives.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context;
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the async runtime")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Cli, sentence};

    #[test]
    fn a_cause_is_said_once() {
        let said = anyhow::anyhow!("disk full").context("write x: disk full").context("make the model");
        assert_eq!(sentence(&said), "make the model: write x: disk full");
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
