//! The verbs of `headworks policy`: what an author does with a policy before, and an operator after, it runs.

mod bench;
mod build;
mod check;
mod new;
mod simulate;
mod test;

mod push;
mod sign;
mod slots;

mod decisions;
mod explain;
mod record;
mod replay;

mod admin;
mod input;
mod shown;

use clap::Subcommand;

/// One verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a folder with a policy that builds at once
    New(new::Args),
    /// Build a policy's folder to a component
    Build(build::Args),
    /// Load a component as the proxy would: say who it is and what it needs, or why it is refused
    Check(check::Args),
    /// Play table tests against a component
    Test(test::Args),
    /// Measure what a component's decisions cost
    Bench(bench::Args),
    /// Play a scenario with policies side by side, in simulated time
    Simulate(simulate::Args),
    /// Hand a component to a running proxy, to a registry, or to the one through the other
    Push(push::Args),
    /// List a proxy's slots and their versions
    List(slots::List),
    /// Make a kept version of a slot active again
    Activate(slots::Activate),
    /// Make a slot's canary its active version
    Promote(slots::Change),
    /// Drop a slot's canary; without one, go back to the version before
    Rollback(slots::Change),
    /// Show a slot's configuration and its schema, or set it
    Config(slots::Config),
    /// Make a key to sign components with
    Keygen(sign::Keygen),
    /// Sign a component
    Sign(sign::Sign),
    /// List a proxy's last decisions
    Decisions(decisions::Args),
    /// Begin, end or fetch a recording of what a proxy's policies see and answer
    Record(record::Args),
    /// Make recorded decisions again: the same policy must decide the same, another may be compared
    Replay(replay::Args),
    /// Show what the policies saw and were told when they decided about one request
    Explain(explain::Args),
}

/// Does what the verb says. What it prints goes to stdout; why it could not is the error.
pub fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::New(args) => new::run(args),
        Verb::Build(args) => build::run(args),
        Verb::Check(args) => check::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Push(args) => push::run(&args),
        Verb::List(args) => slots::list(&args),
        Verb::Activate(args) => slots::activate(&args),
        Verb::Promote(args) => slots::promote(&args),
        Verb::Rollback(args) => slots::roll_back(&args),
        Verb::Config(args) => slots::config(&args),
        Verb::Keygen(args) => sign::keygen(&args),
        Verb::Sign(args) => sign::sign(&args),
        Verb::Decisions(args) => decisions::run(&args),
        Verb::Record(args) => record::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Explain(args) => explain::run(&args),
    }
}

#[cfg(test)]
mod tests;
