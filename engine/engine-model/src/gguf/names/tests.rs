//! Names, one by one.

use super::*;

#[track_caller]
fn check(name: &str, norms: Norms, expected: &str, expert: Option<usize>) {
    assert_eq!(place(name, norms), Some(Place { name: expected.to_owned(), expert }));
}

#[test]
fn names_are_ggufs() {
    use Norms::{Before, BeforeAndAfter};
    check("model.embed_tokens.weight", Before, "token_embd.weight", None);
    check("lm_head.weight", Before, "output.weight", None);
    check("model.layers.3.self_attn.q_proj.weight", Before, "blk.3.attn_q.weight", None);
    check("model.layers.0.self_attn.k_proj.bias", Before, "blk.0.attn_k.bias", None);
    check("model.layers.0.post_attention_layernorm.weight", Before, "blk.0.ffn_norm.weight", None);
    check("model.layers.0.post_attention_layernorm.weight", BeforeAndAfter, "blk.0.post_attention_norm.weight", None);
    check("model.layers.0.pre_feedforward_layernorm.weight", BeforeAndAfter, "blk.0.ffn_norm.weight", None);
    check("model.layers.12.mlp.experts.7.down_proj.weight", Before, "blk.12.ffn_down_exps.weight", Some(7));
    assert_eq!(place("model.layers.0.self_attn.rotary_emb.inv_freq", Before), None);
}

#[test]
fn only_a_llamas_queries_and_keys_are_interleaved() {
    let query = "model.layers.0.self_attn.q_proj.weight";
    assert!(is_interleaved(Architecture::Llama, query));
    assert!(!is_interleaved(Architecture::Qwen2, query));
    assert!(!is_interleaved(Architecture::Llama, "model.layers.0.self_attn.v_proj.weight"));
}
