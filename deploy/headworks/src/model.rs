//! `headworks model`: makes models.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use engine_model::{PlainType, Preset, Synth, Synthesised, synth};

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
    #[arg(long, value_enum, default_value_t = PresetName::Tiny)]
    preset: PresetName,
    /// The same seed writes the same bytes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The weights' type
    #[arg(long, value_enum, default_value_t = DTypeName::Bf16)]
    dtype: DTypeName,
    /// Split the weights into files of at most so many MiB, with an index
    #[arg(long, value_name = "MIB")]
    shard_mib: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PresetName {
    /// About 0.2 M parameters: for tests and the demo
    Tiny,
    /// About 14 M parameters
    Small,
    /// About 80 M parameters
    Base,
}

#[derive(Clone, Copy, ValueEnum)]
enum DTypeName {
    F32,
    Bf16,
    F16,
}

pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    let Verb::Synth(args) = verb;
    let wanted = Synth {
        preset: args.preset.preset(),
        seed: args.seed,
        dtype: args.dtype.dtype(),
        shard_bytes_max: args.shard_mib.map(|mib| mib << 20),
        ..Synth::new(&args.out, Preset::Tiny)
    };
    let Synthesised { parameters, vocab, files } = synth(&wanted)?;
    println!("{}: {parameters} parameters, {vocab} tokens, {} files", args.out.display(), files.len());
    Ok(())
}

/// The model that the demo serves.
pub(crate) fn synth_tiny(out: &Path) -> anyhow::Result<()> {
    synth(&Synth::new(out, Preset::Tiny))?;
    Ok(())
}

impl PresetName {
    fn preset(self) -> Preset {
        match self {
            PresetName::Tiny => Preset::Tiny,
            PresetName::Small => Preset::Small,
            PresetName::Base => Preset::Base,
        }
    }
}

impl DTypeName {
    fn dtype(self) -> PlainType {
        match self {
            DTypeName::F32 => PlainType::F32,
            DTypeName::Bf16 => PlainType::Bf16,
            DTypeName::F16 => PlainType::F16,
        }
    }
}
