//! `/v1/completions`: the request checked, and the response, which is also the shape of a stream's chunk.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chat::take_model;
use crate::fields::{Fields, invalid, shown};
use crate::{CompletionLogprobs, ErrorBody, FinishReason, Options, Usage};

const LOGPROBS_MAX: u32 = 5;

/// A checked completion request.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRequest {
    /// The model asked for.
    pub model: String,
    /// What to continue.
    pub prompt: Prompt,
    /// Everything else.
    pub options: Options,
}

/// What to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Text, tokenised by the server.
    Text(String),
    /// Token ids, taken as they are; never empty.
    Tokens(Vec<u32>),
}

impl CompletionRequest {
    /// Reads and checks a request body; unknown fields are ignored.
    pub fn from_json(body: &[u8]) -> Result<CompletionRequest, ErrorBody> {
        let mut fields = Fields::parse(body)?;
        let model = take_model(&mut fields)?;
        let prompt = take_prompt(&mut fields)?;
        let mut options = Options::take(&mut fields)?;
        options.logprobs = fields.take_within("logprobs", 0..=LOGPROBS_MAX, "an integer from 0 to 5")?;
        Ok(CompletionRequest { model, prompt, options })
    }
}

fn take_prompt(fields: &mut Fields) -> Result<Prompt, ErrorBody> {
    let wanted = "a string, a list of one string, or a list of token ids";
    let value = fields.require("prompt", wanted)?;
    let found = shown(&value);
    let prompt = match value {
        Value::String(text) => Some(Prompt::Text(text)),
        Value::Array(list) => match list.first() {
            None => return Err(invalid("prompt", wanted, "an empty list")),
            Some(Value::Number(_)) => token_ids(Value::Array(list)),
            Some(_) if list.len() > 1 => {
                return Err(invalid(
                    "prompt",
                    "one prompt: send one request for each",
                    &format!("{} prompts", list.len()),
                ));
            }
            Some(_) => match list.into_iter().next() {
                Some(Value::String(text)) => Some(Prompt::Text(text)),
                Some(ids @ Value::Array(_)) => token_ids(ids),
                _ => None,
            },
        },
        _ => None,
    };
    prompt.ok_or_else(|| invalid("prompt", wanted, &found))
}

fn token_ids(list: Value) -> Option<Prompt> {
    serde_json::from_value(list).ok().filter(|ids: &Vec<u32>| !ids.is_empty()).map(Prompt::Tokens)
}

/// The whole answer, or one chunk of a streamed one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletionResponse {
    /// Names this completion.
    pub id: String,
    /// `text_completion`.
    pub object: String,
    /// Unix seconds.
    pub created: u64,
    /// The model that answers.
    pub model: String,
    /// One choice, or none in the usage chunk.
    pub choices: Vec<CompletionChoice>,
    /// What it cost. In a stream absent unless asked for; then null in all chunks but the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// The one choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletionChoice {
    /// 0.
    pub index: u32,
    /// The text, or what is new of it.
    pub text: String,
    /// Log probabilities, when asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// Why it ended; null in a stream's earlier chunks.
    pub finish_reason: Option<FinishReason>,
}
