//! The verbs of `headworks policy`: what an author does with a policy before, and an operator after, it runs.

mod check;
mod input;

use clap::Subcommand;

/// One verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Load a component as the proxy would: say who it is and what it needs, or why it is refused
    Check(check::Args),
}

/// Does what the verb says. What it prints goes to stdout; why it could not is the error.
pub fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Check(args) => check::run(&args),
    }
}

#[cfg(test)]
mod tests;
