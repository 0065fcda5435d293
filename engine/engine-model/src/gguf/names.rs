//! What GGUF calls the tensors that Hugging Face's checkpoints have.

use crate::{Architecture, Norms};

/// A tensor of a GGUF file, or one expert's part of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    /// Which of the tensor's outermost parts.
    pub(super) expert: Option<usize>,
}

/// From `model.layers.3.self_attn.q_proj.weight` to `blk.3.attn_q.weight`; none for what no GGUF file has.
pub(super) fn place(name: &str, norms: Norms) -> Option<Place> {
    let whole = |name: String| Some(Place { name, expert: None });
    let Some(rest) = name.strip_prefix("model.layers.") else {
        let name = match name {
            "model.embed_tokens.weight" => "token_embd.weight",
            "model.norm.weight" => "output_norm.weight",
            "lm_head.weight" => "output.weight",
            _ => return None,
        };
        return whole(name.to_owned());
    };
    let (layer, part) = rest.split_once('.')?;
    let (part, suffix) = part.rsplit_once('.')?;
    if let Some(part) = part.strip_prefix("mlp.experts.") {
        let (expert, part) = part.split_once('.')?;
        let part = match part {
            "gate_proj" => "ffn_gate_exps",
            "up_proj" => "ffn_up_exps",
            "down_proj" => "ffn_down_exps",
            _ => return None,
        };
        return Some(Place { name: format!("blk.{layer}.{part}.{suffix}"), expert: Some(expert.parse().ok()?) });
    }
    let part = match (part, norms) {
        ("input_layernorm", _) => "attn_norm",
        ("self_attn.q_proj", _) => "attn_q",
        ("self_attn.k_proj", _) => "attn_k",
        ("self_attn.v_proj", _) => "attn_v",
        ("self_attn.qkv_proj", _) => "attn_qkv",
        ("self_attn.o_proj", _) => "attn_output",
        ("self_attn.q_norm", _) => "attn_q_norm",
        ("self_attn.k_norm", _) => "attn_k_norm",
        ("post_attention_layernorm", Norms::Before) | ("pre_feedforward_layernorm", _) => "ffn_norm",
        ("post_attention_layernorm", Norms::BeforeAndAfter) => "post_attention_norm",
        ("post_feedforward_layernorm", _) => "post_ffw_norm",
        ("mlp.gate_proj", _) => "ffn_gate",
        ("mlp.up_proj" | "mlp.gate_up_proj", _) => "ffn_up",
        ("mlp.down_proj", _) => "ffn_down",
        ("mlp.gate", _) => "ffn_gate_inp",
        _ => return None,
    };
    whole(format!("blk.{layer}.{part}.{suffix}"))
}

/// Whether llama.cpp's converter reordered this tensor's rows, so that pairs that turn together are neighbours.
pub(super) fn is_interleaved(architecture: Architecture, name: &str) -> bool {
    let turned = [".self_attn.q_proj.", ".self_attn.k_proj."].iter().any(|part| name.contains(part));
    turned && matches!(architecture, Architecture::Llama | Architecture::Mistral)
}

#[cfg(test)]
mod tests;
