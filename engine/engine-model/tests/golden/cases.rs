//! The checkpoints whose outputs were recorded: each exercises one thing more than the plain one.

use std::path::PathBuf;

use engine_model::{Architecture, PlainType, Preset, Synth};
use serde_json::{Value, json};

/// A checkpoint by name.
pub struct Case {
    /// `golden/NAME.json` holds what the reference says of it.
    pub name: &'static str,
    dtype: PlainType,
    architecture: Architecture,
    /// Fields of config.json beside the usual ones.
    fields: fn() -> Value,
    tied_embeddings: bool,
    shard_bytes_max: Option<usize>,
}

impl Case {
    /// How to make it.
    pub fn synth(&self, out: PathBuf) -> Synth {
        let Value::Object(fields) = (self.fields)() else { unreachable!("all cases give an object") };
        Synth {
            dtype: self.dtype,
            architecture: self.architecture,
            fields,
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
    fields: || json!({}),
    tied_embeddings: false,
    shard_bytes_max: None,
};

/// Every head's slow turns are stretched, its fast ones not, and some lie between.
fn llama3() -> Value {
    json!({"rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }})
}

fn yarn() -> Value {
    json!({"rope_scaling": {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 64}})
}

/// Prompts are longer than the first training's context, so all positions use the long factors.
fn phi3() -> Value {
    json!({
        "sliding_window": 40,
        "original_max_position_embeddings": 8,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6],
            "long_factor": [1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0],
        },
    })
}

/// The context never grew, so the short factors are used; and a quarter of each head does not turn.
fn phi3_partial() -> Value {
    json!({
        "sliding_window": null,
        "original_max_position_embeddings": 2048,
        "partial_rotary_factor": 0.75,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0, 1.1, 1.2, 1.4, 1.7, 2.0],
            "long_factor": [1.0, 1.2, 1.5, 2.0, 3.0, 5.0],
        },
    })
}

fn qwen3_moe() -> Value {
    json!({
        "num_hidden_layers": 3, "mlp_only_layers": [1], "decoder_sparse_step": 1,
        "num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 48, "norm_topk_prob": true,
    })
}

fn gemma2() -> Value {
    json!({
        "hidden_act": null, "hidden_activation": "gelu_pytorch_tanh", "num_hidden_layers": 4,
        "sliding_window": 24, "query_pre_attn_scalar": 24,
        "attn_logit_softcapping": 5.0, "final_logit_softcapping": 8.0,
    })
}

fn gemma3() -> Value {
    json!({
        "hidden_act": null, "hidden_activation": "gelu_pytorch_tanh", "num_hidden_layers": 3,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "sliding_window": 24, "query_pre_attn_scalar": 24,
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    })
}

/// All of them have twice as many query heads as key heads.
pub const CASES: [Case; 17] = [
    PLAIN,
    Case { name: "tiny-bf16-sharded", dtype: PlainType::Bf16, shard_bytes_max: Some(100_000), ..PLAIN },
    Case { name: "tiny-f16", dtype: PlainType::F16, ..PLAIN },
    Case { name: "tiny-tied", tied_embeddings: true, ..PLAIN },
    Case { name: "tiny-rope-llama3", fields: llama3, ..PLAIN },
    Case {
        name: "tiny-rope-linear",
        fields: || json!({"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
        ..PLAIN
    },
    Case {
        name: "tiny-rope-dynamic",
        fields: || json!({"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}),
        ..PLAIN
    },
    Case { name: "tiny-rope-yarn", fields: yarn, ..PLAIN },
    Case {
        name: "tiny-mistral",
        architecture: Architecture::Mistral,
        fields: || json!({"sliding_window": 24}),
        ..PLAIN
    },
    Case { name: "tiny-qwen2", architecture: Architecture::Qwen2, dtype: PlainType::Bf16, ..PLAIN },
    Case {
        name: "tiny-qwen2-window",
        architecture: Architecture::Qwen2,
        fields: || json!({"use_sliding_window": true, "sliding_window": 16, "max_window_layers": 1}),
        ..PLAIN
    },
    Case { name: "tiny-qwen3", architecture: Architecture::Qwen3, fields: || json!({"head_dim": 32}), ..PLAIN },
    Case { name: "tiny-qwen3-moe", architecture: Architecture::Qwen3Moe, fields: qwen3_moe, ..PLAIN },
    Case { name: "tiny-gemma2", architecture: Architecture::Gemma2, fields: gemma2, ..PLAIN },
    Case { name: "tiny-gemma3", architecture: Architecture::Gemma3, fields: gemma3, ..PLAIN },
    Case { name: "tiny-phi3", architecture: Architecture::Phi3, fields: phi3, ..PLAIN },
    Case { name: "tiny-phi3-partial", architecture: Architecture::Phi3, fields: phi3_partial, ..PLAIN },
];
