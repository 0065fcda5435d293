//! What a GGUF file holds beside the model: tokenizer, chat template, and which tokens begin and end a text.

use tokenizers::Tokenizer;

use super::file::Gguf;
use super::tokenizer::tokenizer;
use super::value::Value;
use crate::LoadError;

/// Everything about text in a GGUF file.
pub struct GgufText {
    /// Built from the file's vocabulary.
    pub tokenizer: Tokenizer,
    /// In Jinja.
    pub chat_template: Option<String>,
    /// The spelling of the token that begins a text.
    pub bos_token: Option<String>,
    /// The spelling of the token that ends a text.
    pub eos_token: Option<String>,
    /// Tokens that end an output.
    pub end_tokens: Vec<u32>,
}

/// Ends of a turn by their usual spellings: many files name only the end of a text.
const ENDS_OF_TURN: [&str; 4] = ["<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>"];

impl Gguf {
    /// Reads tokenizer and template.
    pub fn text(&self) -> Result<GgufText, LoadError> {
        let tokenizer = tokenizer(self)?;
        let id = |key: &str| {
            let id = self.value(&format!("tokenizer.ggml.{key}")).and_then(Value::unsigned);
            id.and_then(|id| u32::try_from(id).ok())
        };
        let spelling = |id: Option<u32>| id.and_then(|id| tokenizer.id_to_token(id));
        let named = [id("eos_token_id"), id("eot_token_id"), id("eom_token_id")];
        let spelt = ENDS_OF_TURN.iter().filter_map(|token| tokenizer.token_to_id(token));
        let mut end_tokens: Vec<u32> = named.into_iter().flatten().chain(spelt).collect();
        end_tokens.sort_unstable();
        end_tokens.dedup();
        let chat_template = self.value("tokenizer.chat_template").and_then(Value::text).map(str::to_owned);
        let (bos_token, eos_token) = (spelling(id("bos_token_id")), spelling(id("eos_token_id")));
        Ok(GgufText { bos_token, eos_token, tokenizer, chat_template, end_tokens })
    }
}
