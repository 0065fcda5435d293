//! What the proxy must know of an answer or of one stream event: is there output in it, why it ended, what it cost.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The fields of an answer or event that the proxy reads: OpenAI's chat, completions, embeddings and responses, and
/// Anthropic's messages. One shape serves them all, for none means anything else by another's fields.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct AnswerFields<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    /// What kind of event it is, where events have kinds.
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    delta: Delta,
    /// Of Anthropic's whole answers.
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
    usage: Option<Usage>,
    error: Option<IgnoredAny>,
    /// Where the event tells of an answer as a whole: OpenAI's responses, and Anthropic's messages.
    #[serde(borrow, alias = "response")]
    message: Whole<'a>,
}

/// The answer as a whole, within an event.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Whole<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    usage: Option<Usage>,
}

/// Tokens as the replica counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
    pub cached_tokens: u32,
}

/// The names that OpenAI's endpoints and Anthropic's have for them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct UsageFields {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    prompt_tokens_details: Option<PromptTokens>,
    input_tokens: Option<u32>,
    output_tokens: Option<u32>,
    input_tokens_details: Option<PromptTokens>,
    cache_read_input_tokens: Option<u32>,
    cache_creation_input_tokens: Option<u32>,
    total_tokens: Option<u32>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct PromptTokens {
    cached_tokens: Option<u32>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    text: Output,
    delta: Delta,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

/// What is new in an event: an object with any of these, or, in OpenAI's responses, the text itself.
#[derive(Debug, Default, PartialEq)]
struct Delta {
    has_output: bool,
    stop_reason: Option<String>,
}

/// Whether a value holds any output: a string or list that is not empty.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Output(pub bool);

/// Reads one stream event's data; `None` when it is not what an OpenAI event looks like.
pub(crate) fn read_event(data: &[u8]) -> Option<AnswerFields<'_>> {
    serde_json::from_slice(data).ok()
}

/// Reads a whole answer that is not a stream.
pub(crate) fn read_answer(body: &[u8]) -> Option<AnswerFields<'_>> {
    serde_json::from_slice(body).ok()
}

impl AnswerFields<'_> {
    /// The event carries output.
    pub fn has_output(&self) -> bool {
        self.delta.has_output || self.choices.iter().any(|choice| choice.text.0 || choice.delta.has_output)
    }

    /// Why output ended, when it has.
    pub fn finish_reason(&self) -> Option<&str> {
        let of_choices = self.choices.iter().find_map(|choice| choice.finish_reason.as_deref());
        of_choices.or(self.delta.stop_reason.as_deref()).or(self.stop_reason.as_deref())
    }

    pub fn id(&self) -> Option<&str> {
        self.id.as_deref().or(self.message.id.as_deref())
    }

    pub fn model(&self) -> Option<&str> {
        self.model.as_deref().or(self.message.model.as_deref())
    }

    pub fn usage(&self) -> Option<Usage> {
        self.usage.or(self.message.usage)
    }

    /// The event tells of an error.
    pub fn is_error(&self) -> bool {
        self.error.is_some() || matches!(self.kind.as_deref(), Some("error" | "response.failed"))
    }

    /// No event follows this one.
    pub fn is_last(&self) -> bool {
        let last = ["message_stop", "response.completed", "response.incomplete", "response.failed"];
        self.kind.as_deref().is_some_and(|kind| last.contains(&kind))
    }
}

impl Usage {
    /// What is known after a later event has told more: Anthropic's streams tell of the prompt at their beginning only.
    pub fn or_earlier(self, earlier: Option<Usage>) -> Usage {
        match earlier {
            Some(earlier) if self.prompt_tokens == 0 => Usage { completion_tokens: self.completion_tokens, ..earlier },
            _ => self,
        }
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Usage, D::Error> {
        let fields = UsageFields::deserialize(from)?;
        let details = fields.prompt_tokens_details.or(fields.input_tokens_details);
        let cached = details.and_then(|details| details.cached_tokens);
        // Anthropic counts beside its input tokens what comes from the cache or goes there; OpenAI counts all together.
        let beside = fields.cache_read_input_tokens.unwrap_or(0) + fields.cache_creation_input_tokens.unwrap_or(0);
        let input = fields.input_tokens.map(|tokens| tokens.saturating_add(beside));
        let output = fields.completion_tokens.or(fields.output_tokens);
        // Rerankers tell the total alone.
        let total = fields.total_tokens.filter(|_| output.is_none());
        Ok(Usage {
            prompt_tokens: fields.prompt_tokens.or(input).or(total).unwrap_or(0),
            completion_tokens: output.unwrap_or(0),
            cached_tokens: cached.or(fields.cache_read_input_tokens).unwrap_or(0),
        })
    }
}

/// The keys of a delta: those under which output may stand, and why there will be no more.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum DeltaKey {
    Content,
    ReasoningContent,
    Reasoning,
    Refusal,
    ToolCalls,
    Text,
    PartialJson,
    Thinking,
    StopReason,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Delta, D::Error> {
        from.deserialize_any(DeltaVisitor)
    }
}

struct DeltaVisitor;

impl<'de> Visitor<'de> for DeltaVisitor {
    type Value = Delta;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a text")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Delta, M::Error> {
        let mut delta = Delta::default();
        while let Some(key) = map.next_key()? {
            match key {
                DeltaKey::StopReason => delta.stop_reason = map.next_value()?,
                DeltaKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
                _ => delta.has_output |= map.next_value::<Output>()?.0,
            }
        }
        Ok(delta)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Delta, E> {
        Ok(Delta { has_output: !text.is_empty(), stop_reason: None })
    }

    fn visit_unit<E: Error>(self) -> Result<Delta, E> {
        Ok(Delta::default())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Delta, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Delta::default())
    }
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Output, D::Error> {
        from.deserialize_any(OutputVisitor).map(Output)
    }
}

struct OutputVisitor;

impl<'de> Visitor<'de> for OutputVisitor {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        Ok(!text.is_empty())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<bool, S::Error> {
        let mut any = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            any = true;
        }
        Ok(any)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<bool, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(true)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }
}
