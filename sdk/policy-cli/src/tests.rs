//! The command line of `headworks policy`, as its `--help` shows it.

use clap::{Command, Subcommand};

use crate::Verb;

fn policy() -> Command {
    Verb::augment_subcommands(Command::new("policy")).bin_name("headworks policy").disable_help_subcommand(true)
}

#[test]
fn every_verb_explains_itself() {
    let mut policy = policy();
    policy.build();
    for verb in policy.get_subcommands_mut() {
        let name = format!("help_{}", verb.get_name());
        insta::assert_snapshot!(name, verb.render_long_help().to_string());
    }
}

#[test]
fn the_command_line_is_sound() {
    policy().debug_assert();
}
