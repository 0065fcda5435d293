//! `headworks model`: makes models.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use engine_model::synth::{self, Synth};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Write a checkpoint with seeded random weights and a real tokenizer, in Hugging Face layout
    Synth(SynthArgs),
}

#[derive(clap::Args)]
pub(crate) struct SynthArgs {
    /// The folder to write; made when absent
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How big
    #[arg(long, value_enum, default_value_t = Preset::Tiny)]
    preset: Preset,
    /// The same seed writes the same bytes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The weights' type
    #[arg(long, value_enum, default_value_t = Dtype::Bf16)]
    dtype: Dtype,
}

#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    /// Under a million parameters: for tests and the demo
    Tiny,
    /// Tens of millions of parameters
    Small,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
    F16,
}

pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    let Verb::Synth(args) = verb;
    todo_write(&args)
}
