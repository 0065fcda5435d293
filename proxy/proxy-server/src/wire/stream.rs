//! What must be known of a stream's event, and of what was asked, so that the stream can go on elsewhere.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::answer::Output;

/// One event with one choice.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StreamEvent<'a> {
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub created: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    #[serde(borrow)]
    pub usage: Option<RawUsage<'a>>,
}

/// Tokens as the replica counted them.
#[derive(Debug, Deserialize)]
pub(crate) struct RawUsage<'a> {
    #[serde(borrow)]
    pub prompt_tokens: &'a RawValue,
    #[serde(borrow)]
    pub completion_tokens: &'a RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    index: u32,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
    logprobs: Output,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    reasoning_content: Output,
    reasoning: Output,
    refusal: Output,
    tool_calls: Output,
    function_call: Output,
}

/// Reads one event's data; `None` when it is not what an OpenAI event looks like.
pub(crate) fn read_stream_event(data: &[u8]) -> Option<StreamEvent<'_>> {
    serde_json::from_slice(data).ok()
}

impl StreamEvent<'_> {
    /// The new text.
    pub fn text(&self) -> &str {
        let Some(choice) = self.choices.first() else { return "" };
        let of_chat = choice.delta.as_ref().and_then(|delta| delta.content.as_deref());
        choice.text.as_deref().or(of_chat).unwrap_or("")
    }

    /// The output ends with it.
    pub fn finishes(&self) -> bool {
        self.choices.iter().any(|choice| choice.finish_reason.is_some())
    }

    /// It has no output but one choice's text.
    pub fn is_plain(&self) -> bool {
        let plain = |choice: &Choice<'_>| {
            choice.index == 0 && !choice.logprobs.0 && choice.delta.as_ref().is_none_or(Delta::is_plain)
        };
        self.choices.len() <= 1 && self.choices.iter().all(plain)
    }
}

impl Delta<'_> {
    fn is_plain(&self) -> bool {
        let Delta { content: _, reasoning_content, reasoning, refusal, tool_calls, function_call } = self;
        ![reasoning_content, reasoning, refusal, tool_calls, function_call].iter().any(|output| output.0)
    }
}

/// A request's fields, each as its JSON text.
pub(crate) struct RawFields<'a> {
    body: &'a [u8],
    fields: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> RawFields<'a> {
    /// Reads a body; `None` when it is no object.
    pub fn of(body: &'a [u8]) -> Option<RawFields<'a>> {
        Some(RawFields { body, fields: serde_json::from_slice(body).ok()? })
    }

    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name).map(|value| value.get()).filter(|value| *value != "null")
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok()
    }

    /// A field that asks for nothing: many clients send those.
    pub fn is_nothing(&self, name: &str) -> bool {
        let text_format = |value: &str| value.replace([' ', '\n'], "") == r#"{"type":"text"}"#;
        self.get(name).is_none_or(|value| {
            matches!(value, "false" | "\"\"" | "[]" | "{}") || value.parse() == Ok(0.0) || text_format(value)
        })
    }

    /// The body with these fields set to other JSON texts.
    pub fn with(&self, changes: &[(&str, String)]) -> Vec<u8> {
        let mut edits = Vec::new();
        let mut added = String::new();
        for (name, value) in changes {
            match self.fields.get(*name) {
                Some(old) => edits.push((span_of(self.body, old.get()), value.clone())),
                None => added += &format!(",\"{name}\":{value}"),
            }
        }
        let end = self.body.iter().rposition(|byte| *byte == b'}').expect("an object has an end");
        if self.fields.is_empty() {
            added = added.split_off(added.len().min(1));
        }
        edits.push((end..end, added));
        edited(self.body, edits)
    }
}

/// Where a part of `whole` lies in it.
pub(crate) fn span_of(whole: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// A text with some of its parts replaced.
pub(crate) fn edited(text: &[u8], mut edits: Vec<(Range<usize>, String)>) -> Vec<u8> {
    edits.sort_by_key(|(span, _)| span.start);
    let mut out = Vec::with_capacity(text.len() + edits.iter().map(|(_, new)| new.len()).sum::<usize>());
    let mut at = 0;
    for (span, new) in edits {
        out.extend_from_slice(&text[at..span.start]);
        out.extend_from_slice(new.as_bytes());
        at = span.end;
    }
    out.extend_from_slice(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, changes: &[(&str, &str)], expected: &str) {
        let changes: Vec<(&str, String)> = changes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let fields = RawFields::of(body.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(fields.with(&changes)).unwrap(), expected);
    }

    #[test]
    fn only_what_changes_is_touched() {
        check(r#"{"a": 1, "b" :[ 2 ] }"#, &[("b", "[3]")], r#"{"a": 1, "b" :[3] }"#);
        check(r#"{"a": 1, "b" :[ 2 ] }"#, &[("c", "4"), ("a", "\"x\"")], r#"{"a": "x", "b" :[ 2 ] ,"c":4}"#);
        check("{ }", &[("c", "4")], r#"{ "c":4}"#);
        check("{\"a\":null}\n", &[("a", "4")], "{\"a\":4}\n");
    }

    #[test]
    fn an_event_is_plain_text_or_not() {
        let read = |data: &'static str| read_stream_event(data.as_bytes()).unwrap();
        let plain = read(r#"{"id":"x","choices":[{"index":0,"delta":{"content":"a\n"},"finish_reason":null}]}"#);
        assert!(plain.is_plain() && !plain.finishes());
        assert_eq!(plain.text(), "a\n");
        assert!(read(r#"{"choices":[{"text":"b","logprobs":null,"finish_reason":"stop"}]}"#).finishes());
        assert!(!read(r#"{"choices":[{"delta":{"tool_calls":[{}]}}]}"#).is_plain());
        assert!(!read(r#"{"choices":[{"index":1,"text":"b"}]}"#).is_plain());
    }
}
