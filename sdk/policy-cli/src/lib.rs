//! The verbs of `headworks policy`: what an author does with a policy before, and an operator after, it runs.

mod check;
mod explain;
mod input;
mod replay;

use clap::Subcommand;

/// One verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Load a component as the proxy would: say who it is and what it needs, or why it is refused
    Check(check::Args),
    /// Make recorded decisions again: the same policy must decide the same, another may be compared
    Replay(replay::Args),
    /// Show what the policies saw and were told when they decided about one request
    Explain(explain::Args),
}

/// Does what the verb says. What it prints goes to stdout; why it could not is the error.
pub fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Check(args) => check::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Explain(args) => explain::run(&args),
    }
}

#[cfg(test)]
mod tests;
