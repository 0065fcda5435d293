//! The checkpoints whose outputs were recorded: each exercises one thing more than the plain one.

use std::path::PathBuf;

use engine_model::{Architecture, PlainType, Preset, RopeScaling, Synth};

/// A checkpoint by name.
pub struct Case {
    /// `golden/NAME.json` holds what the reference says of it.
    pub name: &'static str,
    dtype: PlainType,
    architecture: Architecture,
    rope_scaling: RopeScaling,
    tied_embeddings: bool,
    shard_bytes_max: Option<usize>,
}

impl Case {
    /// How to make it.
    pub fn synth(&self, out: PathBuf) -> Synth {
        Synth {
            dtype: self.dtype,
            architecture: self.architecture,
            rope_scaling: self.rope_scaling,
            tied_embeddings: self.tied_embeddings,
            shard_bytes_max: self.shard_bytes_max,
            seed: 11,
            ..Synth::new(out, Preset::Tiny)
        }
    }
}

const PLAIN: Case = Case {
    name: "tiny-f32",
    dtype: PlainType::F32,
    architecture: Architecture::Llama,
    rope_scaling: RopeScaling::None,
    tied_embeddings: false,
    shard_bytes_max: None,
};

/// Every head's slow turns are stretched, its fast ones not, and some lie between.
const LLAMA3: RopeScaling =
    RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context_tokens: 64 };

/// All of them have twice as many query heads as key heads.
pub const CASES: [Case; 7] = [
    PLAIN,
    Case { name: "tiny-bf16-sharded", dtype: PlainType::Bf16, shard_bytes_max: Some(100_000), ..PLAIN },
    Case { name: "tiny-f16", dtype: PlainType::F16, ..PLAIN },
    Case { name: "tiny-rope-llama3", rope_scaling: LLAMA3, ..PLAIN },
    Case { name: "tiny-rope-linear", rope_scaling: RopeScaling::Linear { factor: 4.0 }, ..PLAIN },
    Case { name: "tiny-qwen2", architecture: Architecture::Qwen2, dtype: PlainType::Bf16, ..PLAIN },
    Case { name: "tiny-tied", tied_embeddings: true, ..PLAIN },
];
