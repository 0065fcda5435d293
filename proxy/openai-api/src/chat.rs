//! `/v1/chat/completions`: the request checked, the response, and the stream's chunks.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fields::{Fields, invalid, shown};
use crate::{ChatLogprobs, ErrorBody, FinishReason, Options, Usage};

/// Longest model name, in bytes. Names go into traces, metrics and error texts.
pub const MODEL_BYTES_MAX: usize = 256;

const TOP_LOGPROBS_MAX: u32 = 20;

/// A checked chat request.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The model asked for.
    pub model: String,
    /// The conversation; never empty.
    pub messages: Vec<Message>,
    /// Everything else.
    pub options: Options,
}

/// One message of the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text; text parts are joined by newlines.
    pub content: String,
    /// The speaker's name, when the client gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The instructions. `developer` is its newer name; templates know this one.
    #[serde(alias = "developer")]
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool's answer.
    Tool,
}

impl ChatRequest {
    /// Reads and checks a request body; unknown fields are ignored.
    pub fn from_json(body: &[u8]) -> Result<ChatRequest, ErrorBody> {
        let mut fields = Fields::parse(body)?;
        let model = take_model(&mut fields)?;
        let messages = take_messages(&mut fields)?;
        let mut options = Options::take(&mut fields)?;
        options.logprobs = take_logprobs(&mut fields)?;
        Ok(ChatRequest { model, messages, options })
    }
}

pub(crate) fn take_model(fields: &mut Fields) -> Result<String, ErrorBody> {
    let wanted = "the name of a model (GET /v1/models lists them)";
    match fields.require("model", wanted)? {
        Value::String(model) if model.len() > MODEL_BYTES_MAX => {
            let wanted = format!("a name of at most {MODEL_BYTES_MAX} bytes (GET /v1/models lists them)");
            Err(invalid("model", &wanted, &format!("one of {} bytes", model.len())))
        }
        Value::String(model) if !model.is_empty() => Ok(model),
        other => Err(invalid("model", wanted, &shown(&other))),
    }
}

fn take_messages(fields: &mut Fields) -> Result<Vec<Message>, ErrorBody> {
    let wanted = "a list of at least one message";
    match fields.require("messages", wanted)? {
        Value::Array(list) if list.is_empty() => Err(invalid("messages", wanted, "an empty list")),
        Value::Array(list) => list.into_iter().enumerate().map(|(at, value)| message(at, value)).collect(),
        other => Err(invalid("messages", wanted, &shown(&other))),
    }
}

fn message(at: usize, value: Value) -> Result<Message, ErrorBody> {
    let here = format!("messages[{at}]");
    let Value::Object(mut object) = value else {
        return Err(invalid(&here, "an object with 'role' and 'content'", &shown(&value)));
    };
    let role = object.remove("role").unwrap_or(Value::Null);
    let found = shown(&role);
    let role: Role = serde_json::from_value(role)
        .map_err(|_| invalid(&format!("{here}.role"), "one of system, developer, user, assistant, tool", &found))?;
    let content = match object.remove("content").unwrap_or(Value::Null) {
        // An assistant's message that only called tools has no text.
        Value::Null if role == Role::Assistant => String::new(),
        content => text_of(&format!("{here}.content"), content)?,
    };
    let name = object.remove("name").and_then(|name| name.as_str().map(str::to_owned));
    Ok(Message { role, content, name })
}

fn text_of(here: &str, content: Value) -> Result<String, ErrorBody> {
    let wanted = "a string or a list of text parts";
    match content {
        Value::String(text) => Ok(text),
        Value::Array(parts) => {
            let texts = parts.into_iter().enumerate().map(|(at, part)| part_text(&format!("{here}[{at}]"), part));
            Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
        other => Err(invalid(here, wanted, &shown(&other))),
    }
}

fn part_text(here: &str, part: Value) -> Result<String, ErrorBody> {
    let wanted = "{\"type\":\"text\",\"text\":\"…\"} (text is all this server reads)";
    match part {
        Value::Object(mut part) if part.get("type").is_some_and(|kind| kind == "text") => match part.remove("text") {
            Some(Value::String(text)) => Ok(text),
            other => Err(invalid(&format!("{here}.text"), "a string", &shown(&other.unwrap_or(Value::Null)))),
        },
        Value::Object(part) => {
            let kind = part.get("type").map_or_else(|| "an object without 'type'".to_owned(), shown);
            Err(invalid(here, wanted, &kind))
        }
        other => Err(invalid(here, wanted, &shown(&other))),
    }
}

fn take_logprobs(fields: &mut Fields) -> Result<Option<u32>, ErrorBody> {
    let wanted = fields.take_as::<bool>("logprobs", "true or false")?.unwrap_or(false);
    let top = fields.take_within("top_logprobs", 0..=TOP_LOGPROBS_MAX, "an integer from 0 to 20")?;
    match (wanted, top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => {
            Err(ErrorBody::invalid_request("'top_logprobs' needs 'logprobs' to be true.").param("top_logprobs"))
        }
    }
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatResponse {
    /// Names this completion.
    pub id: String,
    /// `chat.completion`.
    pub object: String,
    /// Unix seconds.
    pub created: u64,
    /// The model that answered.
    pub model: String,
    /// One choice.
    pub choices: Vec<ChatChoice>,
    /// What it cost.
    pub usage: Usage,
}

/// The one choice of a whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatChoice {
    /// 0.
    pub index: u32,
    /// What the model said.
    pub message: ChatReply,
    /// Log probabilities, when asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// What the model said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatReply {
    /// `assistant`.
    pub role: Role,
    /// The text.
    pub content: String,
    /// Always null: our models' refusals are text.
    pub refusal: Option<String>,
}

/// One chunk of a streamed answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatChunk {
    /// The same in all chunks of one completion.
    pub id: String,
    /// `chat.completion.chunk`.
    pub object: String,
    /// Unix seconds, the same in all chunks.
    pub created: u64,
    /// The model that answers.
    pub model: String,
    /// One choice, or none in the usage chunk.
    pub choices: Vec<ChatChunkChoice>,
    /// Absent unless asked for; then null in all chunks but the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// The one choice of a chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatChunkChoice {
    /// 0.
    pub index: u32,
    /// What is new.
    pub delta: ChatDelta,
    /// Log probabilities of the new tokens, when asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// Why it ended, in the last choice.
    pub finish_reason: Option<FinishReason>,
}

/// What is new in a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatDelta {
    /// In the first chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// New text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}
