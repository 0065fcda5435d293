//! The checkpoint's small JSON files, and how all files reach the disk.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::tokenizer::{END_OF_TEXT, END_OF_TURN};
use super::{PlainType, Size, Synth, SynthError};
use crate::Architecture;

/// A file's name and content.
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl File {
    pub(super) fn json(name: &str, value: &Value) -> File {
        File { name: name.to_owned(), bytes: format!("{value:#}\n").into_bytes() }
    }
}

/// How text generation is to stop.
pub(super) fn generation_config() -> File {
    let value = json!({
        "do_sample": true,
        "eos_token_id": [END_OF_TURN.id, END_OF_TEXT.id],
        "pad_token_id": END_OF_TEXT.id,
    });
    File::json("generation_config.json", &value)
}

/// The model's description, as config.json will hold it.
pub(super) fn config(wanted: &Synth, size: Size, vocab: usize) -> Map<String, Value> {
    let Size { vocab_max: _, hidden, intermediate, layers, heads, context } = size;
    let dtype = match wanted.dtype {
        PlainType::F32 => "float32",
        PlainType::F16 => "float16",
        PlainType::Bf16 => "bfloat16",
    };
    let mut value = json!({
        "architectures": [wanted.architecture.name()],
        "model_type": wanted.architecture.model_type(),
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads.query,
        "num_key_value_heads": heads.kv,
        "head_dim": heads.dim,
        "hidden_act": "silu",
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": null,
        "tie_word_embeddings": wanted.tied_embeddings,
        "bos_token_id": null,
        "eos_token_id": END_OF_TURN.id,
        "pad_token_id": END_OF_TEXT.id,
        "torch_dtype": dtype,
    });
    if wanted.architecture == Architecture::Llama {
        value["attention_bias"] = json!(false);
        value["mlp_bias"] = json!(false);
    }
    let Value::Object(mut config) = value else { unreachable!("json! made an object") };
    // A field that is asked to be null is left out: to some readers the two are not the same.
    for (field, value) in &wanted.fields {
        match value {
            Value::Null => _ = config.shift_remove(field),
            value => _ = config.insert(field.clone(), value.clone()),
        }
    }
    config
}

pub(super) fn config_file(config: Map<String, Value>) -> File {
    File::json("config.json", &Value::Object(config))
}

/// Writes the files in order.
pub(super) fn write(out: &Path, files: Vec<File>) -> Result<Vec<PathBuf>, SynthError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| SynthError::Write { path, source }
    };
    fs::create_dir_all(out).map_err(failed(out))?;
    for entry in fs::read_dir(out).map_err(failed(out))? {
        let found = entry.map_err(failed(out))?.file_name().to_string_lossy().into_owned();
        if files.iter().all(|file| file.name != found) {
            return Err(SynthError::OutNotEmpty { out: out.to_owned(), found });
        }
    }
    let written = files.into_iter().map(|File { name, bytes }| {
        let path = out.join(name);
        fs::write(&path, bytes).map_err(failed(&path))?;
        Ok(path)
    });
    written.collect()
}
