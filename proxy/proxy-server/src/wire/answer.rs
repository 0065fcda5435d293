//! What the proxy must know of an answer or of one stream event: is there output in it, why it ended, what it cost.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The fields of an answer or event that the proxy reads.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct AnswerFields<'a> {
    #[serde(borrow)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    pub usage: Option<Usage>,
    error: Option<IgnoredAny>,
}

/// Tokens as the replica counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct PromptTokens {
    cached_tokens: Option<u32>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    text: Output,
    delta: Option<Delta>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Delta {
    content: Output,
    reasoning_content: Output,
    reasoning: Output,
    refusal: Output,
    tool_calls: Output,
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
        self.choices.iter().any(|choice| choice.text.0 || choice.delta.as_ref().is_some_and(Delta::has_output))
    }

    /// Why output ended, when it has.
    pub fn finish_reason(&self) -> Option<&str> {
        self.choices.iter().find_map(|choice| choice.finish_reason.as_deref())
    }

    /// The event tells of an error.
    pub fn is_error(&self) -> bool {
        self.error.is_some()
    }
}

impl Usage {
    /// Prompt tokens answered from the prefix cache.
    pub fn cached_tokens(&self) -> u32 {
        self.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0)
    }
}

impl Delta {
    fn has_output(&self) -> bool {
        let Delta { content, reasoning_content, reasoning, refusal, tool_calls } = self;
        [content, reasoning_content, reasoning, refusal, tool_calls].iter().any(|output| output.0)
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
