//! Broken checkpoints: every error names the file, and the field or tensor at fault.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use engine_cpu::CpuBackend;
use engine_model::{LoadOptions, Model, Preset, Synth, synth};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

fn checkpoint() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    synth(&Synth::new(dir.path(), Preset::Tiny)).unwrap();
    dir
}

fn sharded() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    synth(&Synth { shard_bytes_max: Some(100_000), ..Synth::new(dir.path(), Preset::Tiny) }).unwrap();
    dir
}

/// That loading fails with a message that has all of these words.
#[track_caller]
fn check(dir: &TempDir, words: &[&str]) {
    let loaded = Model::load(CpuBackend::new(), dir.path(), &LoadOptions::default());
    let Err(error) = loaded else { panic!("it loaded") };
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Changes config.json and expects the load to fail with these words.
#[track_caller]
fn check_config(change: impl Fn(&mut Value), words: &[&str]) {
    let dir = checkpoint();
    edit(&dir.path().join("config.json"), change);
    check(&dir, &[&["config.json"], words].concat());
}

/// Writes model.safetensors again, with each tensor as `change` wants it, or not at all.
fn rewrite(dir: &TempDir, change: impl Fn(&str, &TensorView<'_>) -> Option<Vec<usize>>) {
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let kept = tensors.tensors().into_iter().filter_map(|(name, view)| {
        let shape = change(&name, &view)?;
        Some((name, TensorView::new(view.dtype(), shape, view.data()).unwrap()))
    });
    let kept: Vec<_> = kept.collect();
    fs::write(&path, safetensors::serialize(kept, None).unwrap()).unwrap();
}

#[test]
fn an_absent_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    check(&dir, &["read", "config.json"]);
}

#[test]
fn a_config_that_is_not_json_is_named() {
    let dir = checkpoint();
    fs::write(dir.path().join("config.json"), "{\"hidden_size\": ").unwrap();
    check(&dir, &["config.json", "not a JSON object", "line 1"]);
}

#[test]
fn a_missing_field_is_named() {
    for field in ["architectures", "vocab_size", "hidden_size", "num_hidden_layers", "rms_norm_eps"] {
        let remove = |config: &mut Value| _ = config.as_object_mut().unwrap().remove(field);
        check_config(remove, &[&format!("field \"{field}\" is missing")]);
    }
}

#[test]
fn a_wrong_field_is_named_with_what_would_be_right() {
    check_config(|c| c["hidden_size"] = json!("big"), &["hidden_size", "positive integer", "\"big\""]);
    check_config(|c| c["num_hidden_layers"] = json!(0), &["num_hidden_layers", "it is 0"]);
    check_config(|c| c["num_key_value_heads"] = json!(3), &["num_key_value_heads", "divisor"]);
    check_config(|c| c["head_dim"] = json!(15), &["head_dim", "even"]);
    check_config(|c| c["hidden_act"] = json!("gelu"), &["hidden_act", "silu"]);
    check_config(|c| c["eos_token_id"] = json!([1, -2]), &["eos_token_id", "[1,-2]"]);
    check_config(|c| c["rope_scaling"] = json!({"rope_type": "spiral"}), &["rope_scaling.rope_type", "spiral"]);
    check_config(
        |c| c["rope_scaling"] = json!({"rope_type": "llama3", "factor": 8.0}),
        &["rope_scaling.low_freq_factor", "missing"],
    );
    check_config(
        |c| {
            c["rope_scaling"] = json!({
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            });
        },
        &["rope_scaling.high_freq_factor", "above low_freq_factor"],
    );
    check_config(|c| c["partial_rotary_factor"] = json!(0.7), &["partial_rotary_factor", "0.7"]);
}

#[test]
fn an_unsupported_architecture_lists_the_supported_ones() {
    check_config(
        |c| c["architectures"] = json!(["MambaForCausalLM"]),
        &["MambaForCausalLM", "LlamaForCausalLM", "Qwen2ForCausalLM"],
    );
}

#[test]
fn a_directory_without_weights_is_named() {
    let dir = checkpoint();
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    check(&dir, &["neither model.safetensors nor model.safetensors.index.json"]);
}

#[test]
fn a_missing_tensor_is_named_with_its_shape() {
    let dir = checkpoint();
    let missing = "model.layers.1.mlp.up_proj.weight";
    rewrite(&dir, |name, view| (name != missing).then(|| view.shape().to_vec()));
    check(&dir, &["model.safetensors", missing, "missing", "[160, 64]"]);
}

#[test]
fn a_wrong_shape_is_named_with_both_shapes() {
    let dir = checkpoint();
    rewrite(&dir, |name, view| match name {
        "model.layers.0.self_attn.k_proj.weight" => Some(vec![64, 32]),
        _ => Some(view.shape().to_vec()),
    });
    check(&dir, &["model.layers.0.self_attn.k_proj.weight", "[64, 32]", "[32, 64]"]);
}

#[test]
fn a_tensor_of_integers_is_named_with_its_type() {
    let dir = checkpoint();
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let retyped = tensors.tensors().into_iter().map(|(name, view)| {
        let dtype = match name.as_str() {
            "model.norm.weight" => safetensors::Dtype::I16,
            _ => view.dtype(),
        };
        (name, TensorView::new(dtype, view.shape().to_vec(), view.data()).unwrap())
    });
    let retyped: Vec<_> = retyped.collect();
    fs::write(&path, safetensors::serialize(retyped, None).unwrap()).unwrap();
    check(&dir, &["model.norm.weight", "I16", "BF16"]);
}

#[test]
fn a_truncated_file_is_named() {
    let dir = checkpoint();
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    for length in [0, 5, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        check(&dir, &["model.safetensors is not a whole safetensors file"]);
    }
}

#[test]
fn a_missing_or_truncated_shard_is_named() {
    let dir = sharded();
    let path = dir.path().join("model-00002-of-00004.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    check(&dir, &["model-00002-of-00004.safetensors", "not a whole"]);
    fs::remove_file(&path).unwrap();
    check(&dir, &["read", "model-00002-of-00004.safetensors"]);
}

#[test]
fn an_index_must_name_files_of_its_directory() {
    let dir = sharded();
    let index = dir.path().join("model.safetensors.index.json");
    let check_index = |words: &str| check(&dir, &[&format!("model.safetensors.index.json: field {words}")]);
    for file in [json!("../other.safetensors"), json!(7)] {
        edit(&index, |index| index["weight_map"]["model.norm.weight"] = file.clone());
        check_index(&format!("\"weight_map.model.norm.weight\" must be a plain file name, it is {file}"));
    }
    for map in [json!({}), json!(7)] {
        edit(&index, |index| index["weight_map"] = map.clone());
        check_index(&format!("\"weight_map\" must be a map from tensors to files, it is {map}"));
    }
    edit(&index, |index| *index = json!({}));
    check_index("\"weight_map\" is missing");
    fs::write(&index, "{").unwrap();
    check(&dir, &["model.safetensors.index.json is not a JSON object", "line 1"]);
}

#[test]
fn a_tensor_that_the_index_forgot_is_named() {
    let dir = sharded();
    let index = dir.path().join("model.safetensors.index.json");
    edit(&index, |index| _ = index["weight_map"].as_object_mut().unwrap().remove("lm_head.weight"));
    check(&dir, &["model.safetensors.index.json", "lm_head.weight", "[1024, 64]"]);
}
