//! Describes a GGUF file's model in config.json's terms, so that an architecture is described once for both.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::file::Gguf;
use super::value::Value;
use crate::config::Fields;
use crate::{Architecture, LoadError, ModelConfig, RopeScaling};

/// config.json's fields and the keys they are under, after the architecture's name and a dot.
const FIELDS: [(&str, &str); 18] = [
    ("hidden_size", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("num_hidden_layers", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("head_dim", "attention.key_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("rope_theta", "rope.freq_base"),
    ("max_position_embeddings", "context_length"),
    ("original_max_position_embeddings", "rope.scaling.original_context_length"),
    ("sliding_window", "attention.sliding_window"),
    ("sliding_window_pattern", "attention.sliding_window_pattern"),
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("final_logit_softcapping", "final_logit_softcapping"),
    ("num_experts", "expert_count"),
    ("num_experts_per_tok", "expert_used_count"),
    ("moe_intermediate_size", "expert_feed_forward_length"),
    ("vocab_size", "vocab_size"),
];

impl Gguf {
    /// Describes the file's model.
    pub fn config(&self) -> Result<ModelConfig, LoadError> {
        config(self)
    }
}

fn config(file: &Gguf) -> Result<ModelConfig, LoadError> {
    let key = "general.architecture";
    let found = file
        .value(key)
        .and_then(Value::text)
        .ok_or_else(|| LoadError::FieldMissing { path: file.path().to_owned(), field: key.to_owned() })?;
    let architecture = Architecture::of_gguf(found).ok_or_else(|| LoadError::ArchitectureUnsupported {
        path: file.path().to_owned(),
        found: found.to_owned(),
        supported: Architecture::gguf_names(),
    })?;
    let mut spellings = HashMap::new();
    let mut map = Map::new();
    for (field, key) in FIELDS {
        let key = format!("{found}.{key}");
        if let Some(value) = file.value(&key) {
            map.insert(field.to_owned(), value.json());
        }
        spellings.insert(field, key);
    }
    add_what_is_elsewhere(file, architecture, found, &mut map);
    let mut config = ModelConfig::of(&Fields::of(file.path(), map, spellings))?;
    // Converters add it to the factors.
    config.norm_offset = 0.0;
    stretch(file, found, &mut config)?;
    Ok(config)
}

/// What GGUF says in other words, or leaves to whoever knows the architecture.
fn add_what_is_elsewhere(file: &Gguf, architecture: Architecture, prefix: &str, map: &mut Map<String, Json>) {
    let mut set = |field: &str, value: Json| _ = map.insert(field.to_owned(), value);
    set("architectures", json!([architecture.name()]));
    // The embedding has a row for each token; `vocab_size` is often absent, and sometimes wrong.
    if let Some(entry) = file.entry("token_embd.weight") {
        set("vocab_size", json!(entry.shape[0]));
    }
    set("tie_word_embeddings", json!(file.entry("output.weight").is_none()));
    for (field, key) in [("bos_token_id", "bos_token_id"), ("eos_token_id", "eos_token_id")] {
        if let Some(id) = file.value(&format!("tokenizer.ggml.{key}")) {
            set(field, id.json());
        }
    }
    let number = |key: &str| file.value(&format!("{prefix}.{key}")).and_then(Value::unsigned);
    if let (Some(turned), Some(dim)) = (number("rope.dimension_count"), number("attention.key_length"))
        && turned < dim
    {
        set("partial_rotary_factor", json!(turned as f64 / dim as f64));
    }
    match architecture {
        // As llama.cpp: the file does not say.
        Architecture::Qwen3Moe => set("norm_topk_prob", json!(true)),
        // The largest Gemmas scale by the width of a head's share of the stream, the others by a head's own.
        Architecture::Gemma2 | Architecture::Gemma3 => {
            let largest = if architecture == Architecture::Gemma2 { 46 } else { 62 };
            let share = number("embedding_length").zip(number("attention.head_count").filter(|count| *count > 0));
            if let (Some(layers), Some((hidden, heads))) = (number("block_count"), share)
                && layers == largest
            {
                set("query_pre_attn_scalar", json!(hidden / heads));
            }
        }
        Architecture::Qwen2 | Architecture::Qwen3 => set("use_sliding_window", json!(false)),
        Architecture::Llama | Architecture::Mistral | Architecture::Phi3 => {}
    }
    if let Some(scaling) = rope_scaling(file, prefix) {
        set("rope_scaling", scaling);
    }
}

/// Linear and YaRN are in the metadata; stretches that were computed already are in tensors.
fn rope_scaling(file: &Gguf, prefix: &str) -> Option<Json> {
    let value = |key: &str| file.value(&format!("{prefix}.rope.scaling.{key}"));
    let kind = value("type")?.text()?;
    if !matches!(kind, "linear" | "yarn") {
        return None;
    }
    let mut scaling = json!({ "rope_type": kind, "factor": value("factor").map(Value::json) });
    for (field, key) in [
        ("original_max_position_embeddings", "original_context_length"),
        ("beta_fast", "yarn_beta_fast"),
        ("beta_slow", "yarn_beta_slow"),
    ] {
        if let Some(found) = value(key) {
            scaling[field] = found.json();
        }
    }
    Some(scaling)
}

/// Llama 3.1's stretch is a tensor of divisors, LongRoPE's are two.
fn stretch(file: &Gguf, prefix: &str, config: &mut ModelConfig) -> Result<(), LoadError> {
    let pairs = config.ropes[0].columns / 2;
    let divisors = |name: &str| {
        let Some(entry) = file.entry(name) else {
            return Ok(None);
        };
        let part = engine_backend::SourcePart { dtype: entry.dtype, bytes: file.bytes(entry) };
        let divisors: Vec<f64> = part.read_f32().map(f64::from).collect();
        match divisors.len() == pairs && divisors.iter().all(|divisor| *divisor > 0.0) {
            true => Ok(Some(divisors)),
            false => Err(file.bad(format!("tensor {name} is not {pairs} positive numbers"))),
        }
    };
    if let Some(divisors) = divisors("rope_freqs.weight")? {
        config.ropes[0].scaling = RopeScaling::Divisors(divisors);
    }
    if let (Some(short), Some(long)) = (divisors("rope_factors_short.weight")?, divisors("rope_factors_long.weight")?) {
        let value = |key: &str| file.value(&format!("{prefix}.rope.scaling.{key}"));
        let original = value("original_context_length").and_then(Value::unsigned);
        let original = original.and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(config.context_tokens_max);
        let magnitude = value("attn_factor").and_then(Value::float).unwrap_or(1.0);
        let scaling = RopeScaling::LongRope { short, long, original_context_tokens: original, magnitude };
        config.ropes[0].scaling = scaling;
    }
    Ok(())
}
