//! The verbs of `headworks policy`: what an author does with a policy before, and an operator after, it runs.

mod bench;
mod check;
mod input;
mod simulate;
mod test;

use clap::Subcommand;

/// One verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Load a component as the proxy would: say who it is and what it needs, or why it is refused
    Check(check::Args),
    /// Play table tests against a component
    Test(test::Args),
    /// Measure what a component's decisions cost
    Bench(bench::Args),
    /// Play a scenario with policies side by side, in simulated time
    Simulate(simulate::Args),
}

/// Does what the verb says. What it prints goes to stdout; why it could not is the error.
pub fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Check(args) => check::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
    }
}

#[cfg(test)]
mod tests;
