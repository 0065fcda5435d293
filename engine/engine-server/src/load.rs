//! Reads a checkpoint, a directory or a GGUF file: weights, tokenizer, chat template, and which tokens end an output.

use std::path::Path;

use engine_backend::Backend;
use engine_model::{Gguf, GgufText, LoadOptions, Model};
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
    let path = &config.model;
    let options = LoadOptions {
        kv_blocks: config.kv_blocks,
        block_tokens: config.block_tokens,
        step_tokens_max: config.step_tokens_max,
        step_logits_max: config.running_max,
        round_to: None,
    };
    // The small files first: what is wrong with them should not wait for gigabytes.
    let Text { vocabulary, template, mut end_tokens } = match Gguf::is_named_so(path) {
        true => text_of_file(path)?,
        false => text_of_directory(path)?,
    };
    let model = Model::load(backend, path, &options)?;
    check(path, &vocabulary, model.config().vocab)?;
    end_tokens.extend(&model.config().eos_token_ids);
    end_tokens.sort_unstable();
    end_tokens.dedup();
    Ok(Loaded { model, vocabulary, template, end_tokens })
}

/// All but the weights.
struct Text {
    vocabulary: Vocabulary,
    template: Option<ChatTemplate>,
    end_tokens: Vec<u32>,
}

fn text_of_directory(dir: &Path) -> Result<Text, Error> {
    let vocabulary = Vocabulary::load(dir)?;
    let tokenizer_config = json_in(dir, "tokenizer_config.json")?;
    let generation_config = json_in(dir, "generation_config.json")?;
    let template = ChatTemplate::load(dir, &tokenizer_config)?;
    let end_tokens = end_tokens(&generation_config, &tokenizer_config, &vocabulary);
    Ok(Text { vocabulary, template, end_tokens })
}

fn text_of_file(path: &Path) -> Result<Text, Error> {
    let GgufText { tokenizer, chat_template, bos_token, eos_token, end_tokens } = Gguf::open(path)?.text()?;
    let special = |token: Option<String>| token.unwrap_or_default();
    let template = chat_template.map(|source| ChatTemplate::of(path, source, special(bos_token), special(eos_token)));
    Ok(Text { vocabulary: Vocabulary::over(tokenizer), template: template.transpose()?, end_tokens })
}

/// A text must not become tokens that the model has no embedding for. Added tokens may lie beyond it: some checkpoints
/// share their tokenizer with a larger model that sees pictures.
fn check(path: &Path, vocabulary: &Vocabulary, embeddings: usize) -> Result<(), Error> {
    match vocabulary.highest_id() {
        Some(id) if id as usize >= embeddings => {
            let reason = format!("the tokenizer has token {id}, the model has embeddings for {embeddings} tokens");
            Err(Error::Checkpoint { path: path.to_owned(), reason })
        }
        _ => Ok(()),
    }
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

/// Directories name the ends of an output in three files (config.json is the third), and not all of them in each: any of them ends it.
fn end_tokens(generation_config: &Value, tokenizer_config: &Value, vocabulary: &Vocabulary) -> Vec<u32> {
    let mut tokens = Vec::new();
    match &generation_config["eos_token_id"] {
        Value::Array(ids) => tokens.extend(ids.iter().filter_map(token_id)),
        id => tokens.extend(token_id(id)),
    }
    tokens.extend(token_in(tokenizer_config, "eos_token").and_then(|token| vocabulary.id_of(&token)));
    tokens
}

fn token_id(id: &Value) -> Option<u32> {
    id.as_u64().and_then(|id| u32::try_from(id).ok())
}
