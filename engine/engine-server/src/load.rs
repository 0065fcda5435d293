//! Reads a checkpoint's directory: weights, tokenizer, chat template, and which tokens end an output.

use std::path::Path;

use engine_backend::Backend;
use engine_model::{LoadOptions, Model, ModelConfig};
use serde_json::Value;

use crate::template::{ChatTemplate, token_in};
use crate::vocabulary::Vocabulary;
use crate::{Config, Error};

/// Everything of a checkpoint, ready to run.
pub(crate) struct Loaded<B: Backend> {
    pub model: Model<B>,
    pub vocabulary: Vocabulary,
    pub template: Option<ChatTemplate>,
    /// Tokens that end an output.
    pub end_tokens: Vec<u32>,
}

/// Takes seconds for a large checkpoint: call it off the async threads.
pub(crate) fn load<B: Backend>(config: &Config, backend: B) -> Result<Loaded<B>, Error> {
    let dir = &config.model_dir;
    let options = LoadOptions {
        kv_blocks: config.kv_blocks,
        block_tokens: config.block_tokens,
        step_tokens_max: config.step_tokens_max,
        step_logits_max: config.running_max,
    };
    // The small files first: what is wrong with them should not wait for gigabytes.
    let vocabulary = Vocabulary::load(dir)?;
    let tokenizer_config = json_in(dir, "tokenizer_config.json")?;
    let generation_config = json_in(dir, "generation_config.json")?;
    let template = ChatTemplate::load(dir, &tokenizer_config)?;
    let model = Model::load(backend, dir, &options)?;
    let end_tokens = end_tokens(model.config(), &generation_config, &tokenizer_config, &vocabulary);
    Ok(Loaded { model, vocabulary, template, end_tokens })
}

/// An optional file: absent is the same as empty.
fn json_in(dir: &Path, name: &str) -> Result<Value, Error> {
    let path = dir.join(name);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Value::Null),
        Err(error) => return Err(Error::Checkpoint { path, reason: error.to_string() }),
    };
    serde_json::from_str(&text).map_err(|error| Error::Checkpoint { path, reason: error.to_string() })
}

/// Checkpoints name the ends of an output in three files, and not all of them in each: any of them ends it.
fn end_tokens(
    config: &ModelConfig,
    generation_config: &Value,
    tokenizer_config: &Value,
    vocabulary: &Vocabulary,
) -> Vec<u32> {
    let mut tokens = config.eos_token_ids.clone();
    match &generation_config["eos_token_id"] {
        Value::Array(ids) => tokens.extend(ids.iter().filter_map(token_id)),
        id => tokens.extend(token_id(id)),
    }
    tokens.extend(token_in(tokenizer_config, "eos_token").and_then(|token| vocabulary.id_of(&token)));
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

fn token_id(id: &Value) -> Option<u32> {
    id.as_u64().and_then(|id| u32::try_from(id).ok())
}
