//! The verbs of `headworks policy`: what an author does with a policy before, and an operator after, it runs.

mod build;
mod check;
mod input;
mod new;

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
}

/// Does what the verb says. What it prints goes to stdout; why it could not is the error.
pub fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::New(args) => new::run(args),
        Verb::Build(args) => build::run(args),
        Verb::Check(args) => check::run(&args),
    }
}

#[cfg(test)]
mod tests;
